"""A survey: every point on every GPU of the node, side by side. Each GPU has an ordinary run directory of its own."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from benches.devices.node_gpus import NodeGpu
from benches.devices.opening import NoDevice
from benches.row import FAILED, Row, Status, new_row
from benches.run import environment, resume, side_by_side
from benches.run.isolation import Measurer, WorkerError
from benches.run.journal import NAME as JOURNAL
from benches.run.pool import AHEAD, Pool
from benches.run.run import DeviceLostError, Request, Run, refuse_a_second_run, run_errors
from benches.run.survey_file import SurveyFile, SurveyGpu, read_survey, write_survey
from kernels.op import Point
from kernels.registry import OPS
from kernels.writing import write_text

SEVERITY: tuple[Status, ...] = ("ok", "noisy", "throttled", "verified", "unsupported", "skipped", *FAILED)  # from the best


def directory_of(gpu: NodeGpu) -> str:
    """<host>-gpu<index>-<first 8 characters of the UUID>; the host's name is reduced to what a file name takes."""
    host = re.sub(r"[^A-Za-z0-9.]+", "_", environment.host())[:40]
    return f"{host}-gpu{gpu.index}-{re.sub(r'[^A-Za-z0-9]', '_', gpu.uuid.removeprefix('GPU-')[:8])}"


def worst(rows: Sequence[tuple[str, Row]]) -> Row:
    """Returns the row of a point that ended worst, of one on each GPU by name: by its status, then the slowest. The reason of a failure
    names the GPUs that share it."""
    _, found = max(rows, key=lambda one: (SEVERITY.index(one[1].status), one[1].median_s or 0.0))
    if found.status not in FAILED:
        return found
    names = [name for name, row in rows if row.status == found.status]
    return found.model_copy(update={"reason": f"on {', '.join(names)} of {len(rows)} GPUs: {found.reason}"})


def surveyed(gpu: NodeGpu) -> SurveyGpu:
    """Returns what survey.json holds of a GPU of this machine before its first point."""
    return SurveyGpu(uuid=gpu.uuid, host=environment.host(), index=gpu.index, name=gpu.name, numa=gpu.numa, directory=directory_of(gpu))


def begun(run_dir: Path, gpus: Sequence[SurveyGpu], request: Request, kind: str) -> SurveyFile:
    """Returns survey.json as this part of the survey begins. Raises OSError, and ValueError as read_survey does."""
    now, fresh = environment.now_utc(), {gpu.uuid: gpu for gpu in gpus}
    if not request.resuming:
        commit, _ = environment.commit()
        about: dict[str, Any] = {"device_kind": kind, "sweeps": request.sweeps, "seed": request.seed, "commit": commit}
        return SurveyFile(**about, started_utc=now, gpus=list(fresh.values()))
    before = read_survey(run_dir)
    again = [gpu.model_copy(update={"status": "running", "reason": None}) if gpu.uuid in fresh else gpu for gpu in before.gpus]
    known = {gpu.uuid for gpu in before.gpus}
    added = [gpu for uuid, gpu in fresh.items() if uuid not in known]
    ends = {"finished_utc": None, "interrupted": None, "resumed_utc": [*before.resumed_utc, now]}
    return before.model_copy(update={"gpus": [*again, *added], **ends})


class Survey:
    """Behaves as a Run does. A GPU that is lost costs its own points only, which fail the tests of these points."""

    def __init__(self, run_dir: Path, gpus: Sequence[NodeGpu], open_pool: Callable[[Path, NodeGpu], Pool], request: Request, kind: str):
        """Raises RunError where a directory cannot be used; and where no GPU can be opened, what opening the first one raises."""
        self.dir, self._kind = run_dir, kind
        self._runs: dict[str, Run] = {}  # by UUID
        with run_errors(run_dir):
            if not request.resuming:
                refuse_a_second_run(run_dir)
            run_dir.mkdir(parents=True, exist_ok=True)
            self._lock, unlocked = resume.lock(run_dir)
            self._file = begun(run_dir, [surveyed(gpu) for gpu in gpus], request, kind)
            write_text(run_dir / "sweep.yaml", request.resolved)
            write_survey(run_dir, self._file)
        self._open(gpus, open_pool, request)
        self.notes = [unlocked] if unlocked else []
        self.notes += [f"{run.dir.name}: {note}" for run in self._runs.values() for note in run.notes]
        self.notes += [f"GPU {gpu.index} ({gpu.uuid}) is left out: {gpu.reason}" for gpu in self._file.gpus if gpu.status == "lost"]

    def _open(self, gpus: Sequence[NodeGpu], open_pool: Callable[[Path, NodeGpu], Pool], request: Request) -> None:
        """Opens all GPUs at once."""
        folders = {gpu.uuid: self.dir / gpu.directory for gpu in self._file.gpus}
        pools = {gpu.uuid: open_pool(folders[gpu.uuid], gpu) for gpu in gpus}

        def run_of(uuid: str) -> Run:
            # A run that was killed before its first row begins again: it has nothing to resume.
            resuming = request.resuming and (folders[uuid] / JOURNAL).exists()
            return Run(folders[uuid], lambda: pools[uuid], replace(request, resuming=resuming))

        with ThreadPoolExecutor(len(pools)) as executor:
            opening = {uuid: executor.submit(run_of, uuid) for uuid in pools}
            try:
                problems = {uuid: problem for uuid, future in opening.items() if (problem := self._opened(uuid, future)) is not None}
            except BaseException:  # a directory that cannot be used, or Ctrl-C: no GPU is measured
                for pool in pools.values():
                    pool.close()
                raise
        for uuid, problem in problems.items():
            self._lose(uuid, str(problem))
        if not self._runs:
            raise next(iter(problems.values()))

    def _opened(self, uuid: str, opening: Future[Run]) -> NoDevice | WorkerError | None:
        try:
            self._runs[uuid] = opening.result()
        except (NoDevice, WorkerError) as e:
            return e
        return None

    def _gpu(self, uuid: str) -> SurveyGpu:
        return next(gpu for gpu in self._file.gpus if gpu.uuid == uuid)

    def _lose(self, uuid: str, reason: str) -> None:
        gpu = self._gpu(uuid)
        gpu.status, gpu.reason = "lost", reason
        write_survey(self.dir, self._file)

    @property
    def dirs(self) -> list[Path]:
        """Run directories, one a GPU that could be opened."""
        return [run.dir for run in self._runs.values()]

    @property
    def environment(self) -> dict[str, Any]:
        """That of the first GPU, with the notes of all."""
        runs = list(self._runs.values())
        notes = list(dict.fromkeys(note for run in runs for note in run.environment.get("notes", [])))
        return runs[0].environment | {"notes": notes}

    @property
    def recorded(self) -> set[str]:
        """Points that have a row on every GPU that is not lost."""
        runs = [run for uuid, run in self._runs.items() if self._gpu(uuid).status != "lost"]
        return set.intersection(*(run.recorded for run in runs)) if runs else set()

    @property
    def measurers(self) -> list[Measurer]:
        """One a GPU that is not lost."""
        return [one for uuid, run in self._runs.items() if self._gpu(uuid).status != "lost" for one in run.measurers]

    def compare_side_by_side(self) -> str:
        """As Run.compare_side_by_side, and survey.json has what was found of each GPU."""
        side_by_side.measure_alone_and_together(self.measurers)
        found = side_by_side.read_ratios(self.dirs)
        for gpu in self._file.gpus:
            gpu.beside = found.get(gpu.directory, gpu.beside)
        with suppress(OSError):  # the readings are on disk, and the first row says what to do where there is no room
            write_survey(self.dir, self._file)
        return side_by_side.sentence(side_by_side.compared(found))

    @property
    def ahead(self) -> int:
        return AHEAD

    def row_of(self, point: Point, timing: bool = True, following: Sequence[Point] = ()) -> Row:
        """The worst of the point's rows, each journalled before this returns. Raises as Run.row_of does, DeviceLostError once no GPU is
        left."""
        active = {uuid: run for uuid, run in self._runs.items() if self._gpu(uuid).status != "lost"}
        for run in active.values():
            run.start((point, *following[: run.ahead]), timing)
        rows: list[tuple[str, Row]] = []
        try:
            for uuid, run in list(active.items()):
                try:
                    rows.append((f"GPU {self._gpu(uuid).index}", run.row_of(point, timing)))
                except DeviceLostError as e:
                    self._lose(uuid, str(e))
                    if not any(self._gpu(other).status != "lost" for other in self._runs):
                        raise
                del active[uuid]
        except BaseException as e:
            for run in active.values():
                run.end_wait(point, e)
            raise
        cost = OPS[point.op].cost(point, "cuda")
        lost = [gpu for gpu in self._file.gpus if gpu.status == "lost"]
        rows += [(f"GPU {gpu.index}", new_row(point, cost, "error", f"the GPU is lost: {gpu.reason}")) for gpu in lost]
        return worst(rows)

    def finish(self, interrupted: bool) -> None:
        """Ends the workers, closes the journals, and writes in survey.json how the survey ended."""
        with ThreadPoolExecutor(len(self._runs)) as executor:
            list(executor.map(lambda run: run.finish(interrupted), self._runs.values()))
        for gpu in self._file.gpus:
            if gpu.status == "running":
                gpu.status = "interrupted" if interrupted else "finished"
        ended = self._file.model_copy(update={"finished_utc": environment.now_utc(), "interrupted": interrupted})
        with suppress(OSError):  # on a full disk: what is measured is safe, and that the survey has no end says that it was cut off
            write_survey(self.dir, ended)
        self._lock.close()

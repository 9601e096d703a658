"""Points on several workers: what is scheduled ahead, what an interruption and a lost GPU cost. With measurers that only pretend."""

from __future__ import annotations

import re
import shlex
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from benches.devices.node_gpus import NodeGpu, simulated_gpus
from benches.row import DEVICE_LOST, FAILED, INTERRUPTED, Row, Status, new_row
from benches.run import environment
from benches.run.isolation import Interrupted, Isolated, WorkerError
from benches.run.journal import read_journal
from benches.run.pool import InThisThread, Pool, Worker, alike
from benches.run.run import DeviceLostError, Request, Run, RunError
from benches.run.survey import SEVERITY, Survey, worst
from benches.run.survey_file import NAME, read_survey
from kernels.op import Point
from kernels.registry import OPS

POINTS = [OPS["matmul"].point("torch", "bf16", {"m": m, "n": 127, "k": 129}) for m in range(1, 14)]
GPUS = simulated_gpus({})


def row(point: Point, status: Status = "ok", **fields: Any) -> Row:
    return new_row(point, OPS["matmul"].cost(point, "cuda"), status, **fields)


class Pretender:
    """Gives each point an `ok` row, or what `ends` says of it by its m. One with m in `held` waits until it is released or interrupted."""

    def __init__(self, ends: dict[int, dict[str, Any]] | None = None, held: tuple[int, ...] = ()):
        self.ends, self.held = ends or {}, held
        self.measured: list[int] = []
        self.current = ""
        self.release, self.started = threading.Event(), threading.Event()
        self.closed, self.reason = False, ""

    def describe(self) -> dict[str, Any]:
        return {"device_kind": "simulated", "device_name": "a board"}

    def row_of(self, point: Point, timing: bool) -> Row:
        m = point.dims["m"]
        self.current = point.id
        self.measured.append(m)
        if m in self.held:
            self.started.set()
            assert self.release.wait(30)
            if self.reason:
                reason, self.reason = self.reason, ""
                self.release.clear()
                raise Interrupted(row(point, "error", reason=reason, cause=INTERRUPTED))
        return row(point, **self.ends.get(m, {}))

    def interrupt(self, point: str | None, reason: str) -> None:
        if point in (None, self.current):
            self.reason = reason
            self.release.set()

    def renew(self) -> None: ...

    def close(self) -> None:
        self.closed = True


def pool_of(*measurers: Any, threads: bool = True) -> Pool:
    return Pool([Worker(measurer, gpu) for measurer, gpu in zip(measurers, GPUS, strict=False)], threads)


def run_of(folder: Path, *measurers: Any, threads: bool = True, **request: Any) -> Run:
    return Run(folder, lambda: pool_of(*measurers, threads=threads), Request("the sweep", [], 1, {}, mode="shard", **request))


def survey_of(folder: Path, measurers: dict[int, Any], **request: Any) -> Survey:
    def open_pool(run_dir: Path, gpu: NodeGpu) -> Pool:
        return Pool([Worker(measurers[gpu.index], gpu)], threads=True)

    return Survey(
        folder, [GPUS[i] for i in measurers], open_pool, Request("the sweep", ["s"], 1, {}, mode="survey", **request), "simulated"
    )


def test_one_worker_measures_in_the_thread_that_asks_and_nothing_ahead(tmp_path: Path) -> None:
    one = Pretender()
    run = run_of(tmp_path, one, threads=False)
    assert run.ahead == 0
    run.row_of(POINTS[0], following=POINTS[1:])
    assert one.measured == [1]
    run.finish(interrupted=False)
    assert one.closed


def test_each_point_goes_to_one_worker_and_its_row_says_to_which(tmp_path: Path) -> None:
    three = [Pretender() for _ in range(3)]
    run = run_of(tmp_path, *three)
    found = [run.row_of(point, following=POINTS[i + 1 :]) for i, point in enumerate(POINTS)]
    run.finish(interrupted=False)
    assert sorted(m for one in three for m in one.measured) == list(range(1, 14))
    rows = {one.point: one for one in read_journal(tmp_path).rows}
    assert rows == {one.point: one for one in found}
    for gpu, one in zip(GPUS, three, strict=False):
        assert {(r.gpu_index, r.device_uuid) for r in found if r.dims["m"] in one.measured} <= {(gpu.index, gpu.uuid)}
    assert all(one.closed for one in three)
    assert (run.environment["mode"], [gpu["index"] for gpu in run.environment["gpus"]]) == ("shard", [0, 1, 2])
    boards = environment.read(tmp_path)["boards"]
    assert {uuid: sorted(board) for uuid, board in boards.items()} == {gpu.uuid: ["end", "start"] for gpu in GPUS[:3]}
    assert all(board["end"]["pcie_width"] == 16 for board in boards.values())


def test_two_points_a_gpu_are_scheduled_ahead_and_no_more(tmp_path: Path) -> None:
    one, two = Pretender(held=(1,)), Pretender(held=(1,))
    run = run_of(tmp_path, one, two)
    waiting = threading.Thread(target=run.row_of, args=(POINTS[0], True, POINTS[1:]))
    waiting.start()
    deadline = time.monotonic() + 30
    while len(run._scheduled) < 5 and time.monotonic() < deadline:
        time.sleep(0.001)
    for m in range(2, 6):
        run._scheduled[POINTS[m - 1].id].result(30)  # measured beside the point that is waited for
    assert sorted(one.measured + two.measured) == [1, 2, 3, 4, 5]
    assert {r.dims["m"] for r in read_journal(tmp_path).rows} == {2, 3, 4, 5}  # each on disk before its test runs
    one.release.set()
    two.release.set()
    waiting.join(30)
    run.finish(interrupted=False)


class Stop(BaseException):
    """Ends a wait as Ctrl-C does."""


def test_an_ended_wait_leaves_a_row_and_a_cancelled_run_leaves_none(tmp_path: Path) -> None:
    one = Pretender(held=(1, 2))
    run = run_of(tmp_path, one)
    run.start(POINTS[:3])
    assert one.started.wait(30)
    run.end_wait(POINTS[0], Stop("Ctrl-C"))
    (left,) = read_journal(tmp_path).rows
    assert (left.dims["m"], left.cause, left.reason) == (1, INTERRUPTED, "Stop: Ctrl-C")
    run.finish(interrupted=True)
    assert {r.dims["m"] for r in read_journal(tmp_path).rows} == {1}  # what was scheduled is cancelled
    assert 3 not in one.measured


def lost(m: int) -> dict[int, dict[str, Any]]:
    return {m: {"status": "error", "reason": "GPU is lost", "cause": DEVICE_LOST}}


def test_the_points_of_a_lost_gpu_go_to_the_others(tmp_path: Path) -> None:
    one, two = Pretender(lost(1)), Pretender(lost(1))
    run = run_of(tmp_path, one, two)
    found = [run.row_of(point, following=POINTS[i + 1 :]) for i, point in enumerate(POINTS)]
    run.finish(interrupted=False)
    assert [r.status for r in found] == ["error"] + ["ok"] * 12
    loser = one if 1 in one.measured else two
    assert loser.measured[-1] == 1  # the point that met it was its last


def test_the_last_lost_gpu_ends_the_run(tmp_path: Path) -> None:
    run = run_of(tmp_path, Pretender(lost(1)))
    with pytest.raises(DeviceLostError, match="the GPU no longer answers"):
        run.row_of(POINTS[0], following=POINTS[1:])
    with pytest.raises(DeviceLostError, match="the GPU no longer answers"):
        run.row_of(POINTS[3])
    run.finish(interrupted=True)
    assert [r.cause for r in read_journal(tmp_path).rows] == [DEVICE_LOST]


def test_a_lost_gpu_of_a_survey_names_the_survey_to_resume(tmp_path: Path) -> None:
    for within, named in ((None, tmp_path / "gpu"), (tmp_path / "survey", tmp_path / "survey")):
        run = run_of(tmp_path / "gpu", Pretender(lost(1)), within=within, resuming=within is not None, retry=True)
        with pytest.raises(DeviceLostError, match=re.escape(f"--resume {shlex.quote(str(named))} --retry-failed")):
            run.row_of(POINTS[0])
        run.finish(interrupted=True)


@pytest.mark.parametrize(
    ("error", "cause", "says"),
    [
        (RuntimeError("no device"), None, "RuntimeError: no device"),
        (RuntimeError(), OSError(12, "Cannot allocate memory"), "OSError: [Errno 12] Cannot allocate memory"),
        (RuntimeError(), None, "RuntimeError: "),
    ],
)
def test_a_pool_that_breaks_without_a_word_says_what_broke_it(
    error: Exception, cause: Exception | None, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(self: Isolated) -> dict[str, Any]:
        raise error from cause

    monkeypatch.setattr(Isolated, "_new_pool", lambda self: None)
    monkeypatch.setattr(Isolated, "_open", broken)
    with pytest.raises(WorkerError) as raised:
        Isolated({}, tmp_path / "log", 1.0).describe()
    assert str(raised.value) == f"the worker could not open the device: {says}"


def test_a_shared_run_is_resumed_on_other_gpus(tmp_path: Path) -> None:
    first = run_of(tmp_path, Pretender())
    first.row_of(POINTS[0])
    first.finish(interrupted=True)
    again = Pretender()
    pool = Pool([Worker(again, GPUS[5])], threads=True)
    second = Run(tmp_path, lambda: pool, Request("the sweep", [], 1, {}, mode="shard", resuming=True))
    assert [second.row_of(point).gpu_index for point in POINTS[:3]] == [0, 5, 5]
    second.finish(interrupted=False)
    assert again.measured == [2, 3]
    assert [gpu["index"] for gpu in second.environment["gpus"]] == [0, 5]
    about = environment.read(tmp_path)
    assert (about["board"], list(about["boards"])) == (None, [GPUS[0].uuid, GPUS[5].uuid])


def test_a_survey_measures_every_point_on_every_gpu(tmp_path: Path) -> None:
    measurers = {i: Pretender() for i in (0, 3)} | {5: Pretender({2: {"status": "wrong", "reason": "off"}})}
    survey = survey_of(tmp_path, measurers)
    found = [survey.row_of(point, following=POINTS[i + 1 :]) for i, point in enumerate(POINTS)]
    survey.finish(interrupted=False)
    assert [r.status for r in found] == ["ok", "wrong"] + ["ok"] * 11
    assert found[1].reason == "on GPU 5 of 3 GPUs: off"
    written = read_survey(tmp_path)
    assert [(gpu.index, gpu.status, gpu.uuid) for gpu in written.gpus] == [(i, "finished", GPUS[i].uuid) for i in (0, 3, 5)]
    for gpu in written.gpus:
        rows = read_journal(tmp_path / gpu.directory).rows
        assert [r.dims["m"] for r in rows] == list(range(1, 14))
        assert {r.device_uuid for r in rows} == {gpu.uuid}
        assert gpu.directory.endswith(f"-gpu{gpu.index}-{gpu.uuid[4:12]}")


def test_a_gpu_that_is_lost_or_does_not_open_costs_its_own_points(tmp_path: Path) -> None:
    class Closed(Pretender):
        def describe(self) -> dict[str, Any]:
            raise WorkerError("no answer")

    survey = survey_of(tmp_path, {0: Pretender(), 1: Closed(), 2: Pretender(lost(2))})
    found = [survey.row_of(point) for point in POINTS[:3]]
    survey.finish(interrupted=False)
    assert [(r.status, r.reason) for r in found[:1]] == [("error", "on GPU 1 of 3 GPUs: the GPU is lost: no answer")]
    written = read_survey(tmp_path)
    assert [gpu.status for gpu in written.gpus] == ["finished", "lost", "lost"]
    assert [gpu.reason is not None for gpu in written.gpus] == [False, True, True]
    assert len(read_journal(tmp_path / written.gpus[0].directory).rows) == 3
    assert survey.recorded == {point.id for point in POINTS[:3]}

    again = {i: Pretender() for i in (0, 1, 2)}
    resumed = survey_of(tmp_path, again, resuming=True, retry=True)
    for point in POINTS[:3]:
        resumed.row_of(point)
    resumed.finish(interrupted=False)
    assert [one.measured for one in again.values()] == [[], [1, 2, 3], [2, 3]]
    assert {gpu.status for gpu in read_survey(tmp_path).gpus} == {"finished"}


def test_a_survey_without_any_gpu_ends_as_its_first_does(tmp_path: Path) -> None:
    class Closed(Pretender):
        def describe(self) -> dict[str, Any]:
            raise WorkerError("no answer")

    with pytest.raises(WorkerError, match="no answer"):
        survey_of(tmp_path, {0: Closed(), 1: Closed()})


@pytest.mark.parametrize("second", [run_of, lambda folder, one: survey_of(folder, {0: one})])
def test_a_survey_is_not_overwritten(second: Callable[..., Any], tmp_path: Path) -> None:
    survey_of(tmp_path, {0: Pretender()}).finish(interrupted=False)
    before = (tmp_path / NAME).read_bytes()
    with pytest.raises(RunError, match="already holds a run"):
        second(tmp_path, Pretender())
    assert (tmp_path / NAME).read_bytes() == before


@pytest.mark.parametrize(
    ("statuses", "found"),
    [(("ok", "noisy", "ok"), "noisy"), (("timeout", "ok"), "timeout"), (("unsupported", "unsupported"), "unsupported")],
)
def test_the_worst_of_the_gpus(statuses: tuple[Status, ...], found: Status) -> None:
    assert worst([(f"GPU {i}", row(POINTS[0], status)) for i, status in enumerate(statuses)]).status == found


def test_of_times_the_slowest_is_the_worst() -> None:
    rows = [(f"GPU {i}", row(POINTS[0], median_s=seconds)) for i, seconds in enumerate((1.0, 3.0, 2.0))]
    assert worst(rows).median_s == 3.0
    assert set(FAILED) <= set(SEVERITY)
    assert len(SEVERITY) == 12


def test_what_several_devices_are_alike_in() -> None:
    one = {"device_name": "a", "device_uuid": "x", "notes": ["n"]}
    assert alike([one, {"device_name": "a", "device_uuid": "y", "notes": ["n", "o"]}]) == {
        "device_name": "a",
        "device_uuid": None,
        "notes": ["n", "o"],
    }
    assert alike([{"device_uuid": "x"}]) == {"device_uuid": "x"}


def test_an_executor_without_threads_gives_what_was_raised() -> None:
    def fail() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        InThisThread().submit(fail).result()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"schema_version": 2}', "a newer version of this suite wrote"),
        ("[]", "Input should be"),
        ("{", "EOF"),
        (
            '{"device_kind": "cuda", "sweeps": [], "seed": 1, "started_utc": "u", '
            '"gpus": [{"uuid": "u", "host": "h", "index": 0, "name": "n", "directory": "../x"}]}',
            "'../x' is not the name of a folder",
        ),
        *(
            (
                '{"device_kind": "cuda", "sweeps": [], "seed": 1, "started_utc": "u", "gpus": ['
                f'{{"uuid": "{uuid}", "host": "h", "index": 0, "name": "n", "directory": "{folder}"}}, '
                '{"uuid": "u", "host": "h", "index": 1, "name": "n", "directory": "x"}]}',
                says,
            )
            for uuid, folder, says in [("u", "y", "uuid 'u' is listed twice"), ("v", "x", "directory 'x' is listed twice")]
        ),
    ],
)
def test_a_survey_file_that_cannot_be_read_is_a_line(text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / NAME).write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=says) as raised:
        read_survey(tmp_path)
    assert "\n" not in str(raised.value)

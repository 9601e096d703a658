"""A fleet's driver with agents that only pretend: who is lost, who takes over, and what is said in the end."""

from __future__ import annotations

import io
import itertools
import json
import re
import shlex
import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from benches.devices.node_gpus import NodeGpu, simulated_gpus
from benches.fleet import driver as driving
from benches.fleet.agent import Agent
from benches.fleet.driver import AgentLost, HeadLost, Progress, described
from benches.fleet.fleet_command import Plan, measured
from benches.fleet.fleet_file import FleetFile, LeftOut, read_fleet
from benches.fleet.messages import Batch, Ending, Opened, Order, Refused, Sent, Slot
from benches.fleet.shown import line_of
from benches.row import DEVICE_LOST, new_row
from benches.run.journal import NAME as JOURNAL
from benches.run.journal import Journal, JournalError
from benches.run.journal import line_of as journal_line
from benches.run.pool import Pool, Worker
from benches.run.run import RunError
from benches.run.survey import surveyed
from benches.run.survey_file import read_survey
from benches.sweep.load import Sweep, load_sweep
from kernels.op import Point
from kernels.registry import OPS

SWEEP = "name: s\nsweeps:\n  - {op: matmul, impl: torch, precision: bf16, dims: {m: {range: [1, 13, 1]}, n: 127, k: 129}}\n"
GPUS = simulated_gpus({})
GPUS_HOST = surveyed(GPUS[0]).host


def row_of(point: Point, **fields: Any) -> Sent:
    row = new_row(point, OPS["matmul"].cost(point, "cuda"), fields.pop("status", "ok"), **fields)
    return Sent(row.point, row.status, row.cause, journal_line(row))


class Pretending:
    """Agents whose calls come back at once. gpus: what each does besides: `refused`, `dies` or `lost` after so many rows, `silent`,
    `driver`, `closed` (it cannot be started), `held`."""

    def __init__(self, gpus: Sequence[dict[str, Any]], up: bool = False):
        self.gpus, self.up = gpus, up
        self.calls: dict[int, Any] = {}
        self.numbers = itertools.count()
        self.slots: dict[int, int] = {}
        self.rows: Counter[int] = Counter()
        self.measured: list[tuple[int, str]] = []
        self.finished: list[tuple[int, bool, bool]] = []
        self.killed: list[int] = []
        self.waits = 0
        self.head_lost_after = self.interrupted_after = 10**9

    def _call(self, result: Any) -> int:
        number = next(self.numbers)
        self.calls[number] = result
        return number

    def open(self, number: int, slot: Slot) -> int:
        i = self.slots[number] = int(slot.node)
        does = self.gpus[i]
        gpu = surveyed(GPUS[i])
        if "closed" in does:
            return self._call(AgentLost("the node is full"))
        if "refused" in does:
            return self._call(Refused(does["refused"], gpu))
        about = {
            "device_kind": "simulated",
            "device_uuid": gpu.uuid,
            "host": gpu.host,
            "driver": does.get("driver"),
            "gpus": [{"uuid": gpu.uuid}],
        }
        return self._call(Opened(gpu, about, tuple(does.get("held", ()))))

    def exchange(self, number: int, points: Sequence[Point]) -> int:
        i = self.slots[number]
        does = self.gpus[i]
        if "silent" in does:
            return self._call(None)
        sent = []
        for point in points:
            if self.rows[i] == does.get("dies"):
                self.rows[i] += 1
                return self._call(AgentLost("the process is gone"))
            lost = self.rows[i] == does.get("lost")
            self.rows[i] += 1
            self.measured.append((i, point.id))
            if lost:
                return self._call(Batch([*sent, row_of(point, status="error", reason="off the bus", cause=DEVICE_LOST)], "off the bus"))
            sent.append(row_of(point))
        return self._call(Batch(sent))

    def finish(self, number: int, interrupted: bool, delete: bool) -> int:
        self.finished.append((self.slots[number], interrupted, delete))
        return self._call(Ending([]))

    def kill(self, number: int) -> None:
        self.killed.append(self.slots[number])

    def wait(self, calls: Sequence[int], timeout_s: float) -> list[int]:
        self.waits += 1
        if self.waits > self.head_lost_after:
            raise HeadLost("the head no longer answers")
        if self.waits == self.interrupted_after:
            raise KeyboardInterrupt
        return [call for call in calls if self.calls[call] is not None]

    def result(self, call: int) -> Any:
        result = self.calls.pop(call)
        if isinstance(result, AgentLost):
            raise result
        return result

    def is_up(self, slot: Slot) -> bool:
        return self.up


@pytest.fixture
def sweep(tmp_path: Path) -> Sweep:
    (tmp_path / "s.yaml").write_text(SWEEP, encoding="utf-8")
    return load_sweep(tmp_path / "s.yaml")


def fleet_file(mode: str, node_dir: str = "") -> FleetFile:
    return FleetFile(run_id="r", mode=mode, device_kind="simulated", node_dir=node_dir, seed=1, settings={}, point_timeout_s=9.0)  # type: ignore[arg-type]


def fleet(sweep: Sweep, mode: str, agents: Any, resuming: bool = False) -> tuple[int, str, Path]:
    """Measures, and returns the exit code, what was printed, and the run."""
    run_dir = sweep.path.parent / "run"
    plan = Plan(run_dir, sweep, fleet_file(mode), (), resuming, False)
    slots = [Slot(str(i), f"host{i}") for i in range(len(agents.gpus))]
    out = io.StringIO()
    return measured(plan, slots, plan.order(), agents, Console(file=out, width=200)), out.getvalue(), run_dir


def points(run_dir: Path) -> list[str]:
    return [json.loads(line)["point"] for path in run_dir.rglob(JOURNAL) for line in path.read_text(encoding="utf-8").splitlines()]


def test_gpus_share_the_points_of_a_run(sweep: Sweep) -> None:
    agents = Pretending([{}, {}, {}])
    code, said, run_dir = fleet(sweep, "shard", agents)
    assert (code, sorted(points(run_dir))) == (0, sorted(point.id for point in sweep.points))
    assert "13 of 13 rows, 0 failed" in said
    assert len({i for i, _ in agents.measured}) == 3
    assert sorted(agents.finished) == [(i, False, True) for i in range(3)]  # and the machines' rows are removed


@pytest.mark.parametrize("how", ["dies", "lost", "silent"])
def test_points_of_a_lost_gpu_go_to_the_others(how: str, sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benches.fleet.fleet_command.silent_limit_s", lambda seconds: 0.05)
    agents = Pretending([{how: 1}, {}])
    code, said, run_dir = fleet(sweep, "shard", agents)
    assert (code, sorted(points(run_dir))) == (1, sorted(point.id for point in sweep.points))
    (why,) = [one.reason for one in read_fleet(run_dir).left_out]
    assert re.fullmatch({"dies": "the process is gone", "lost": "off the bus", "silent": r"no row for \d+ s"}[how], why)
    assert f"left out: {GPUS_HOST} {GPUS[0].uuid}: {why}" in said
    assert agents.killed[:1] == [0]


def test_a_survey_names_what_is_missing_and_continues(sweep: Sweep) -> None:
    code, said, run_dir = fleet(sweep, "survey", Pretending([{}, {"dies": 4}, {"refused": "no torch"}, {"closed": 1}]))
    assert code == 1
    assert [(gpu.index, gpu.status, gpu.reason) for gpu in read_survey(run_dir).gpus] == [
        (0, "finished", None),
        (1, "lost", "the process is gone"),
        (2, "lost", "no torch"),
    ]
    assert "left out: host3: the node is full" in said
    assert f"--resume {shlex.quote(str(run_dir))}" in said
    agents = Pretending([{}, {}, {}])
    code, said, _ = fleet(sweep, "survey", agents, resuming=True)
    assert (code, Counter(points(run_dir))) == (0, {point.id: 3 for point in sweep.points})
    assert Counter(i for i, _ in agents.measured)[0] == 0
    assert {gpu.status for gpu in read_survey(run_dir).gpus} == {"finished"}


def test_a_gpu_that_is_not_there_any_more_is_still_missing(sweep: Sweep) -> None:
    _, _, run_dir = fleet(sweep, "survey", Pretending([{}, {"dies": 0}]))
    code, said, _ = fleet(sweep, "survey", Pretending([{}]), resuming=True)
    assert (code, "13 rows are missing" in said) == (1, True)
    assert [gpu.status for gpu in read_survey(run_dir).gpus] == ["finished", "lost"]


def test_a_process_that_ends_is_started_once_more_where_its_machine_is_up(sweep: Sweep) -> None:
    agents = Pretending([{"dies": 2}], up=True)
    code, said, run_dir = fleet(sweep, "survey", agents)
    assert (code, len(points(run_dir))) == (0, 13)
    assert "note: host0: the process is gone; started again" in said


def test_only_the_largest_group_of_gpus_that_are_alike_shares(sweep: Sweep) -> None:
    agents = Pretending([{"driver": "1"}, {"driver": "2"}, {"driver": "2"}])
    code, said, run_dir = fleet(sweep, "shard", agents)
    assert (code, len(points(run_dir))) == (1, 13)
    assert {i for i, _ in agents.measured} == {1, 2}
    assert f"left out: {GPUS_HOST} {GPUS[0].uuid}: unlike the GPUs that share the points: driver: 2 → 1" in said


def test_a_survey_measures_gpus_of_several_drivers(sweep: Sweep) -> None:
    code, _, run_dir = fleet(sweep, "survey", Pretending([{"driver": "1"}, {"driver": "2"}]))
    assert (code, len(points(run_dir))) == (0, 26)
    with pytest.raises(RunError, match="resume it with --resume, or name another --out"):
        fleet(sweep, "survey", Pretending([{}]))


def test_rows_that_a_machine_kept_are_asked_of_it(sweep: Sweep) -> None:
    held = [point.id for point in sweep.points[5:9]]
    agents = Pretending([{}, {"held": held}])
    fleet(sweep, "shard", agents)
    assert {i for i, name in agents.measured if name in held} == {1}


@pytest.mark.parametrize(
    ("attribute", "said_why"), [("interrupted_after", "error: interrupted"), ("head_lost_after", "error: the head no longer")]
)
def test_an_interrupted_run_says_how_to_continue(attribute: str, said_why: str, sweep: Sweep) -> None:
    agents = Pretending([{}, {"silent": 1}])
    setattr(agents, attribute, 4)
    code, said, run_dir = fleet(sweep, "survey", agents)
    assert code == 3
    assert said_why in said
    assert f"13 rows are missing: python -m benches fleet --resume {shlex.quote(str(run_dir))} --address" in said
    assert (1, True, False) in agents.finished or attribute == "head_lost_after"
    assert read_survey(run_dir).interrupted
    assert len(points(run_dir)) == 13


def test_a_disk_that_is_full_ends_the_run(sweep: Sweep, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: Any, lines: Sequence[bytes]) -> None:
        raise JournalError("no room")

    monkeypatch.setattr("benches.run.journal.Journal.append_lines", full)
    code, said, _ = fleet(sweep, "survey", Pretending([{}]))
    assert (code, "error: no room" in said) == (3, True)


class Pretender:
    """Measures at once."""

    def describe(self) -> dict[str, Any]:
        return {"device_kind": "simulated", "device_name": "a board"}

    def row_of(self, point: Point, timing: bool) -> Any:
        return new_row(point, OPS["matmul"].cost(point, "cuda"), "ok")

    def interrupt(self, point: str | None, reason: str) -> None: ...

    def renew(self) -> None: ...

    def close(self) -> None: ...


def agent(order: Order, gpu: NodeGpu) -> Agent:
    return Agent(order, gpu, lambda folder, gpu: Pool([Worker(Pretender(), gpu)], threads=True))  # type: ignore[arg-type]


def order_of(sweep: Sweep, node_dir: Path) -> Order:
    return Plan(node_dir / "run", sweep, fleet_file("survey", str(node_dir)), (), False, False).order()


def all_rows(one: Agent, points: Sequence[Point]) -> list[Sent]:
    rows: list[Sent] = []
    given = list(points)
    while len(rows) < len(points):
        rows += one.exchange(given, 30.0).rows
        given = []
    return rows


def test_an_agent_has_rows_on_its_disk_and_gives_them_again(sweep: Sweep, tmp_path: Path) -> None:
    order = order_of(sweep, tmp_path)
    first = agent(order, GPUS[0])
    folder = tmp_path / "r" / first.opened.gpu.directory
    rows = all_rows(first, sweep.points[:5])
    assert [row.point for row in rows] == [point.id for point in sweep.points[:5]]
    assert (folder / JOURNAL).read_bytes() == b"".join(row.line for row in rows)
    first.finish(interrupted=True, delete=False)
    second = agent(order, GPUS[0])
    assert set(second.opened.held) == {point.id for point in sweep.points[:5]}
    assert {(row.point, row.line) for row in all_rows(second, sweep.points[3:7])} >= {(row.point, row.line) for row in rows[3:]}
    assert len((folder / JOURNAL).read_bytes().splitlines()) == 7
    second.finish(interrupted=False, delete=True)
    assert not (tmp_path / "r").exists()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_an_agent_whose_disk_is_full_says_so(sweep: Sweep, tmp_path: Path) -> None:
    one = agent(order_of(sweep, tmp_path), GPUS[0])
    one._run.journal.close()
    one._run.journal = Journal(Path("/dev"), "full")
    batch = one.exchange(sweep.points[:2], 30.0)
    assert batch.rows == []
    assert batch.ended is not None
    assert "No space left on device" in batch.ended
    threading.Thread(target=one.finish, args=(True, False), daemon=True).start()


def test_reasons_are_listed_with_the_gpus_that_share_them() -> None:
    left = [LeftOut(host=f"h{i}", uuid=None, reason="cold") for i in range(7)] + [LeftOut(host="x", uuid="GPU-1", reason="hot")]
    assert described(left) == ["h0, h1, h2, h3, h4 and 2 more: cold", "x GPU-1: hot"]


@pytest.mark.parametrize(
    ("progress", "line"),
    [
        (Progress(gpus=1, waiting=3, total=13), "1 GPU measuring (3 not open yet), 0 of 13 rows, 0 failed"),
        (
            Progress(gpus=1000, lost=2, done=250_000, total=500_000, statuses=Counter(ok=99, wrong=1), seconds=1.0),
            "1000 GPUs measuring (2 lost), 250,000 of 500,000 rows, 1 failed, about 41.7 min left",
        ),
    ],
)
def test_a_line_of_progress(progress: Progress, line: str) -> None:
    assert line_of(progress) == line


def test_the_limit_of_silence_is_longer_than_that_of_a_point() -> None:
    assert driving.silent_limit_s(300.0) > 300.0 + 300.0

"""How a point is timed is part of its series: another mode begins another, an old file that names none belongs to what came next."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from reports.history.schema import ADDED, SCHEMA
from reports.history.store import Opened, add_table, open_history
from reports.nightly.night_verdict import Judged, judge
from reports.nightly.nights import levels, modes_before, night_from, nights, run_line
from reports.nightly.nights import lines as lines_of
from reports.nightly.suspect import mode_changes
from reports.verdict.thresholds import load_thresholds
from tests.reports.nights import FIRST, NIGHTS, OF_A_RUN, SLOW, STEP_NIGHT, names, table

pytestmark = pytest.mark.slow

NIGHT = night_from(12)
OLD, NULL, FAILED = "a file without the columns", None, "a point without a time"


def without_added(lines: pa.Table) -> pa.Table:
    """As it was written before mode and duty were kept."""
    return lines.drop_columns(list(ADDED))


def add_night(history: Path, night: int, mode: str | None, gpu: str = "GPU-0", **changes: str) -> str:
    """A run of two points, `a` timed by `mode` and `b` always by events where modes are kept; the run's id."""
    started = FIRST + timedelta(days=night, minutes=int(gpu[-1]))
    of_run = OF_A_RUN | {"run": f"{started:%Y%m%dT%H%M%SZ}-{gpu}", "started_utc": started, "run_dir": "", "device_uuid": gpu} | changes
    alike = {"op": "matmul", "impl": "torch", "precision": "bf16", "regime": "sustained", "cache": "cold"}
    time = {"cost_source": "formula", "tolerance": "derived", "status": "ok", "median_s": 1e-5}
    a = {"status": "crashed"} if mode == FAILED else time | {"mode": None if mode in (OLD, NULL) else mode}
    b = time | {"mode": None if mode in (OLD, NULL) else "events"}
    made = pa.Table.from_pylist([of_run | alike | {"point": p} | line for p, line in (("a", a), ("b", b))], schema=SCHEMA)
    return add_table(history, without_added(made) if mode == OLD else made)


def counts(opened: Opened, run: str) -> dict[str, int]:
    """By point, in how many nights tonight's series was timed."""
    found = nights(opened.database, run_line(opened.database, run), NIGHT, 60)
    return dict(zip(found.series["point"], (found.times > -99).any(axis=2).sum(axis=1).tolist(), strict=True))


def told(opened: Opened, run: str) -> dict[str, list[str]]:
    tonight = run_line(opened.database, run)
    return mode_changes(modes_before(opened.database, tonight), lines_of(opened.database, run))


@pytest.mark.parametrize(
    ("modes", "count", "said"),
    [
        (["graph"] * 6, 6, None),
        ([OLD] * 5 + ["graph"], 6, None),
        ([NULL] * 5 + ["graph"], 6, None),
        ([OLD] * 4, 4, None),
        ([OLD, NULL, "host", "host"], 4, None),
        (["events"] * 5 + ["graph"], 1, "events → graph"),
        (["events"] * 5 + ["host"], 1, "events → host"),
        ([OLD, OLD, "events", "events", "graph"], 1, "events → graph"),
        ([OLD, OLD, "events", "events", "graph", "graph"], 2, None),
        ([OLD, "events", OLD, "events"], 4, None),
        (["events", "graph", "events"], 2, "graph → events"),
        (["events", "graph", OLD], 2, None),
        (["events", FAILED, "graph"], 1, "events → graph"),
        (["graph", FAILED, "graph"], 2, None),
    ],
)
def test_nights_of_tonights_series(modes: list[str | None], count: int, said: str | None, tmp_path: Path) -> None:
    for night, mode in enumerate(modes):
        run = add_night(tmp_path, night, mode)
    opened = open_history(tmp_path)
    assert opened.notes == ()
    assert counts(opened, run) == {"a": count, "b": len(modes)}
    assert told(opened, run) == ({said: ["a"]} if said else {})


def test_every_file_of_before_is_read_whole(tmp_path: Path) -> None:
    """Alone and beside newer ones; what it lacks is null."""
    add_night(tmp_path, 0, OLD)
    query = "SELECT point, mode, duty, median_s, cost_source, tolerance FROM history ORDER BY started_utc, point"
    old = [(point, None, None, 1e-5, None, None) for point in "ab"]
    assert open_history(tmp_path).database.sql(query).fetchall() == old
    add_night(tmp_path, 1, "graph")
    assert open_history(tmp_path).database.sql(query).fetchall() == [
        *old,
        ("a", "graph", None, 1e-5, "formula", "derived"),
        ("b", "events", None, 1e-5, "formula", "derived"),
    ]


def test_a_gpus_own_last_mode_counts(tmp_path: Path) -> None:
    """The other GPU, which ran tonight before it, says nothing of it: each tells its change once."""
    for night in range(3):
        for gpu in ("GPU-0", "GPU-1"):
            run = add_night(tmp_path, night, "graph" if night == 2 else "events", gpu)
    opened = open_history(tmp_path)
    assert told(opened, run) == {"events → graph": ["a"]}
    assert counts(opened, run) == {"a": 1, "b": 3}


def test_another_driver_is_another_environment_and_no_change_of_mode(tmp_path: Path) -> None:
    add_night(tmp_path, 0, "events", driver="570.1")
    run = add_night(tmp_path, 1, "graph", driver="580.2")
    assert told(open_history(tmp_path), run) == {}


def test_levels_keep_modes_apart(tmp_path: Path) -> None:
    """The two nights without a mode belong to events, which came next."""
    for night, mode in enumerate([OLD, OLD, "events", "graph"]):
        run = add_night(tmp_path, night, mode)
    opened = open_history(tmp_path)
    found = levels(opened.database, run_line(opened.database, run), NIGHT)
    assert sorted(zip(found["point"], found["mode"], strict=True)) == [("a", "events"), ("a", "graph"), ("b", "events")]


def judged(folder: Path, mode_of: dict[int, str | None]) -> Judged:
    """The last of NIGHTS nights of tests.reports.nights on one GPU. mode_of: each night's mode; nights that it lacks are old files."""
    for night in range(NIGHTS):
        made = table(night, 0, names(), folder)
        mode = pa.array([mode_of.get(night)] * len(made), pa.string())
        made = made.set_column(made.schema.get_field_index("mode"), SCHEMA.field("mode"), mode)
        run = add_table(folder, made if night in mode_of else without_added(made))
    return judge(open_history(folder).database, run, load_thresholds())


@pytest.mark.parametrize("first_kept", [0, STEP_NIGHT, NIGHTS - 1, NIGHTS], ids=["always", "from the step on", "tonight", "never"])
def test_no_history_starts_anew_because_modes_are_kept(first_kept: int, tmp_path: Path) -> None:
    found = judged(tmp_path, dict.fromkeys(range(first_kept, NIGHTS), "graph")).verdict
    assert (found.judged, len(found.nights)) == (found.series, NIGHTS)
    assert names()[SLOW] in {change.point for change in found.regressions}
    assert not any("another way" in line for line in found.suspect)


def test_a_step_that_comes_with_another_mode_is_not_confirmed_but_said(tmp_path: Path) -> None:
    changed = judged(tmp_path, {night: "graph" if night == NIGHTS - 1 else "events" for night in range(NIGHTS)}).verdict
    assert (changed.judged, changed.changes, changed.exit_code) == (0, (), 3)
    assert changed.suspect[0].startswith(f"{changed.series} points are timed in another mode than before (events → graph: matmul-")
    assert "begin anew tonight" in changed.suspect[0]

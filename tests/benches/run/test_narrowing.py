"""Which pytest options narrowed a run, and which selected points have no row."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benches.pytest_plugin.hooks import NAMED, lost_points, pytest_sessionfinish
from benches.pytest_plugin.session import KEY, Session
from benches.run.narrowing import narrowed_by, together
from kernels.guard import ROOT

BENCHES = Path("/repo/benches")
WHOLE = [(BENCHES, "")]


@pytest.mark.parametrize(
    ("options", "paths", "expected"),
    [
        ({}, WHOLE, None),
        ({"keyword": "", "markexpr": "", "deselect": None, "lf": False}, WHOLE, None),
        ({"keyword": "bf16"}, WHOLE, "-k bf16"),
        ({"keyword": "  bf16   and\ntriton "}, WHOLE, "-k 'bf16 and triton'"),
        ({"markexpr": "matmul", "keyword": "8x"}, WHOLE, "-k 8x -m matmul"),
        ({"deselect": ["benches/test_points.py::test_point[a]"]}, WHOLE, "--deselect 'benches/test_points.py::test_point[a]'"),
        (
            {"ignore": [Path("benches/test_other.py")], "ignore_glob": ["*ein*"]},
            WHOLE,
            "--ignore benches/test_other.py --ignore-glob '*ein*'",
        ),
        ({"lf": True}, WHOLE, "--last-failed"),
        ({}, [(BENCHES.parent, "")], None),
        ({}, [(BENCHES / "test_points.py", "")], None),
        ({}, [(BENCHES / "test_points.py", "test_point")], None),
        ({}, [(BENCHES / "test_points.py", "test_point[a b]")], "'test_points.py::test_point[a b]'"),
        (
            {},
            [(BENCHES / "test_points.py", "test_point[b]"), (BENCHES / "test_other.py", "")],
            "test_other.py 'test_points.py::test_point[b]'",
        ),
        ({}, [(BENCHES / "test_points.py", "test_point[a]"), (BENCHES, "")], None),
        ({}, [(BENCHES.parent / "tests", ""), (BENCHES / "test_points.py", "test_point[a]")], "'test_points.py::test_point[a]'"),
    ],
)
def test_what_narrowed_a_run(options: dict[str, Any], paths: list[tuple[Path, str]], expected: str | None) -> None:
    assert narrowed_by(options, paths, BENCHES) == expected


@pytest.mark.parametrize(
    ("before", "now", "expected"),
    [
        (None, None, None),
        (None, "-k a", None),
        ("-k a", None, None),
        ("-k a", "-k a", "-k a"),
        ("-k a", "-k b", "-k a; -k b"),
        ("-k a; -k b", "-k b", "-k a; -k b"),
        ("-k a; -k b", "-k c", "-k a; -k b; -k c"),
    ],
)
def test_a_resumed_run_is_narrowed_where_all_its_parts_are(before: str | None, now: str | None, expected: str | None) -> None:
    assert together(before, now) == expected


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (1, "1 selected point has no row: p0"),
        (NAMED, f"{NAMED} selected points have no row: {', '.join(f'p{i}' for i in range(NAMED))}"),
        (NAMED + 7, f"{NAMED + 7} selected points have no row: {', '.join(f'p{i}' for i in range(NAMED))} and 7 more"),
    ],
)
def test_at_most_ten_points_without_a_row_are_named(count: int, expected: str) -> None:
    assert lost_points([f"p{i}" for i in range(count)]) == expected


NAMES = """
name: names
sweeps:
  - {op: einsum, impl: torch, precision: fp32, equation: "α β, β γ -> α γ", dims: {α: [8, 16], β: 8, γ: 8}, where: "α > β"}
  - {op: einsum, impl: torch, precision: fp32, equation: "lambda in, in class -> lambda class", dims: {lambda: 8, in: 8, class: 8}}
"""


@pytest.mark.slow
def test_dims_in_greek_and_keywords_are_selected_by_k(tmp_path: Path) -> None:
    (tmp_path / "names.yaml").write_text(NAMES, encoding="utf-8")
    command: list[str | bytes] = [sys.executable, "-m", "pytest", "benches/", "--co", "-q", "--device", "simulated"]
    command += [
        "-p",
        "no:cacheprovider",
        "--sweep",
        str(tmp_path / "names.yaml"),
        "-k",
        "α.γ-16x8x8 or lambda.in".encode(),
    ]  # as bytes: a locale may have no Greek
    done = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", timeout=300, check=False)
    assert done.stdout.splitlines()[-1].startswith("2 tests collected"), done.stdout + done.stderr


POINTS = ["matmul-torch-bf16-1x1x1", "matmul-torch-bf16-2x1x1", "matmul-torch-bf16-4x1x1"]


@dataclass
class Recorder:
    """The part of a run that the end of a session needs."""

    recorded: set[str]
    interrupted: bool | None = None

    def finish(self, interrupted: bool) -> None:
        self.interrupted = interrupted


def ended(
    exit_code: int, recorded: int, stopped: str | bool = False, asked: Iterable[str] = (), started: bool = True
) -> tuple[int, list[str]]:
    """Returns the exit code of a session that ended with `exit_code` and recorded the first of the POINTS, and the points it lacks."""
    found: Any = object.__new__(Session)
    found.points, found.lost = dict.fromkeys([*POINTS, "not selected"]), []
    found._run = Recorder(set(POINTS[:recorded])) if started else None
    items = [SimpleNamespace(callspec=SimpleNamespace(params={"point": name})) for name in POINTS]
    config = SimpleNamespace(stash={KEY: found}, getoption=lambda name, default: name in asked)
    session: Any = SimpleNamespace(config=config, items=[*items, object()], shouldfail=stopped, shouldstop=False, exitstatus=exit_code)
    hook = pytest_sessionfinish(session, exit_code)
    next(hook)
    with pytest.raises(StopIteration):
        next(hook)
    return session.exitstatus, found.lost


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"exit_code": 0, "recorded": 3}, (0, [])),
        ({"exit_code": 0, "recorded": 2}, (1, POINTS[2:])),
        ({"exit_code": 1, "recorded": 2}, (1, POINTS[2:])),  # a fixture of another plug-in failed
        ({"exit_code": 0, "recorded": 0, "started": False}, (1, POINTS)),  # every test was skipped by another plug-in
        ({"exit_code": 1, "recorded": 1, "stopped": "stopping after 1 failures"}, (1, [])),  # -x, --maxfail
        ({"exit_code": 2, "recorded": 1}, (2, [])),  # Ctrl-C
        ({"exit_code": 3, "recorded": 1}, (3, [])),
        ({"exit_code": 4, "recorded": 0, "started": False}, (4, [])),
        ({"exit_code": 0, "recorded": 0, "started": False, "asked": ["collectonly"]}, (0, [])),
        ({"exit_code": 0, "recorded": 0, "started": False, "asked": ["benchmark_skip"]}, (0, [])),
    ],
)
def test_a_session_that_lost_points_fails_unless_it_was_stopped(given: dict[str, Any], expected: tuple[int, list[str]]) -> None:
    assert ended(**given) == expected

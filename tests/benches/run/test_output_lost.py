"""A run whose output cannot be written measures, reports and exits as any other; text of a row is shown and never acted on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benches.pytest_plugin.hooks import report
from benches.row import new_row
from benches.run.journal import read_journal
from benches.run.replay import ReplayClock
from kernels.guard import ROOT
from kernels.registry import OPS

POINT = OPS["matmul"].point("torch", "bf16", {"m": 2, "n": 2, "k": 2}, {})
HOSTILE = "\x1b]0;title\x07no\x1b[2J\n::error::x\n##[warning]y \u202ez"


def run(place: str, *arguments: str | Path) -> subprocess.CompletedProcess[bytes]:
    """pytest on the simulated device, its output led to `place` by a shell."""
    script = f'"$@" {place}'
    command = [sys.executable, "-m", "pytest", "benches/", "--benchmark-only", "--device", "simulated", "-p", "no:cacheprovider"]
    words = ["bash", "-c", script, "bash", *command, *map(str, arguments)]
    return subprocess.run(words, cwd=ROOT, capture_output=True, timeout=300, check=False)


@pytest.mark.slow
@pytest.mark.parametrize("place", [">/dev/full 2>/dev/full", "<&- >&- 2>&-"])
def test_a_run_is_whole(tmp_path: Path, place: str) -> None:
    sweep = tmp_path / "×.yaml"
    sweep.write_text("sweeps: [{op: matmul, impl: torch, precision: bf16, dims: {m: [2, 3], n: 8, k: 8}}]", encoding="utf-8")
    done = run(place, "--sweep", sweep, "--run-dir", tmp_path / "run")
    assert done.returncode == 0
    assert [row.status for row in read_journal(tmp_path / "run").rows] == ["ok", "ok"]
    assert (tmp_path / "run" / "report.html").stat().st_size > 0


@pytest.mark.slow
def test_a_usage_error_stays_one(tmp_path: Path) -> None:
    assert run("2>/dev/full", "--sweep", tmp_path / "none.yaml").returncode == pytest.ExitCode.USAGE_ERROR


@pytest.mark.parametrize(("status", "outcome"), [("error", pytest.fail.Exception), ("skipped", pytest.skip.Exception)])
def test_a_reason_is_one_line_that_nothing_obeys(status: str, outcome: type[BaseException]) -> None:
    row = new_row(POINT, OPS["matmul"].cost(POINT, "cpu"), status, HOSTILE)  # type: ignore[arg-type]
    with pytest.raises(outcome) as ended:
        report(row, None, ReplayClock())
    assert str(ended.value) == f"{status}: no ::error::x ## [warning]y z"

"""Collecting 10,000 points against collecting 10,000 trivial parametrised pytest-benchmark tests."""

from __future__ import annotations

import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from kernels.guard import ROOT

PAIRS = 5
SWEEP = "name: perf\nsweeps:\n  - {op: matmul, impl: torch, precision: bf16, dims: {m: {range: [1, 10000, 1]}, n: 64, k: 64}}\n"
TRIVIAL = """
import pytest

@pytest.mark.parametrize("i", range(10000))
def test_trivial(i, benchmark):
    benchmark(lambda: None)
"""


def seconds(*arguments: str, cwd: Path) -> float:
    """Returns the CPU seconds of the command and its children: on a shared machine its wall time depends on others' work."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-m", "pytest", "--collect-only", "-qq", "-p", "no:cacheprovider", "--benchmark-only", *arguments]
    subprocess.run(command, cwd=cwd, capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def figures() -> list[tuple[str, float, float, str]]:
    """Medians of the pairwise ratio; the two commands alternate, so that a drift of the machine touches both."""
    with tempfile.TemporaryDirectory() as folder:
        sweep, trivial = Path(folder) / "perf.yaml", Path(folder) / "test_trivial.py"
        sweep.write_text(SWEEP, encoding="utf-8")
        trivial.write_text(TRIVIAL, encoding="utf-8")
        ratios = []
        for _ in range(PAIRS):
            ours = seconds("benches/", "--sweep", str(sweep), "--device", "cpu", cwd=ROOT)
            ratios.append(ours / seconds(str(trivial), cwd=Path(folder)))
    return [("collecting 10,000 points / 10,000 trivial tests, CPU time", median(ratios), 2.0, "×")]

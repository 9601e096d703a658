"""Collecting 10,000 points against collecting 10,000 trivial parametrised pytest-benchmark tests."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
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
    start = time.perf_counter()
    command = [sys.executable, "-m", "pytest", "--collect-only", "-qq", "-p", "no:cacheprovider", "--benchmark-only", *arguments]
    subprocess.run(command, cwd=cwd, capture_output=True, check=True)
    return time.perf_counter() - start


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
    return [("collecting 10,000 points / 10,000 trivial tests", median(ratios), 2.0, "×")]

"""DRAM traffic as ncu counts it, of a kernel whose operands are in the L2 and of one whose operands are not.

`python -m benches.first_contact.counters` is what runs under ncu: the same kernel HOT times over the same buffers, then over rotating
ones; only that part is profiled.
"""

from __future__ import annotations

import csv
import io
import shutil
import subprocess
import sys
from pathlib import Path

from benches.first_contact.check import Check, within
from kernels.guard import ROOT

STEP = "counters"
METRIC = "dram__bytes_read.sum"
ELEMENTS = 2 * 2**20  # fp32: 8 MiB read and 8 MiB written, which an L2 of 50 MB holds
HOT, SETS = 8, 16
BYTES = 4 * ELEMENTS
UNITS = {"byte": 1.0, "Kbyte": 1e3, "Mbyte": 1e6, "Gbyte": 1e9}
NCU = Path("/usr/local/cuda/bin/ncu")


def find_ncu() -> str | None:
    """The path of ncu, or None."""
    return shutil.which("ncu") or (str(NCU) if NCU.is_file() else None)


def profile(ncu: str, limit_s: float) -> str:
    """What ncu prints. Raises OSError and SubprocessError."""
    options = ["--clock-control", "none", "--cache-control", "none", "--profile-from-start", "off", "--csv", "--metrics", METRIC]
    command = [ncu, *options, sys.executable, "-m", "benches.first_contact.counters"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", errors="replace", timeout=limit_s, check=False)
    return done.stdout + done.stderr


def parse(text: str) -> list[float]:
    """Bytes that each profiled kernel read from DRAM, in launch order. ncu's own lines, which begin with ==, are left out.

    Columns are found by name: ncu adds some from version to version. A figure may have thousands separators.
    """
    lines = [line for line in text.splitlines() if line.startswith('"')]
    found = []
    for row in csv.DictReader(io.StringIO("\n".join(lines))):
        if row.get("Metric Name") == METRIC:
            unit = UNITS.get(row.get("Metric Unit") or "")
            if unit is None:
                raise ValueError(f"ncu counts {METRIC} in {row.get('Metric Unit')!r}, expected one of {', '.join(UNITS)}")
            found.append(float(str(row["Metric Value"]).replace(",", "")) * unit)
    return found


def judge(read: list[float]) -> list[Check]:
    """read: bytes by launch. Hot launches after the first read nothing; the rotating ones read all of their operand."""
    hot, rotated = read[1:HOT], read[HOT + 1 : HOT + SETS]
    typical = [sorted(values)[len(values) // 2] / BYTES if values else None for values in (hot, rotated)]
    return [
        within(STEP, "DRAM reads of a hot kernel", typical[0], "of its operand", 0.0, 0.2, "the L2 does not keep what the suite calls hot"),
        within(STEP, "DRAM reads of a rotated kernel", typical[1], "of its operand", 0.8, 1.3, "rotation leaves operands in the L2"),
    ]


def explain(text: str) -> str:
    """Why ncu counted nothing: its last lines that begin with ==."""
    lines = [line for line in text.splitlines() if line.startswith("==") and ("ERROR" in line or "WARNING" in line)]
    return " | ".join(lines[-2:]) or " | ".join(text.strip().splitlines()[-2:]) or "ncu printed nothing"


def main() -> None:
    import torch

    sets = [(torch.randn(ELEMENTS, device="cuda"), torch.empty(ELEMENTS, device="cuda")) for _ in range(SETS)]
    for source, target in sets:
        torch.neg(source, out=target)
    torch.cuda.synchronize()
    torch.cuda.cudart().cudaProfilerStart()
    for _ in range(HOT):
        torch.neg(sets[-1][0], out=sets[-1][1])
    for source, target in sets:
        torch.neg(source, out=target)
    torch.cuda.synchronize()
    torch.cuda.cudart().cudaProfilerStop()


if __name__ == "__main__":
    main()

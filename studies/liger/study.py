"""What is found out about each kernel: whether it is right in Triton's interpreter, and what its machine code on a GPU is."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benches.devices.cpu import CpuDevice
from benches.row import Row
from benches.timing.measure import measure
from kernels.ahead_of_time import Finding, examine_all
from kernels.example_launches import launches_of
from kernels.gpus import Ceilings, Gpu
from kernels.op import Op, Point
from kernels.registry import OPS

ADAPTERS = str(Path(__file__).with_name("adapters.py"))  # for --import
FORMATS = ("fp32", "fp16", "bf16")
ROWS = 17  # at least, of what is checked
SEED = 20261127
# Llama 3 8B's sizes, of as few rows as the interpreter needs: rows are only the grid.
SHAPES: dict[str, dict[str, int]] = {
    "liger_softmax": {"rows": 2, "columns": 4096},
    "liger_cross_entropy": {"rows": 2, "columns": 128256},
    "liger_rms_norm": {"rows": 2, "columns": 4096},
    "liger_layer_norm": {"rows": 2, "columns": 4096},
    "liger_swiglu": {"rows": 2, "columns": 14336},
    "liger_geglu": {"rows": 2, "columns": 14336},
    "liger_rope": {"batch": 1, "heads": 32, "sequence": 2, "head_dim": 128},
}
NOT_TIMED = Ceilings(peak_flops_per_s={"fp32": 1e11}, bandwidth_bytes_per_s=1e10)  # which a device asks for, and no check uses


@dataclass(frozen=True)
class Result:
    """One op in one precision."""

    op: str
    precision: str
    row: Row
    findings: list[Finding]  # of each kind of launch at the shape of SHAPES
    failures: list[str]

    @property
    def passed(self) -> bool:
        return self.row.status == "verified" and not self.failures and all(f.status == "pass" for f in self.findings)


def results(gpu: Gpu, jobs: int) -> list[Result]:
    """Every op in every precision."""
    rows = dict(check_rows())
    launches, failures = {}, {}
    for name, shape in SHAPES.items():
        launches[name], failures[name] = launches_of(OPS[name], OPS[name].impls["liger"], gpu, shape)
    findings = examine_all([launch for found in launches.values() for launch in found], gpu, jobs)
    return [
        Result(
            name,
            precision,
            rows[name, precision],
            [f for f in findings if (f.compilation.op, f.compilation.precision) == (name, precision)],
            [line for line in failures[name] if f"-{precision}-" in line],
        )
        for name, precision in rows
    ]


def check_rows() -> Iterator[tuple[tuple[str, str], Row]]:
    """By op and precision: the kernel at a small, ragged shape in Triton's interpreter against fp64."""
    device = CpuDevice(NOT_TIMED)
    for name in SHAPES:
        for precision in FORMATS:
            yield (name, precision), measure(point_of(OPS[name], precision), device, SEED)


def point_of(op: Op, precision: str) -> Point:
    """One that `shrink` leaves several ragged rows of."""
    return op.point("liger", precision, {name: max(size, ROWS) for name, size in SHAPES[op.name].items()})

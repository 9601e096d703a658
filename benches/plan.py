"""`python -m benches plan`: what a sweep would cost on a GPU, from sizes alone. No GPU, no tensors, neither torch nor triton."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from benches.devices.nvml import has_gpu
from benches.devices.toolchain import missing_for_cuda
from benches.sweep.load import Sweep
from benches.units import bytes_text, time_text
from kernels.cost_model import Prediction, predict
from kernels.gpus import Gpu
from kernels.op import Platform, Point
from kernels.registry import OPS

# What a point takes besides its kernel. Estimates until measured on a GPU.
POINT_OVERHEAD_S = 1.5  # inputs, correctness gate, warm-up, bookkeeping
COMPILE_OVERHEAD_S = {"torch_compile": 5.0}  # by implementation, each point
TRITON_COMPILE_S = 2.0  # of each specialisation that Triton has not met before: 1 to 3 s on this suite's build machine
SAMPLES = 30  # calls a point is timed for, at least

LONGEST = 5  # points that the summary lists
FIXED = ("point", "op", "impl", "precision")
COSTS = ("flops", "bytes", "memory_bytes", "intensity", "napkin_s", "roofline_s", "predicted_s", "bound", "fits", "unsupported")


@dataclass(frozen=True, eq=False)
class Plan:
    """A sweep on a GPU; arrays and tuples in the order of its points."""

    sweep: Sweep
    gpu: Gpu
    prediction: Prediction
    unsupported: tuple[str, ...]  # why the point cannot run, "" where it can
    fits: np.ndarray  # bool: the GPU's memory holds the point

    @property
    def points(self) -> tuple[Point, ...]:
        return self.sweep.points

    @property
    def runs(self) -> np.ndarray:
        """bool: the point would be measured."""
        return self.fits & np.array([not why for why in self.unsupported], bool)

    @property
    def wall_s(self) -> np.ndarray:
        """Seconds that measuring each point would take, 0 where it does not run."""
        overhead = np.array([POINT_OVERHEAD_S + COMPILE_OVERHEAD_S.get(point.impl, 0.0) for point in self.points], float)
        return np.where(self.runs, overhead + SAMPLES * np.nan_to_num(self.prediction.predicted_s), 0.0)

    @property
    def specialisations(self) -> int:
        """Triton compilations that the points need: Triton compiles anew for other options, and for sizes of 1 and multiples of 16."""
        keys = set()
        for point, runs in zip(self.points, self.runs, strict=True):
            if runs and point.impl == "triton":
                options = tuple(value for name, value in point.options.items() if name != "data")
                keys.add((point.op, point.precision, options, *((size == 1, size % 16 == 0) for size in point.dims.values())))
        return len(keys)

    @property
    def total_s(self) -> float:
        """Seconds for the whole sweep, nothing compiled beforehand."""
        return float(self.wall_s.sum()) + TRITON_COMPILE_S * self.specialisations


def make_plan(sweep: Sweep, gpu: Gpu) -> Plan:
    """Costs, predicts and checks every point of a sweep. On a machine with a GPU also that it can compile what they need; one without
    plans for another machine."""
    missing = missing_for_cuda() if has_gpu() else None
    platform = Platform("cuda", gpu.compute_capability, no_compiler=missing.reason if missing else None)
    unsupported = tuple(OPS[point.op].impls[point.impl].unsupported(point, platform) or "" for point in sweep.points)
    prediction = predict(sweep.points, gpu)
    return Plan(sweep, gpu, prediction, unsupported, prediction.memory_bytes <= gpu.memory_bytes)


def dim_columns(points: tuple[Point, ...]) -> dict[str, str]:
    """Column of each dim, in order of first appearance; `dim_…` where an einsum's name is already a column."""
    names = dict.fromkeys(name for point in points for name in point.dims)
    return {name: f"dim_{name}" if name in (*FIXED, *COSTS) else name for name in names}


def rows(plan: Plan) -> Iterator[dict[str, object]]:
    """The CSV's rows. Seconds, FLOPs, bytes; intensity is FLOPs a byte; a figure that is not known is empty."""
    p = plan.prediction
    dims = dim_columns(plan.points)
    for i, point in enumerate(plan.points):
        moved = int(p.bytes_read[i] + p.bytes_written[i])
        seconds = {name: float(getattr(p, name)[i]) for name in ("napkin_s", "roofline_s", "predicted_s")}
        yield {
            **{name: getattr(point, name) for name in ("op", "impl", "precision")},
            "point": point.id,
            **{dims[name]: size for name, size in point.dims.items()},
            "flops": int(p.flops[i]),
            "bytes": moved,
            "memory_bytes": int(p.memory_bytes[i]),
            "intensity": int(p.flops[i]) / moved if moved else "",  # a view moves nothing
            **{name: "" if np.isnan(value) else value for name, value in seconds.items()},
            "bound": p.bound[i],
            "fits": "true" if plan.fits[i] else "false",
            "unsupported": plan.unsupported[i],
        }


def write_csv(plan: Plan, path: Path) -> None:
    """Raises OSError where the file cannot be written."""
    columns = [*FIXED, *dim_columns(plan.points).values(), *COSTS]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows(plan))


def show(plan: Plan, console: Console) -> None:
    """Prints the summary."""
    console.print(_summary(plan))
    console.print(_longest(plan))
    for line in _left_out(plan):
        console.print(line, highlight=False, soft_wrap=True)
    compiled = ", ".join(f"+ {seconds:g} s for {impl}" for impl, seconds in COMPILE_OVERHEAD_S.items())
    console.print(
        f"[bold]{plan.sweep.name} on {plan.gpu.name}: {int(plan.runs.sum())} of {len(plan.points)} points run, "
        f"about {time_text(plan.total_s)} in all[/bold]\n"
        f"(estimate, not yet measured on a GPU: {POINT_OVERHEAD_S:g} s a point {compiled} + {SAMPLES} calls each "
        f"+ {TRITON_COMPILE_S:g} s for {plan.specialisations} Triton compilations)",
        highlight=False,
    )


def _summary(plan: Plan) -> Table:
    table = Table(title=f"{plan.sweep.name} on {plan.gpu.name}, predicted", box=SIMPLE_HEAD, pad_edge=False)
    for heading in ("op", "precision", "impl"):
        table.add_column(heading, no_wrap=True)
    for heading in ("points", "run", "1 call each", "wall"):
        table.add_column(heading, justify="right")
    groups: dict[tuple[str, str, str], list[int]] = {}
    for i, point in enumerate(plan.points):
        groups.setdefault((point.op, point.precision, point.impl), []).append(i)
    runs, wall = plan.runs, plan.wall_s
    for key, members in groups.items():
        running = [i for i in members if runs[i]]
        device = float(np.nansum(plan.prediction.predicted_s[running]))
        table.add_row(*key, str(len(members)), str(len(running)), time_text(device), time_text(float(wall[members].sum())))
    return table


def _longest(plan: Plan) -> Table:
    table = Table(title="longest points", box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("point", overflow="fold")
    for heading in ("predicted", "bound", "FLOP", "traffic", "memory"):
        table.add_column(heading, justify="right", no_wrap=True)
    seconds = np.where(plan.runs, np.nan_to_num(plan.prediction.predicted_s), 0.0)
    shown = set()
    for i in np.argsort(-seconds, kind="stable"):
        point = plan.points[i]
        work = (point.op, point.precision, *point.dims.items())  # implementations and layouts are predicted alike
        if work not in shown and plan.runs[i]:
            shown.add(work)
            p = plan.prediction
            moved, held = bytes_text(int(p.bytes_read[i] + p.bytes_written[i])), bytes_text(int(p.memory_bytes[i]))
            table.add_row(point.id, time_text(float(seconds[i])), str(p.bound[i]), f"{float(p.flops[i]):.3g}", moved, held)
        if len(shown) == LONGEST:
            break
    return table


def _left_out(plan: Plan) -> Iterator[str]:
    """A line for each reason why points do not run, with the first such point."""
    too_large = [i for i, fits in enumerate(plan.fits) if not fits]
    if too_large:
        worst = max(too_large, key=lambda i: int(plan.prediction.memory_bytes[i]))
        held, has = bytes_text(int(plan.prediction.memory_bytes[worst])), bytes_text(plan.gpu.memory_bytes)
        yield f"{len(too_large)} do not fit {has}; the largest, {plan.points[worst].id}, needs {held}"
    first: dict[str, str] = {}
    for point, why in zip(plan.points, plan.unsupported, strict=True):
        first.setdefault(why, point.id)
    for why, count in Counter(why for why in plan.unsupported if why).most_common():
        yield f"{count} unsupported: {why} ({first[why]}{', …' if count > 1 else ''})"

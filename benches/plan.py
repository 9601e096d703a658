"""`python -m benches plan`: what a sweep would cost on a GPU, from sizes alone. No GPU, no tensors, neither torch nor triton."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benches.devices.base import Settings
from benches.devices.nvml import has_gpu
from benches.devices.toolchain import missing_for_cuda
from benches.sweep.load import Sweep
from benches.timing.expected import expected_samples, sampling_s
from benches.timing.physics import bound_s
from benches.units import bytes_text, time_text
from kernels.cost_model import Prediction, predict
from kernels.escaping import cell
from kernels.gpus import Gpu
from kernels.loop_work import LoopWork
from kernels.matmul.choice import choose_for, is_tunable
from kernels.op import Point
from kernels.registry import OPS, impl_of
from kernels.support import Platform
from kernels.writing import write_text

# What a point takes besides sampling, fitted to 42 points that an H100 timed (docs/validation/2026-11-26-h100_sxm5-first-look): wall_s less
# warm-up, samples and 1.7 ms a sample for what the driver was asked between them. One board and points of up to 4.3 GB: an estimate.
SEEN = "fitted to 42 points on one H100, docs/validation/2026-11-26-h100_sxm5-first-look"
POINT_S = 0.1  # bookkeeping, small inputs
CHECKED_S_A_BYTE = 0.5e-9  # inputs, fp64 reference and both checks, by the bytes that the point holds
TRAINED_S_A_BYTE = 4e-9  # the same where the reference is a forward and a backward pass: 3.0 to 4.9e-9, forward alone 0.8e-9
TORCH_COMPILE_S = 9.5  # of each point that torch.compile builds
TRITON_COMPILE_S = 0.35  # of each specialisation that Triton has not met before

LONGEST = 5  # points that the summary lists
FIXED = ("point", "op", "impl", "precision")
COSTS = (
    *("flops", "bytes", "memory_bytes", "intensity", "napkin_s", "roofline_s", "predicted_s", "bound", "fits", "unsupported"),
    *("bound_s", "bound_limited_by"),
)


@dataclass(frozen=True, eq=False)
class Plan:
    """A sweep on a GPU; arrays and tuples in the order of its points."""

    sweep: Sweep
    gpu: Gpu
    prediction: Prediction
    unsupported: tuple[str, ...]  # why the point cannot run, "" where it can
    fits: np.ndarray  # bool: the GPU's memory holds the point
    settings: Settings
    loops: Mapping[str, Sequence[LoopWork]] = field(default_factory=dict)  # of compiled Triton kernels, by the id of their point

    @property
    def points(self) -> tuple[Point, ...]:
        return self.sweep.points

    @property
    def runs(self) -> np.ndarray:
        """bool: the point would be measured."""
        return self.fits & np.array([not why for why in self.unsupported], bool)

    @cached_property
    def sampling_s(self) -> np.ndarray:
        """Seconds of warm-up and samples of each point, 0 where it does not run."""
        seconds = np.zeros(len(self.points))
        for i in np.flatnonzero(self.runs):
            point, call_s = self.points[i], float(np.nan_to_num(self.prediction.predicted_s[i]))
            cost = OPS[point.op].cost(point, "cuda")
            phases = {part.phase for part in OPS[point.op].parts(point, cost) if part.phase}
            seconds[i] = sampling_s(call_s, cost, self.gpu, self.settings, len(phases))
        return seconds

    @cached_property
    def rest_s(self) -> np.ndarray:
        """Seconds of each point's inputs, reference, checks and compilation, nothing compiled beforehand; 0 where it does not run."""
        compiled = set(self.specialised)
        seconds = [
            POINT_S
            + (TRAINED_S_A_BYTE if OPS[point.op].trains else CHECKED_S_A_BYTE) * held
            + (TRITON_COMPILE_S if i in compiled else TORCH_COMPILE_S if impl_of(point).by_torch_compile else 0.0)
            for i, (point, held) in enumerate(zip(self.points, self.prediction.memory_bytes.tolist(), strict=True))
        ]
        return np.where(self.runs, seconds, 0.0)

    @cached_property
    def specialised(self) -> tuple[int, ...]:
        """Points for which Triton compiles first: it does so anew for other options, and for sizes of 1 and multiples of 16."""
        first: dict[Hashable, int] = {}
        for i in np.flatnonzero(self.runs).tolist():
            point = self.points[i]
            if impl_of(point).language == "triton":
                options = tuple(value for name, value in point.options.items() if name != "data")
                sizes = tuple((size == 1, size % 16 == 0) for size in point.dims.values())
                first.setdefault((point.op, point.impl, point.precision, options, sizes), i)
        return tuple(first.values())

    @cached_property
    def in_triton(self) -> tuple[int, ...]:
        """Points that a Triton kernel would compute."""
        return tuple(i for i in np.flatnonzero(self.runs).tolist() if impl_of(self.points[i]).language == "triton")

    @cached_property
    def bounds(self) -> dict[int, tuple[float, str]]:
        """The least seconds of points' compiled kernels, and what limits them, where their main loops are known."""
        found = {i: self._bound(self.points[i]) for i in self.in_triton if self.loops.get(self.points[i].id)}
        return {i: bound for i, bound in found.items() if bound}

    def _bound(self, point: Point) -> tuple[float, str] | None:
        platform = Platform("cuda", self.gpu.compute_capability)
        config = str(choose_for(point, self.gpu.sm_count, platform)) if is_tunable(point) else None
        return bound_s(point, OPS[point.op].cost(point, "cuda"), self.gpu, "cold", config, self.loops[point.id])

    @property
    def total_s(self) -> float:
        """Seconds for the whole sweep."""
        return float(self.sampling_s.sum() + self.rest_s.sum())


def make_plan(sweep: Sweep, gpu: Gpu, here: bool = True) -> Plan:
    """Costs, predicts and checks every point of a sweep. On a machine with a GPU also that it can compile what they need; one without
    plans for another machine, and so does any if not `here`."""
    missing = missing_for_cuda() if here and has_gpu() else None
    platform = Platform("cuda", gpu.compute_capability, no_compiler=missing.reason if missing else None)
    unsupported = tuple(impl_of(point).unsupported(point, platform) or "" for point in sweep.points)
    prediction = predict(sweep.points, gpu)
    return Plan(sweep, gpu, prediction, unsupported, prediction.memory_bytes <= gpu.memory_bytes, Settings())


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
            **dict(zip(("bound_s", "bound_limited_by"), plan.bounds.get(i, ("", "")), strict=True)),
        }


def write_csv(plan: Plan, path: Path) -> None:
    """Raises OSError where the file cannot be written."""
    columns = [*FIXED, *dim_columns(plan.points).values(), *COSTS]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    writer.writerows({name: cell(value) for name, value in row.items()} for row in rows(plan))
    write_text(path, text.getvalue())


def show(plan: Plan, console: Console) -> None:
    """Prints the summary."""
    console.print(_summary(plan))
    console.print(_longest(plan))
    for line in _left_out(plan):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    console.print(
        f"[bold]{escape(plan.sweep.name)} on {plan.gpu.name}: {int(plan.runs.sum())} of {len(plan.points)} points run, "
        f"about {time_text(plan.total_s)} in all[/bold]\n{_sampling_line(plan)}\n{_rest_line(plan)}",
        highlight=False,
    )
    if plan.in_triton:
        console.print(_bounds_line(plan), markup=False, highlight=False)


def _bounds_line(plan: Plan) -> str:
    """How many Triton points have a bound of their own, and which of them is the furthest from what a library is predicted to take."""
    total = len(plan.in_triton)
    compiled = sum(plan.points[i].id in plan.loops for i in plan.in_triton)
    if not compiled:
        return (
            f"bounds: no kernel of the {total} Triton points was compiled here; --bounds compiles for {plan.gpu.name} and keeps the result"
        )
    rest = f"; {total - compiled} were not compiled here, which --bounds does" if compiled < total else ""
    text = f"bounds: {len(plan.bounds)} of {total} Triton points have one by the machine code of their kernels{rest}."
    above = {i: seconds / plan.prediction.predicted_s[i] for i, (seconds, _) in plan.bounds.items()}
    worst = max(above, key=above.__getitem__, default=None)
    if worst is None or above[worst] <= 1:
        return text
    seconds, limit = plan.bounds[worst]
    slow = sum(ratio > 1 for ratio in above.values())
    return (
        f"{text} {slow} cannot reach what a library is predicted to take; the furthest, {plan.points[worst].id}, takes at least "
        f"{time_text(seconds)}, limited by {limit}, where {time_text(float(plan.prediction.predicted_s[worst]))} is predicted."
    )


def _sampling_line(plan: Plan) -> str:
    settings = plan.settings
    return (
        f"sampling {time_text(float(plan.sampling_s.sum()))}: {settings.warmup_s:g} s of warm-up and about {expected_samples(settings)} "
        f"samples a point, as the simulated device needs. A GPU whose times vary more needs more, at most {settings.max_samples} "
        f"or {settings.max_s:g} s of them a point."
    )


def _rest_line(plan: Plan) -> str:
    trained = ", ".join(op.name for op in OPS.values() if op.trains)
    return (
        f"the rest {time_text(float(plan.rest_s.sum()))}, an estimate {SEEN}: inputs, references and both checks {POINT_S:g} s a point "
        f"and {CHECKED_S_A_BYTE * 1e9:g} s a GB that it holds, {TRAINED_S_A_BYTE * 1e9:g} s for {trained}; "
        f"compilation {TORCH_COMPILE_S:g} s a point of torch.compile, {TRITON_COMPILE_S:g} s for each of {len(plan.specialised)} Triton "
        "kernels."
    )


def _summary(plan: Plan) -> Table:
    table = Table(
        title=f"{escape(plan.sweep.name)} on {plan.gpu.name}, predicted",
        box=SIMPLE_HEAD,
        pad_edge=False,
        show_edge=False,
        padding=(0, 0, 0, 1),
    )
    for heading in ("op", "precision", "impl"):
        table.add_column(heading, overflow="fold")
    for heading in ("points", "run", "1 call", "sampling", "rest"):
        table.add_column(heading, justify="right", no_wrap=True)
    groups: dict[tuple[str, str, str], list[int]] = {}
    for i, point in enumerate(plan.points):
        groups.setdefault((point.op, point.precision, point.impl), []).append(i)
    runs, parts = plan.runs, (plan.sampling_s, plan.rest_s)
    for key, members in groups.items():
        running = [i for i in members if runs[i]]
        device = float(np.nansum(plan.prediction.predicted_s[running]))
        taken = [time_text(float(seconds[members].sum())) for seconds in parts]
        table.add_row(*key, str(len(members)), str(len(running)), time_text(device), *taken)
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
            table.add_row(escape(point.id), time_text(float(seconds[i])), str(p.bound[i]), f"{float(p.flops[i]):.3g}", moved, held)
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

"""`doctor --selftest`: every op × impl × precision once against its fp64 reference, and every layout, function and equation that the
shipped sweeps name once an implementation. Points are small, come from the sweeps and the registry, and so know every op. Each is checked
in a worker process, which is replaced where a CUDA error may have left it beyond repair: an error costs its own point only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import cycle, islice
from typing import Any

from benches.row import Row
from benches.run.isolation import Measurer, row_of
from benches.sweep.load import load_sweep, sweep_names
from kernels.op import DATA, Language, Op, OpError, Point
from kernels.precisions import PRECISIONS
from kernels.registry import OPS
from kernels.support import Platform

SEED = 20260101
STEP = 16  # sizes that fp8 takes in PyTorch are multiples of it
VERDICTS = {"ok": "pass", "verified": "pass", "unsupported": "unsupported"}  # by status; any other is a fail


@dataclass(frozen=True)
class Check:
    """One point's outcome: pass, fail or unsupported. `detail` says how far off, or why."""

    point: str
    op: str
    impl: str
    precision: str
    verdict: str
    detail: str
    wall_s: float

    @classmethod
    def of(cls, row: Row) -> Check:
        verdict = VERDICTS.get(row.status, "fail")
        error = f"{row.error_over_tolerance:.2g} of the tolerance" if row.error_over_tolerance is not None else ""
        detail = error if verdict == "pass" else f"{row.status}: {row.reason}" if verdict == "fail" else row.reason or ""
        return cls(row.point, row.op, row.impl, row.precision, verdict, detail, row.wall_s or 0.0)

    def line(self) -> str:
        """verdict  point  detail"""
        return f"{self.verdict:12}{self.point}  {self.detail}"


def run(measurer: Measurer, tell: Callable[[Check], None]) -> list[Check]:
    """Checks every point and gives each outcome to `tell` as it comes."""
    checks = [unmet(op) for op, examples in shipped_examples().items() if not examples]
    for check in checks:
        tell(check)
    for point in points(cache(measurer.platform)):
        check = Check.of(row_of(measurer, point, timing=False))
        tell(check)
        checks.append(check)
    return checks


def unmet(op: str) -> Check:
    """Returns a failed check for an op that has no point in any shipped sweep."""
    detail = f"no shipped sweep has a point of this op: add an entry with `op: {op}` to configs/sweeps/smoke.yaml"
    return Check(op, op, "", "", "fail", detail, 0.0)


def points(platform: Callable[[Language], Platform]) -> list[Point]:
    """What the self-test runs on such a platform."""
    return [point for op, examples in shipped_examples().items() for point in op_points(OPS[op], examples, platform)]


def shipped_examples() -> dict[str, list[Point]]:
    """Of each op in the shipped sweeps, the largest point of each choice of options (`shrink` cuts it down to several ragged tiles,
    where a small one may have none). Other data in the same kernel tells nothing new. An imported op brings its own example."""
    largest: dict[tuple[str, tuple[tuple[str, str], ...]], tuple[int, Point]] = {}
    for name in sweep_names():
        for point in load_sweep(name).points:
            if point.options.get("data", DATA.default) != DATA.default:
                continue
            key, size = (point.op, tuple(point.options.items())), sum(point.dims.values())
            if key not in largest or size > largest[key][0]:
                largest[key] = (size, point)
    found: dict[str, list[Point]] = {op: [] for op in OPS}
    for (op, _), (_, point) in sorted(largest.items(), key=lambda item: item[0]):
        found[op].append(point)
    for name, own in OPS.items():
        if own.example and not found[name]:
            found[name].append(own.point(own.baseline, own.precisions[0], own.example))
    return found


def op_points(op: Op, examples: list[Point], platform: Callable[[Language], Platform]) -> Iterator[Point]:
    """Each precision with one choice of options, then the choices not yet met, each with one precision; both lists take turns, so
    that few points meet many pairs."""
    if not examples:
        return
    for impl in (impl.name for impl in op.impls.values() if not impl.on_request):
        met, place = set(), platform(op.impls[impl].language)
        for i, precision in enumerate(PRECISIONS):
            point = first_supported(op, impl, [precision], turned(examples, i), place)
            met.add(tuple(point.options.items()))
            yield point
        for i, example in enumerate(examples):
            if tuple(example.options.items()) not in met:
                yield first_supported(op, impl, turned(list(PRECISIONS), i), [example], place)


def turned(values: list[Any], by: int) -> list[Any]:
    """The same values, starting elsewhere."""
    return list(islice(cycle(values), by % len(values), by % len(values) + len(values)))


def first_supported(op: Op, impl: str, precisions: list[str], examples: list[Point], platform: Platform) -> Point:
    """The first combination that can run; where none can, the first of all, whose reason is then told."""
    candidates = [c for example in examples for precision in precisions for c in small(op, impl, precision, example)]
    return next((c for c in candidates if op.impls[impl].unsupported(c, platform) is None), candidates[0])


def small(op: Op, impl: str, precision: str, example: Point) -> Iterator[Point]:
    """The example at a small ragged shape, and at one whose sizes are multiples of STEP."""
    ragged = op.shrink(op.point(impl, precision, example.dims, example.options))
    yield ragged
    even = {name: -(-size // STEP) * STEP for name, size in ragged.dims.items()}
    try:
        yield op.point(impl, precision, even, example.options)
    except OpError:  # an op whose sizes depend on one another
        return

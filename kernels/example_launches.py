"""The Triton kernels that an implementation launches at example shapes, for `inspect`: of somebody's own code, which lists none itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from kernels.compilation import Compilation
from kernels.gpus import Gpu
from kernels.launches import recorded_launches
from kernels.op import Dims, Impl, Op, OpError, Point, Unsupported
from kernels.precisions import PRECISIONS
from kernels.support import Platform

LARGE = 4096  # what `Op.shrink` makes a small, ragged size of
STEP = 16  # sizes that are multiples of it are what most kernels are written for
SEED = 0


def launches_of(op: Op, impl: Impl, gpu: Gpu, dims: Dims | None = None) -> tuple[list[Compilation], list[str]]:
    """What the implementation launches, each kind once, in every precision that it takes on the GPU, and a line for each failure.

    `variant` names the kernel and the first shape that launched it so. dims: None for small sizes, once multiples of 16 and once ragged.
    Operands lie in the host's memory, and nothing needs a GPU.
    """
    found: list[Compilation] = []
    met: list[Compilation] = []
    try:
        points = list(example_points(op, impl, gpu, dims))
    except OpError as error:
        return [], [f"FAIL {op.name}-{impl.name}: no example shape: {error}: give --dims"]
    failures = []
    for point in points:
        try:
            launched = launches_at(op, impl, point)
        except Unsupported as refusal:
            launched = [_refused(point, str(refusal))]
        except Exception as error:  # whatever somebody's own code raises
            failures.append(f"FAIL {point.id}: its launches cannot be recorded: {type(error).__name__}: {str(error).partition(chr(10))[0]}")
            continue
        new = [launch for launch in launched if launch not in met]
        met += new
        shape = "x".join(map(str, point.dims.values()))
        found += [replace(launch, variant=f"{launch.variant}@{shape}") for launch in new]
        if not launched:
            failures.append(f'FAIL {point.id}: launches no Triton kernel, although its language is "triton"')
    return found, failures


def launches_at(op: Op, impl: Impl, point: Point) -> list[Compilation]:
    """What the implementation launches at one point. Raises whatever its code raises."""

    def run() -> None:
        impl.load()(point, op.load("make_inputs")(point, "cpu", SEED)).run()

    return [replace(launch, op=op.name, impl=impl.name, precision=point.precision) for launch in recorded_launches(run)]


def example_points(op: Op, impl: Impl, gpu: Gpu, dims: Dims | None) -> Iterator[Point]:
    """The points of every precision that the implementation takes on the GPU. Raises OpError where `dims` are not the op's, or where none
    can be made up."""
    options = {name: option.choices[0] for name, option in op.options.items() if option.default is None and option.choices}
    platform = Platform("cuda", gpu.compute_capability)
    for precision in PRECISIONS:
        shapes = [dims] if dims else _shapes(op, impl, precision, options)
        for point in (op.point(impl.name, precision, shape, options) for shape in shapes):
            if impl.unsupported(point, platform) is None:
                yield point


def _shapes(op: Op, impl: Impl, precision: str, options: dict[str, str]) -> list[Dims]:
    large = op.example or dict.fromkeys(_names(op, options), LARGE)
    ragged = op.shrink(op.point(impl.name, precision, large, options)).dims
    aligned = {name: -(-size // STEP) * STEP for name, size in ragged.items()}
    return [aligned, ragged]


def _names(op: Op, options: dict[str, str]) -> tuple[str, ...]:
    """The dims of an op; of one that takes further leading dims, those as well. Raises OpError where it names none."""
    try:
        return op.dim_order(options, ())
    except OpError as error:
        if not error.valid:
            raise
        return error.valid


def _refused(point: Point, reason: str) -> Compilation:
    return Compilation(point.op, point.precision, "build", "", "", {}, {}, (), 0, 0, "recorded", point.impl, problem=reason)

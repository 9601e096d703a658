"""einops: rearrange, which moves elements, and reduce, which sums, averages or picks along the axes that the result does not name.

A rearrangement of a row-major operand is a view wherever strides can say it, and costs nothing; else it is a copy: bytes read once and
written once. A reduction of p elements to q costs p FLOPs, an add or a comparison an element (as einsum counts a sum), and q divisions
more for a mean; it reads p elements and writes q.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

from kernels import support
from kernels.einops_op.pattern import parse, rearranged, shape
from kernels.layout.strided import Strided, steps
from kernels.op import DATA, Cost, Dims, Impl, Op, OpError, Option, Options, Point, order_dims
from kernels.parts import Part, Stream
from kernels.precisions import PRECISIONS
from kernels.support import DeviceKind, Platform

OPTIONS = {
    "pattern": Option((), None, "The einops pattern, for example `b (h w) c -> b c h w`. The dims name its axes.", leading=True),
    "reduction": Option(
        ("none", "sum", "mean", "max", "min"),
        "none",
        "The reduction along the axes that the right side leaves out. With none, einops.rearrange moves the elements.",
    ),
    "data": DATA,
}
SMALL = 60_000  # elements of a shrunk operand


def dim_order(options: Options, given: Iterable[str]) -> tuple[str, ...]:
    """The axes in the operand's order. Raises OpError for other names and where the pattern is none."""
    return order_dims(parse(options["pattern"]).axes, given)


def check(point: Point) -> None:
    """Raises OpError where the pattern leaves out axes and nothing reduces them, or reduces none."""
    text, reduction = point.options["pattern"], point.options["reduction"]
    reduced = parse(text).reduced
    if reduced and reduction == "none":
        raise OpError(
            f"pattern {text!r}: {reduced[0]!r} is on the left side only: name a reduction", "reduction", OPTIONS["reduction"].choices[1:]
        )
    if not reduced and reduction != "none":
        raise OpError(f"pattern {text!r}: reduction {reduction} has no axis to reduce: all are on the right side", "reduction", ("none",))


def result(point: Point) -> Strided:
    """Shape and strides of the result: a view's, or those of a new row-major tensor."""
    pattern = parse(point.options["pattern"])
    new = shape(pattern.right, point.dims)
    view = None if pattern.reduced else rearranged(pattern, point.dims)
    return view or Strided(new, steps(new))


def is_view(point: Point) -> bool:
    """Whether the result shares the operand's memory."""
    pattern = parse(point.options["pattern"])
    return not pattern.reduced and rearranged(pattern, point.dims) is not None


def cost(point: Point, device: DeviceKind = "cuda") -> Cost:
    """The module's docstring; memory of the operand, and of the result where it is new."""
    element = PRECISIONS[point.precision].bytes
    count, kept = prod(point.dims.values()), result(point).size
    if is_view(point):
        return Cost(0, 0, 0, element * count)
    flops = {"none": 0, "mean": count + kept}.get(point.options["reduction"], count)
    return Cost(flops, element * count, element * kept, element * (count + kept))


def parts(point: Point, cost: Cost) -> list[Part]:
    """One stream; of a view nothing: no kernel is launched."""
    return [Stream(cost.bytes, cost.flops)] if cost.bytes else []


def small(point: Point) -> Dims:
    """Every dim at most the root of SMALL that makes as many dims."""
    most = max(1, int(SMALL ** (1 / len(point.dims))))
    return {name: min(size, most) for name, size in point.dims.items()}


def unsupported(point: Point, platform: Platform) -> str | None:
    """What PyTorch's reductions, which einops calls, cannot do, or None."""
    if support.is_fp8(point.precision) and point.options["reduction"] != "none":
        return f"{support.NO_FP8_ARITHMETIC}: einops' reductions are its sum, mean, amax and amin"
    return support.no_products(point.precision, "einops rearranges and reduces in fp32")


OP = Op.define(
    "kernels.einops_op",
    "einops",
    "Moves elements as einops.rearrange does, or combines them along axes as einops.reduce does.",
    options=OPTIONS,
    dims_doc="The dims are the axes that the pattern names.",
    dims=dim_order,
    check=check,
    cost=cost,
    small=small,
    parts=parts,
    is_view=is_view,
    exact_strides=True,
    impls=(
        Impl("torch", "torch_impl:eager", unsupported),
        Impl("torch_compile", "torch_impl:compiled", unsupported, compiled=True),
    ),
)

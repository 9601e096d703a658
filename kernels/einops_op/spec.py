"""einops: rearrange, which moves elements, and reduce, which sums, averages or picks along the axes that the result does not name.

A rearrangement of a row-major operand is a view wherever strides can say it, and costs nothing; else it is a copy: bytes read once and
written once. A reduction of p elements to q costs p FLOPs, an add or a comparison an element (as einsum counts a sum), and q divisions
more for a mean; it reads p elements and writes q.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import prod

from kernels.einops_op.pattern import parse, rearranged, shape
from kernels.layout.strided import Strided, steps
from kernels.op import DATA, Cost, DeviceKind, Impl, Op, OpError, Option, Options, Platform, Point, needs_compiler, order_dims
from kernels.parts import Part, Stream
from kernels.precisions import PRECISIONS

OPTIONS = {
    "pattern": Option((), None, "einops pattern, for example `b (h w) c -> b c h w`; dims name its axes", leading=True),
    "reduction": Option(("none", "sum", "mean", "max", "min"), "none", "none: rearrange; else what reduce does along the axes left out"),
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
            f"pattern {text!r}: {reduced[0]!r} stands on the left only: name a reduction", "reduction", OPTIONS["reduction"].choices[1:]
        )
    if not reduced and reduction != "none":
        raise OpError(f"pattern {text!r}: reduction {reduction} has no axis to reduce: all stand on the right", "reduction", ("none",))


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


def shrink(point: Point) -> Point:
    """Every dim at most the root of SMALL that makes as many dims."""
    most = max(1, int(SMALL ** (1 / len(point.dims))))
    return OP.point(point.impl, point.precision, {name: min(size, most) for name, size in point.dims.items()}, point.options)


def unsupported(point: Point, platform: Platform) -> str | None:
    """What PyTorch's reductions, which einops calls, cannot do, or None."""
    if point.precision == "tf32":
        return "TF32 is a way to multiply matrices: einops rearranges and reduces in fp32"
    if PRECISIONS[point.precision].bytes == 1 and point.options["reduction"] != "none":
        return "PyTorch has no fp8 arithmetic: einops' reductions are its sum, mean, amax and amin"
    return None


OP = Op(
    name="einops",
    doc="einops rearrange and reduce",
    options=OPTIONS,
    dim_order=dim_order,
    check=check,
    cost=cost,
    shrink=shrink,
    parts=parts,
    is_view=is_view,
    exact_strides=True,
    make_inputs="kernels.einops_op.data:make_inputs",
    reference="kernels.einops_op.data:reference",
    tolerance="kernels.einops_op.data:tolerance",
    impls={
        "torch": Impl("torch", "kernels.einops_op.torch_impl:eager", unsupported),
        "torch_compile": Impl("torch_compile", "kernels.einops_op.torch_impl:compiled", needs_compiler(unsupported)),
    },
)

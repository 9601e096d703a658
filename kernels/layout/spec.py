"""layout: views of a matrix, which move nothing, and the copies that lay one out anew. No arithmetic: every element stays as it is.

A view costs no bytes and no memory of its own. A copy reads and writes each element once; `contiguous` after a transpose has the traffic
of `clone` but reads across rows, so how far it lies below `clone` is what the transposition costs.
"""

from __future__ import annotations

from collections.abc import Iterable

from kernels.layout.strided import FUNCTIONS, ROWS, refused, result, shares_storage
from kernels.op import DATA, Cost, DeviceKind, Impl, Op, Option, Options, Platform, Point, always, needs_compiler, order_dims
from kernels.parts import Part, Stream
from kernels.precisions import PRECISIONS

OPTIONS = {
    "function": Option(tuple(FUNCTIONS), None, "the view or copy", leading=True),
    "data": DATA,
}
REFUSAL = (
    "PyTorch raises RuntimeError: view size is not compatible with input tensor's size and stride (at least one dimension spans across "
    "two contiguous subspaces); .reshape(...) copies instead (function: reshape_copy)"
)


def dim_order(options: Options, given: Iterable[str]) -> tuple[str, ...]:
    """m, n. Raises OpError for other names."""
    return order_dims(("m", "n"), given)


def sizes(point: Point) -> tuple[str, int, int]:
    """Function, m and n: what kernels/layout/strided.py takes."""
    return point.options["function"], point.dims["m"], point.dims["n"]


def operand_shapes(point: Point) -> list[tuple[int, ...]]:
    """x (m, n), a row (n,) where that is repeated, or x and y for cat."""
    name, m, n = sizes(point)
    return [(n,)] if name in ROWS else [(m, n)] * (2 if name == "cat" else 1)


def is_view(point: Point) -> bool:
    """Whether the result shares the operand's memory, as some copies do where a dim is 1."""
    return shares_storage(*sizes(point))


def cost(point: Point, device: DeviceKind = "cuda") -> Cost:
    """No FLOPs. A view moves nothing and holds its operand; a copy reads the distinct elements it takes and writes its result."""
    name, m, n = sizes(point)
    element = PRECISIONS[point.precision].bytes
    held = element * sum(n if len(shape) == 1 else m * n for shape in operand_shapes(point))
    if is_view(point):
        return Cost(0, 0, 0, held)
    written = element * FUNCTIONS[name].takes(m, n).size
    read = held if name in ROWS else written
    return Cost(0, read, written, held + written)


def parts(point: Point, cost: Cost) -> list[Part]:
    """One stream; of a view nothing: no kernel is launched."""
    return [Stream(cost.bytes, 0)] if cost.bytes else []


def describe(point: Point) -> str:
    """Strides, offset and storage of the result for a reader; empty where PyTorch refuses the function."""
    return "" if refused(*sizes(point)) else result(*sizes(point)).describe(is_view(point))


def shrink(point: Point) -> Point:
    """At most 67 × 131: several tiles, the last ones ragged."""
    dims = {"m": min(point.dims["m"], 67), "n": min(point.dims["n"], 131)}
    return OP.point(point.impl, point.precision, dims, point.options)


def torch_unsupported(point: Point, platform: Platform) -> str | None:
    """What PyTorch refuses, or None."""
    if point.precision == "tf32":
        return "TF32 is a way to multiply matrices: its elements lie in memory as fp32's"
    return REFUSAL if refused(*sizes(point)) else None


def triton_unsupported(point: Point, platform: Platform) -> str | None:
    """Why the Triton kernel, which copies, cannot run there, or None."""
    if platform.kind != "cuda" and not platform.interpreted:
        return "Triton needs a GPU or its interpreter"
    if why := torch_unsupported(point, platform):
        return why
    return "a view launches no kernel: there is nothing to write in Triton" if is_view(point) else None


OP = Op(
    name="layout",
    doc="views and copies of x[m, n]",
    options=OPTIONS,
    dim_order=dim_order,
    check=lambda point: None,
    cost=cost,
    shrink=shrink,
    parts=parts,
    is_view=is_view,
    exact_strides=True,
    make_inputs="kernels.layout.data:make_inputs",
    reference="kernels.layout.data:reference",
    tolerance="kernels.layout.data:tolerance",
    impls={
        "torch": Impl("torch", "kernels.layout.torch_impl:eager", torch_unsupported, always),
        "torch_compile": Impl("torch_compile", "kernels.layout.torch_impl:compiled", needs_compiler(torch_unsupported), always),
        "triton": Impl("triton", "kernels.layout.triton_impl:build", needs_compiler(triton_unsupported)),
    },
)

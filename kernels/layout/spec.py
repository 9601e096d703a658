"""layout: views of a matrix, which move nothing, and the copies that lay one out anew. No arithmetic: every element stays as it is.

A view costs no bytes and no memory of its own. A copy reads and writes each element once; `contiguous` after a transpose has the traffic
of `clone` but reads across rows, so how far it lies below `clone` is what the transposition costs.
"""

from __future__ import annotations

from kernels import support
from kernels.layout.strided import FUNCTIONS, ROWS, refused, result, shares_storage
from kernels.op import DATA, Cost, Impl, Op, Option, Point, always
from kernels.parts import Part, Stream
from kernels.precisions import PRECISIONS
from kernels.support import DeviceKind, Platform

OPTIONS = {
    "function": Option(tuple(FUNCTIONS), None, "The view or copy that is made.", leading=True),
    "data": DATA,
}
REFUSAL = (
    "PyTorch raises RuntimeError: view size is not compatible with input tensor's size and stride (at least one dimension spans across "
    "two contiguous subspaces); .reshape(...) copies instead (function: reshape_copy)"
)


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


def torch_unsupported(point: Point, platform: Platform) -> str | None:
    """What PyTorch refuses, or None."""
    return support.no_products(point.precision, "its elements lie in memory as fp32's") or (REFUSAL if refused(*sizes(point)) else None)


def triton_unsupported(point: Point, platform: Platform) -> str | None:
    """Why the Triton kernel, which copies, cannot run the point, or None."""
    if why := torch_unsupported(point, platform):
        return why
    return "a view launches no kernel: there is nothing to write in Triton" if is_view(point) else None


OP = Op.define(
    "kernels.layout",
    "layout",
    "Makes views of x[m, n], which move no bytes, and copies of it in another layout.",
    options=OPTIONS,
    dims_doc="m and n are the rows and the columns of x.",
    dims=("m", "n"),
    cost=cost,
    small={"m": 67, "n": 131},  # several tiles, the last ones ragged
    parts=parts,
    is_view=is_view,
    exact_strides=True,
    impls=(
        Impl("torch", "torch_impl:eager", torch_unsupported, always),
        Impl("torch_compile", "torch_impl:compiled", torch_unsupported, always, compiled=True),
        Impl("triton", "triton_impl:build", triton_unsupported, language="triton"),
    ),
)

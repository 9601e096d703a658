"""elementwise: y[m, n] = f(x[m, n], …), computed in fp32 and rounded once to the precision.

The functions, their FLOPs and what computes them: functions.py. Adding two matrices costs m·n FLOPs.
"""

from __future__ import annotations

from kernels import support
from kernels.elementwise.functions import FUNCTIONS, Function
from kernels.op import DATA, Cost, Impl, Op, OpError, Option, Point, always
from kernels.precisions import PRECISIONS
from kernels.support import DeviceKind, Platform

OPTIONS = {
    "function": Option(tuple(FUNCTIONS), None, "The function that is applied to every element.", leading=True),
    "to": Option(("none", *(p for p in PRECISIONS if p != "tf32")), "none", "The precision that cast converts to.", form="to_{}"),
    "data": DATA,
}


def function_of(point: Point) -> Function:
    """The entry of functions.py."""
    return FUNCTIONS[point.options["function"]]


def check(point: Point) -> None:
    """Raises OpError unless `to` is given exactly for a function that converts."""
    name, converts = point.options["function"], function_of(point).converts
    if converts != (point.options["to"] != "none"):
        converting = ", ".join(name for name, f in FUNCTIONS.items() if f.converts)
        message = f"{name} needs `to`: the precision it converts to" if converts else f"`to` goes with function: {converting} only"
        raise OpError(message, key="to", valid=OPTIONS["to"].choices[1:])


def out_precision(point: Point) -> str:
    """Name of the precision written."""
    return point.options["to"] if function_of(point).converts else point.precision


def cost(point: Point, device: DeviceKind = "cuda") -> Cost:
    """FLOPs as in FUNCTIONS; bytes of each operand, or of the part that must be read, and of the result."""
    m, n = point.dims["m"], point.dims["n"]
    f = function_of(point)
    size = PRECISIONS[point.precision].bytes
    operands = (f.matrices * m * n + f.vectors * n) * size
    read = f.read(m, n) * size if f.read else operands
    written = m * n * PRECISIONS[out_precision(point)].bytes
    return Cost(f.flops * m * n, read, written, operands + written)


def needs(point: Point, platform: Platform) -> str | None:
    """What the precisions read and written ask of the platform and it lacks, or None."""
    written = out_precision(point)
    return support.no_products(point.precision, "elementwise functions run in fp32") or support.fp8_conversions(
        {point.precision, written}, platform
    )


def eager_unsupported(point: Point, platform: Platform) -> str | None:
    """What ATen has no kernel for, or None."""
    if support.is_fp8(point.precision) and not function_of(point).fp8_in_torch:
        return f"{support.NO_FP8_ARITHMETIC}: only copies and casts"
    return needs(point, platform)


def compile_unsupported(point: Point, platform: Platform) -> str | None:
    """What Inductor does not generate code for, or None (torch/_inductor/codegen/triton.py, to_dtype)."""
    formats = {p for p in (point.precision, out_precision(point)) if support.is_fp8(p)}
    if platform.kind == "cuda" and len(formats) == 2:
        return "Inductor does not convert one fp8 format to the other on a GPU"
    return needs(point, platform)


def eager_allocates(point: Point) -> bool:
    """Whether PyTorch's call returns a new tensor, as copies and casts do; the others write to a given one."""
    return function_of(point).allocates


def eager_left_behind(point: Point) -> int:
    """Bytes of the intermediate results of several operators, of which two are alive at a time."""
    return 2 * cost(point).bytes_written if function_of(point).operators > 1 else 0


OP = Op.define(
    "kernels.elementwise",
    "elementwise",
    "Computes y[m, n] = f(x[m, n], …) in fp32 and rounds it once to the precision.",
    options=OPTIONS,
    dims_doc="m and n are the rows and the columns of the matrices.",
    dims=("m", "n"),
    check=check,
    cost=cost,
    small={"m": 67, "n": 131},  # several blocks, the last one ragged
    impls=(
        Impl("torch", "torch_impl:eager", eager_unsupported, eager_allocates, left_behind=eager_left_behind),
        Impl("torch_compile", "torch_impl:compiled", compile_unsupported, always, compiled=True),
        Impl("triton", "triton_impl:build", needs, language="triton"),
    ),
)

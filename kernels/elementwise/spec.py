"""elementwise: y[m, n] = f(x[m, n], …), computed in fp32 and rounded once to the precision.

The functions, their FLOPs and what computes them: functions.py. Adding two matrices costs m·n FLOPs.
"""

from __future__ import annotations

import math

from kernels import support
from kernels.elementwise.functions import FUNCTIONS, Function
from kernels.op import DATA, Cost, Impl, Op, OpError, Option, Point, always
from kernels.precisions import PRECISIONS
from kernels.support import DeviceKind, Platform

OPTIONS = {
    "function": Option(tuple(FUNCTIONS), None, "The function that is applied to every element.", leading=True),
    "to": Option(
        ("none", *(p for p in PRECISIONS if p != "tf32")),
        "none",
        "The precision that cast and the quantising functions convert to.",
        form="to_{}",
    ),
    "data": DATA,
}


def function_of(point: Point) -> Function:
    """The entry of functions.py."""
    return FUNCTIONS[point.options["function"]]


def check(point: Point) -> None:
    """Raises OpError unless `to` is given exactly for a function that converts, and is fp8 for one that quantises."""
    name, converts = point.options["function"], function_of(point).converts
    if converts != (point.options["to"] != "none"):
        converting = ", ".join(name for name, f in FUNCTIONS.items() if f.converts)
        message = f"{name} needs `to`: the precision it converts to" if converts else f"`to` goes with function: {converting} only"
        raise OpError(message, key="to", valid=OPTIONS["to"].choices[1:])
    if function_of(point).share is not None and not support.is_fp8(point.options["to"]):
        raise OpError(f"{name} writes fp8, not {point.options['to']}", key="to", valid=filter(support.is_fp8, PRECISIONS))


def out_precision(point: Point) -> str:
    """Name of the precision written."""
    return point.options["to"] if function_of(point).converts else point.precision


def scales_of_a_row(point: Point) -> int:
    """fp32 scales that a function writes for each row; 0 for one that writes none."""
    share = function_of(point).share
    return 0 if share is None else math.ceil(point.dims["n"] / share) if share else 1


def cost(point: Point, device: DeviceKind = "cuda") -> Cost:
    """FLOPs as in FUNCTIONS, and 2 a scale (it is at least SMALLEST; a division); bytes of each operand, or of the part that must be read,
    and of the result."""
    m, n = point.dims["m"], point.dims["n"]
    f = function_of(point)
    size = PRECISIONS[point.precision].bytes
    operands = (f.matrices * m * n + f.vectors * n) * size
    read = f.read(m, n) * size if f.read else operands
    scales = m * scales_of_a_row(point)
    written = m * n * PRECISIONS[out_precision(point)].bytes + 4 * scales
    return Cost(f.flops * m * n + 2 * scales, read, written, operands + written)


def needs(point: Point, platform: Platform) -> str | None:
    """What the precisions read and written ask of the platform and it lacks, or None."""
    written = out_precision(point)
    if function_of(point).share is not None and support.is_fp8(point.precision):
        return f"{point.precision} operands are quantised already: fp32, fp16 and bf16 ones can be"
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
    """Bytes of the intermediate results of several operators, of which two are alive at a time. Of quantising, x / s in fp32; where the
    last block of a row is smaller, that and the scales are put together from two parts before there is a result."""
    share = function_of(point).share
    if share is not None:
        m, n = point.dims["m"], point.dims["n"]
        ragged = 0 < share < n and n % share
        return 7 * m * n + 2 * 4 * m * scales_of_a_row(point) if ragged else 4 * m * n
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
        Impl("torch_compile_autotune", "torch_impl:autotuned", compile_unsupported, always, compiled=True, on_request=True),
        Impl("triton", "triton_impl:build", needs, language="triton"),
    ),
)

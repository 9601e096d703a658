"""elementwise: y[m, n] = f(x[m, n], …), computed in fp32 and rounded once to the precision.

FLOPs an element count each add, subtract, multiply, divide, comparison, root and transcendental of the formula as one, so that
adding two matrices costs m·n; moving and converting cost none.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from kernels.op import DATA, Cost, DeviceKind, Impl, Op, OpError, Option, Options, Platform, Point, always, needs_compiler, order_dims
from kernels.precisions import PRECISIONS


@dataclass(frozen=True)
class Function:
    """What one element costs, and what is read for it."""

    formula: str
    flops: int
    matrices: int  # (m, n) operands read
    vectors: int = 0  # (n,) operands read


# The table of conventions: count the operations in the formula.
FUNCTIONS = {
    "add": Function("x + y", 1, 2),
    "sub": Function("x − y", 1, 2),
    "mul": Function("x · y", 1, 2),
    "div": Function("x / y", 1, 2),
    "pow2": Function("x · x", 1, 1),
    "sqrt": Function("√x", 1, 1),
    "rsqrt": Function("1 / √x", 2, 1),
    "exp": Function("eˣ", 1, 1),
    "relu": Function("max(x, 0)", 1, 1),
    "gelu": Function("½ · x · (1 + erf(x · 1/√2))", 5, 1),
    "gelu_tanh": Function("½ · x · (1 + tanh(√(2/π) · (x + 0.044715 · x · x · x)))", 9, 1),
    "silu": Function("x / (1 + e^(−x))", 4, 1),
    "triu": Function("x where column ≥ row, else 0", 0, 1),
    "copy": Function("x", 0, 1),
    "cast": Function("x in another precision", 0, 1),
    "bias_gelu_residual": Function("r + gelu(x + b), b a row", 7, 2, 1),
}

OPTIONS = {
    "function": Option(tuple(FUNCTIONS), None, "the function", leading=True),
    "to": Option(("none", *(p for p in PRECISIONS if p != "tf32")), "none", "what cast converts to", form="to_{}"),
    "data": DATA,
}


def dim_order(options: Options, given: Iterable[str]) -> tuple[str, ...]:
    """m, n. Raises OpError for other names."""
    return order_dims(("m", "n"), given)


def check(point: Point) -> None:
    """Raises OpError where `to` and `cast` do not stand together."""
    casts = point.options["function"] == "cast"
    if casts != (point.options["to"] != "none"):
        message = "cast needs `to`: the precision it converts to" if casts else "`to` goes with function: cast only"
        raise OpError(message, key="to", valid=OPTIONS["to"].choices[1:])


def out_precision(point: Point) -> str:
    """Name of the precision written."""
    return point.options["to"] if point.options["function"] == "cast" else point.precision


def upper_triangle(m: int, n: int) -> int:
    """Elements of an (m, n) matrix on and above the diagonal: rows i < min(m, n) keep n − i."""
    rows = min(m, n)
    return rows * n - rows * (rows - 1) // 2


def cost(point: Point, device: DeviceKind = "cuda") -> Cost:
    """FLOPs by FUNCTIONS; bytes of each operand and of the result. triu need not read below the diagonal."""
    m, n = point.dims["m"], point.dims["n"]
    f = FUNCTIONS[point.options["function"]]
    size = PRECISIONS[point.precision].bytes
    operands = (f.matrices * m * n + f.vectors * n) * size
    read = upper_triangle(m, n) * size if point.options["function"] == "triu" else operands
    written = m * n * PRECISIONS[out_precision(point)].bytes
    return Cost(f.flops * m * n, read, written, operands + written)


def shrink(point: Point) -> Point:
    """At most 67 × 131: several blocks, the last one ragged."""
    dims = {"m": min(point.dims["m"], 67), "n": min(point.dims["n"], 131)}
    return OP.point(point.impl, point.precision, dims, point.options)


def needs(point: Point, platform: Platform) -> str | None:
    """What the precisions read and written ask of the platform and it lacks, or None."""
    if point.precision == "tf32":
        return "TF32 is a way to multiply matrices: elementwise functions run in fp32"
    precisions = {point.precision, out_precision(point)}
    if any(PRECISIONS[p].bytes == 1 for p in precisions) and platform.kind == "cuda" and platform.capability < (8, 9):
        return "fp8 conversions came with compute capability 8.9"
    return None


def eager_unsupported(point: Point, platform: Platform) -> str | None:
    """What ATen has no kernel for, or None."""
    if PRECISIONS[point.precision].bytes == 1 and point.options["function"] not in ("copy", "cast"):
        return "PyTorch has no fp8 arithmetic: only copies and casts"
    return needs(point, platform)


def compile_unsupported(point: Point, platform: Platform) -> str | None:
    """What Inductor does not generate code for, or None (torch/_inductor/codegen/triton.py, to_dtype)."""
    formats = {p for p in (point.precision, out_precision(point)) if PRECISIONS[p].bytes == 1}
    if platform.kind == "cuda" and len(formats) == 2:
        return "Inductor does not convert one fp8 format to the other on a GPU"
    return needs(point, platform)


def triton_unsupported(point: Point, platform: Platform) -> str | None:
    """Why the Triton kernel cannot run there, or None."""
    if platform.kind != "cuda" and not platform.interpreted:
        return "Triton needs a GPU or its interpreter"
    return needs(point, platform)


def eager_allocates(point: Point) -> bool:
    """Copies and casts return a new tensor; the other functions write to a given one."""
    return point.options["function"] in ("copy", "cast")


OP = Op(
    name="elementwise",
    doc="y[m, n] = f(x[m, n], …)",
    options=OPTIONS,
    dim_order=dim_order,
    check=check,
    cost=cost,
    shrink=shrink,
    make_inputs="kernels.elementwise.data:make_inputs",
    reference="kernels.elementwise.data:reference",
    tolerance="kernels.elementwise.data:tolerance",
    impls={
        "torch": Impl("torch", "kernels.elementwise.torch_impl:eager", eager_unsupported, eager_allocates),
        "torch_compile": Impl("torch_compile", "kernels.elementwise.torch_impl:compiled", needs_compiler(compile_unsupported), always),
        "triton": Impl("triton", "kernels.elementwise.triton_impl:build", needs_compiler(triton_unsupported)),
    },
)

"""The elementwise functions, one entry each. No other file needs to know a function's name.

An entry is a Triton body under `@function(...)`, which holds the formula, its cost, and PyTorch's three ways of computing it.

Plans read formulas and costs from here without torch and triton, so neither is imported. The bodies use both names; a module that calls
bodies first provides them: `bind(torch=torch)`, `bind(tl=triton.language)`. The further functions that bodies call
are those of fast_math.py.
"""

# ruff: noqa: PLW0108  (torch is not bound yet when an entry is made, so `lambda x: torch.exp(x)` cannot be torch.exp)

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import torch
    import torch.nn.functional as F
    import triton.language as tl

    from kernels.elementwise.fast_math import exp2, gelu_by_erf, reciprocal

    aten = torch.ops.aten

    Call = Callable[..., torch.Tensor]


@dataclass(frozen=True)
class Function:
    """One function of matrices (m, n), then vectors (n,) that are broadcast over the rows."""

    formula: str
    # Count each add, subtract, multiply, divide, comparison, root and transcendental of the formula; moving and converting cost none.
    flops: int  # an element
    reference: Call  # f(*operands), all in fp64
    eager: Call  # f(out, *operands), in the operands' dtype: PyTorch's call, which writes to `out` unless it `allocates`
    new: Call  # f(*operands), the same as an expression for torch.compile
    kernel: Callable[..., Any]  # Triton's body f(x, y, v): fp32 matrices and a row, None where there are fewer; not called where `bits`
    matrices: int = 1  # operands read
    vectors: int = 0
    read: Callable[[int, int], int] | None = None  # elements read, from m and n, where a correct kernel need not read all
    positive: bool = False  # the last operand is moved to |x| + 1/16
    exact: bool = False  # no rounding: elements are moved or chosen
    magnitude: Call = lambda expected, operands: expected + operands  # what rounding is relative to, by |result| and the sum of |operands|
    steps: Callable[..., Any] = lambda unit, expected, *operands: 0.0  # error of eager PyTorch's intermediate roundings, by magnitudes
    operators: int = 1  # kernels of the eager call that compute
    allocates: bool = False  # the eager call returns a new tensor
    fp8_in_torch: bool = False  # PyTorch has it in fp8
    converts: bool = False  # to the precision that the option `to` names
    # Elements of a row that share an fp32 scale, EVERY for the whole row: a second result, (m, scales of a row), contiguous along m. Then
    # `reference` and `new` also take the largest number of the precision written, and give what is rounded to it, and the scales.
    share: int | None = None
    bits: Literal["all", "upper"] | None = None  # copied bit by bit instead of computed: all, or the upper triangle's


EVERY = 0
SMALLEST = 1e-12  # that a scale is made for, so that zeros are divided by something

FUNCTIONS: dict[str, Function] = {}


def function(formula: str, flops: int, **others: Any) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Registers the decorated Triton body as the `kernel` of an entry with its name. others: further fields of Function."""

    def register(kernel: Callable[..., Any]) -> Callable[..., Any]:
        FUNCTIONS[kernel.__name__] = Function(formula, flops, kernel=kernel, **others)
        return kernel

    return register


def bind(**names: ModuleType | Any) -> None:
    """Provides the modules that the bodies use, by the names they use."""
    globals().update(names)


def upper_triangle(m: int, n: int) -> int:
    """Elements of an (m, n) matrix on and above the diagonal: rows i < min(m, n) keep n − i."""
    rows = min(m, n)
    return rows * n - rows * (rows - 1) // 2


def quantised(x: torch.Tensor, largest: float, share: int) -> tuple[torch.Tensor, torch.Tensor]:
    """x / scale, not yet rounded, and scale = max|x| / largest over each `share` elements of a row, (m, n) and (m, scales of a row).

    fp32 at least, so that 16-bit x is not divided in 16 bits; fp64 where x is.
    """
    share = min(share or x.shape[1], x.shape[1])
    rest = x.shape[1] % share
    if rest:  # not padded: from that, PyTorch 2.13's Inductor computes NaN on a CPU
        parts = [quantised(part, largest, share) for part in x.split((x.shape[1] - rest, rest), 1)]
        values, scales = (torch.cat(one, 1) for one in zip(*parts, strict=True))
        return values, scales.mT.contiguous().mT
    groups = x.unflatten(1, (-1, share))
    scale = groups.abs().amax(-1).to(torch.promote_types(x.dtype, torch.float32)).clamp(min=SMALLEST) / largest
    return (groups / scale.unsqueeze(-1)).flatten(1), scale.mT.contiguous().mT


def rounded(values: torch.Tensor, scale: torch.Tensor, out: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """The results of `quantised` in the dtypes of the outputs."""
    return values.to(out[0].dtype), scale


@function(
    "x + y",
    1,
    matrices=2,
    reference=lambda x, y: x + y,
    eager=lambda out, x, y: torch.add(x, y, out=out),
    new=lambda x, y: torch.add(x, y),
)
def add(x: tl.tensor, y: tl.tensor, v: tl.tensor) -> tl.tensor:
    return x + y


@function(
    "x − y",
    1,
    matrices=2,
    reference=lambda x, y: x - y,
    eager=lambda out, x, y: torch.sub(x, y, out=out),
    new=lambda x, y: torch.sub(x, y),
)
def sub(x: tl.tensor, y: tl.tensor, v: tl.tensor) -> tl.tensor:
    return x - y


@function(
    "x · y",
    1,
    matrices=2,
    reference=lambda x, y: x * y,
    eager=lambda out, x, y: torch.mul(x, y, out=out),
    new=lambda x, y: torch.mul(x, y),
)
def mul(x: tl.tensor, y: tl.tensor, v: tl.tensor) -> tl.tensor:
    return x * y


@function(
    "x / y",
    1,
    matrices=2,
    positive=True,
    reference=lambda x, y: x / y,
    eager=lambda out, x, y: torch.div(x, y, out=out),
    new=lambda x, y: torch.div(x, y),
)
def div(x: tl.tensor, y: tl.tensor, v: tl.tensor) -> tl.tensor:
    return tl.div_rn(x, y)  # `/` is an approximation, off by up to 2 ulp


@function(
    "x · x",
    1,
    reference=lambda x: x * x,
    eager=lambda out, x: torch.pow(x, 2, out=out),
    new=lambda x: x * x,
)
def pow2(x: tl.tensor, y: tl.tensor, v: tl.tensor) -> tl.tensor:
    return x * x


@function(
    "√x",
    1,
    positive=True,
    reference=lambda x: torch.sqrt(x),
    eager=lambda out, x: torch.sqrt(x, out=out),
    new=lambda x: torch.sqrt(x),
)
def sqrt(x: tl.tensor, y: tl.tensor, v: tl.tensor) -> tl.tensor:
    return tl.sqrt_rn(x)  # tl.sqrt is an approximation


@function(
    "1 / √x",
    2,
    positive=True,
    reference=lambda x: 1 / torch.sqrt(x),
    eager=lambda out, x: torch.rsqrt(x, out=out),
    new=lambda x: torch.rsqrt(x),
    steps=lambda unit, expected, x: unit * expected,  # on CPUs the columns left over by vector registers use 1 / (√x rounded)
)
def rsqrt(x: tl.tensor, y: tl.tensor, v: tl.tensor) -> tl.tensor:
    return tl.rsqrt(x)  # off by up to 2 ulp, half of what 1 / sqrt would add and a tenth of its instructions


@function(
    "eˣ",
    1,
    reference=lambda x: torch.exp(x),
    eager=lambda out, x: torch.exp(x, out=out),
    new=lambda x: torch.exp(x),
    magnitude=lambda expected, x: expected * (1 + x),
)
def exp(x: tl.tensor, y: tl.tensor, v: tl.tensor) -> tl.tensor:
    return tl.exp(x)


@function(
    "max(x, 0)",
    1,
    exact=True,
    reference=lambda x: x.clamp(min=0),
    eager=lambda out, x: torch.clamp_min(x, 0, out=out),
    new=lambda x: torch.relu(x),
)
def relu(x: tl.tensor, y: tl.tensor, v: tl.tensor) -> tl.tensor:
    return tl.maximum(x, 0.0, propagate_nan=tl.PropagateNan.ALL)


@function(
    "½ · x · (1 + erf(x · 1/√2))",
    5,
    reference=lambda x: 0.5 * x * (1 + torch.erf(x / math.sqrt(2))),
    eager=lambda out, x: aten.gelu.out(x, out=out),
    new=lambda x: F.gelu(x),
)
def gelu(x: tl.tensor, y: tl.tensor, v: tl.tensor) -> tl.tensor:
    return gelu_by_erf(x)


@function(
    "½ · x · (1 + tanh(√(2/π) · (x + 0.044715 · x · x · x)))",
    9,
    reference=lambda x: 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
    eager=lambda out, x: aten.gelu.out(x, approximate="tanh", out=out),
    new=lambda x: F.gelu(x, approximate="tanh"),
)
def gelu_tanh(x: tl.tensor, y: tl.tensor, v: tl.tensor) -> tl.tensor:
    # ½ (1 + tanh u) = 1 / (1 + e^(−2u)): Triton has no tanh, and this form does not cancel. 2 · √(2/π) / ln 2 = 2.3022…
    return x * reciprocal(1.0 + exp2(-2.302208198144325 * (x + 0.044715 * x * x * x)))


@function(
    "x / (1 + e^(−x))",
    4,
    reference=lambda x: x / (1 + torch.exp(-x)),
    eager=lambda out, x: aten.silu.out(x, out=out),
    new=lambda x: F.silu(x),
)
def silu(x: tl.tensor, y: tl.tensor, v: tl.tensor) -> tl.tensor:
    return x * reciprocal(1.0 + exp2(-1.4426950408889634 * x))  # 1 / ln 2


@function(
    "x where column ≥ row, else 0",
    0,
    read=upper_triangle,
    exact=True,
    bits="upper",
    reference=lambda x: torch.triu(x),
    eager=lambda out, x: torch.triu(x, out=out),
    new=lambda x: torch.triu(x),
)
def triu(x: tl.tensor, y: tl.tensor, v: tl.tensor) -> tl.tensor:
    """Not called: bits are copied."""


@function(
    "x",
    0,
    exact=True,
    allocates=True,
    fp8_in_torch=True,
    bits="all",
    reference=lambda x: x,
    eager=lambda out, x: x.clone(),
    new=lambda x: torch.clone(x),
)
def copy(x: tl.tensor, y: tl.tensor, v: tl.tensor) -> tl.tensor:
    """Not called: bits are copied."""


@function(
    "x in another precision",
    0,
    allocates=True,
    fp8_in_torch=True,
    converts=True,
    reference=lambda x: x,
    eager=lambda out, x: x.to(out.dtype, copy=True),
    new=lambda x: x,  # converted by the caller
)
def cast(x: tl.tensor, y: tl.tensor, v: tl.tensor) -> tl.tensor:
    return x


@function(
    "r + gelu(x + b), b a row",
    7,
    matrices=2,
    vectors=1,
    reference=lambda x, r, b: r + 0.5 * (x + b) * (1 + torch.erf((x + b) / math.sqrt(2))),
    eager=lambda out, x, r, b: torch.add(r, F.gelu(x + b), out=out),
    new=lambda x, r, b: r + F.gelu(x + b),
    steps=lambda unit, expected, x, r, b: 2 * 1.13 * unit * (x + b),  # x + b, and gelu of it, whose slope is at most 1.13
    operators=3,
)
def bias_gelu_residual(x: tl.tensor, y: tl.tensor, v: tl.tensor) -> tl.tensor:
    return y + gelu_by_erf(x + v)


@function(
    "x / s and s = max|x of its row| / largest of the fp8 format",
    2,
    allocates=True,
    fp8_in_torch=True,
    converts=True,
    share=EVERY,
    reference=lambda x, largest: quantised(x, largest, EVERY),
    eager=lambda out, x: rounded(*quantised(x, torch.finfo(out[0].dtype).max, EVERY), out),
    new=lambda x, largest: quantised(x, largest, EVERY),
    operators=4,
)
def quantise_rows(x: tl.tensor, y: tl.tensor, v: tl.tensor) -> tl.tensor:
    """Not called: rows are reduced first."""


@function(
    "x / s and s = max|x of its 1 × 128 block| / largest of the fp8 format",
    2,
    allocates=True,
    fp8_in_torch=True,
    converts=True,
    share=128,
    reference=lambda x, largest: quantised(x, largest, 128),
    eager=lambda out, x: rounded(*quantised(x, torch.finfo(out[0].dtype).max, 128), out),
    new=lambda x, largest: quantised(x, largest, 128),
    operators=4,
)
def quantise_blocks(x: tl.tensor, y: tl.tensor, v: tl.tensor) -> tl.tensor:
    """Not called: blocks are reduced first."""

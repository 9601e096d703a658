"""einsum: contractions in einops-style names, `b s h, b t h -> b s t`; dims not named in the output are summed.

`...` stands for the dims that the sweep gives and the equation does not name, in the order given; an operand without `...` is
broadcast over them. Dims that only one operand holds are summed first unless the output has them; more than two operands are then
contracted pairwise along opt_einsum's path. That path is what is costed, predicted, run and checked.

FLOPs of a step over dims of product p: p multiplies where two operands meet, and p adds where something is summed; so 2·p for
every contraction, p for an outer or elementwise product, p for a sum.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import opt_einsum

from kernels import support
from kernels.op import DATA, Cost, Dims, Impl, Op, OpError, Option, Options, Point, always, order_dims
from kernels.parts import Contraction, Part, Stream
from kernels.precisions import PRECISIONS
from kernels.support import DeviceKind, Platform

T = TypeVar("T")
SLICE_PAD = 64  # a sliced first operand is the first columns of a parent this many columns wider
PATH_OPTIMAL_UP_TO = 12  # operands: up to here dynamic programming over FLOPs; beyond, that search may take longer than the contraction
ELLIPSIS = "..."

OPTIONS = {
    "equation": Option(
        (),
        None,
        "The contraction in einops-style names, for example `b s h, b t h -> b s t`. Dims that the output does not name are summed.",
        leading=True,
    ),
    "operands": Option(
        ("contiguous", "sliced"),
        "contiguous",
        "How the operands lie in memory. With sliced, the first one is a slice of the columns of a wider matrix.",
    ),
    "data": DATA,
}


@dataclass(frozen=True)
class Equation:
    """Names of each operand's dims and of the result's. `...` may stand among them."""

    terms: tuple[tuple[str, ...], ...]
    output: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Every name, in order of first appearance, without `...`."""
        return tuple(dict.fromkeys(name for term in self.terms for name in term if name != ELLIPSIS))


@dataclass(frozen=True)
class Step:
    """One contraction of the path. Operands at two `positions` leave the list, and the result is appended; the sum of a single operand
    replaces it."""

    positions: tuple[int, ...]
    terms: tuple[tuple[str, ...], ...]
    output: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(name for term in self.terms for name in term))

    @property
    def summed(self) -> tuple[str, ...]:
        return tuple(name for name in self.names if name not in self.output)

    def after(self, live: Sequence[T], result: T) -> list[T]:
        """The list after this step. Items: tensors, names or sizes, one for each operand."""
        if len(self.positions) == 1:
            return [result if i in self.positions else item for i, item in enumerate(live)]
        return [item for i, item in enumerate(live) if i not in self.positions] + [result]

    def letters(self) -> str:
        """The step as torch.einsum takes it, `abc,adc->abd`."""
        return letters(self.terms, self.output)


def letters(terms: tuple[tuple[str, ...], ...], output: tuple[str, ...]) -> str:
    """Names to single letters, in order of first appearance."""
    symbol = {n: opt_einsum.get_symbol(i) for i, n in enumerate(dict.fromkeys(n for t in terms for n in t))}
    sides = [",".join("".join(symbol[n] for n in term) for term in terms), "".join(symbol[n] for n in output)]
    return "->".join(sides)


@lru_cache(maxsize=1024)
def parse(text: str) -> Equation:
    """Returns the equation. Raises OpError where the text is not one."""
    sides = text.split("->")
    if len(sides) != 2:
        raise OpError(f"equation {text!r} needs one `->` and the output's dims after it", key="equation")
    terms = tuple(tuple(term.split()) for term in sides[0].split(","))
    output = tuple(sides[1].split())
    for term in (*terms, output):
        for name in term:
            if name != ELLIPSIS and not name.isidentifier():
                raise OpError(f"equation {text!r}: {name!r} is not a name; write dims apart, `b s h`", key="equation")
        if len(set(term)) != len(term):
            reason = f"a name occurs twice in `{' '.join(term)}`, which means a diagonal: take it as a view first, x.diagonal()"
            raise OpError(f"equation {text!r}: {reason}", key="equation")
    if not all(terms):
        raise OpError(f"equation {text!r}: an operand has no dims", key="equation")
    known = {name for term in terms for name in term}
    for name in output:
        if name not in known:
            raise OpError(f"equation {text!r}: {name!r} is in the output but in no operand", key="equation", valid=known)
    return Equation(terms, output)


def dim_order(options: Options, given: Iterable[str]) -> tuple[str, ...]:
    """What `...` stands for, in the order given, then the equation's names."""
    equation = parse(options["equation"])
    names = tuple(given)
    free = tuple(n for n in names if n not in equation.names) if any(ELLIPSIS in t for t in equation.terms) else ()
    return order_dims(equation.names, names, free)


def expand(point: Point) -> Equation:
    """The equation with `...` replaced by the dims it stands for."""
    equation = parse(point.options["equation"])
    free = tuple(name for name in point.dims if name not in equation.names)

    def fill(term: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(n for name in term for n in (free if name == ELLIPSIS else (name,)))

    return Equation(tuple(fill(t) for t in equation.terms), fill(equation.output))


def path(point: Point) -> tuple[Step, ...]:
    """The pairwise steps that are costed and run."""
    return _path(expand(point), tuple(point.dims.items()))


@lru_cache(maxsize=65536)
def _path(equation: Equation, dims: tuple[tuple[str, int], ...]) -> tuple[Step, ...]:
    if len(equation.terms) == 1:
        return (Step((0,), equation.terms, equation.output),)
    steps, live = [], list(equation.terms)
    for i, term in enumerate(equation.terms):
        elsewhere = {n for j, other in enumerate(equation.terms) if j != i for n in other} | set(equation.output)
        live[i] = tuple(n for n in term if n in elsewhere)
        if live[i] != term:
            steps.append(Step((i,), (term,), live[i]))
    for positions in order_of(live, equation.output, dict(dims)):
        taken = tuple(live[i] for i in sorted(positions))
        rest = [t for i, t in enumerate(live) if i not in positions]
        later = {n for t in rest for n in t} | set(equation.output)
        kept = tuple(n for n in dict.fromkeys(n for t in taken for n in t) if n in later) if rest else equation.output
        steps.append(Step(tuple(sorted(positions)), taken, kept))
        live = steps[-1].after(live, kept)
    return tuple(steps)


def order_of(terms: Sequence[tuple[str, ...]], output: tuple[str, ...], size: Dims) -> Sequence[tuple[int, ...]]:
    """The operands that are contracted at each step, as positions in the list at that step. Source: opt_einsum's path."""
    if len(terms) == 2:
        return [(0, 1)]
    shapes = [tuple(size[n] for n in term) for term in terms]
    search = "dp" if len(terms) <= PATH_OPTIMAL_UP_TO else "greedy"
    order, _ = opt_einsum.contract_path(letters(tuple(terms), output), *shapes, shapes=True, optimize=search)
    return order


def step_flops(step: Step, dims: Dims) -> int:
    """FLOPs of one step: the convention of the module's docstring."""
    p = math.prod(dims[name] for name in step.names)
    return p * ((len(step.terms) == 2) + bool(step.summed))


def term_precisions(point: Point) -> list[str]:
    """Precision of each operand: the second of a pair in fp8_e5m2 is E4M3, as in matmul."""
    count = len(parse(point.options["equation"]).terms)
    return [point.precision] + [PRECISIONS[point.precision].matmul_rhs] * (count - 1)


def stored_shapes(point: Point) -> list[tuple[int, ...]]:
    """Shapes of the buffers that hold the operands; the first is wider where it is a slice."""
    shapes = [tuple(point.dims[n] for n in term) for term in expand(point).terms]
    if point.options["operands"] == "sliced":
        shapes[0] = (*shapes[0][:-1], shapes[0][-1] + SLICE_PAD)
    return shapes


def cost(point: Point, device: DeviceKind = "cuda") -> Cost:
    """FLOPs summed over the path; bytes of the operands and the result; memory with the intermediates alive at once."""
    equation = expand(point)
    out_bytes = PRECISIONS[PRECISIONS[point.precision].matmul_out].bytes
    sizes = [PRECISIONS[p].bytes for p in term_precisions(point)]
    read = sum(size * math.prod(point.dims[n] for n in term) for size, term in zip(sizes, equation.terms, strict=True))
    held = sum(size * math.prod(shape) for size, shape in zip(sizes, stored_shapes(point), strict=True))
    steps = path(point)
    live = [0] * len(equation.terms)  # bytes of intermediates, in the positions of the path's list
    peak = 0
    for step in steps:
        result = out_bytes * math.prod(point.dims[n] for n in step.output)
        peak = max(peak, sum(live) + result)
        live = step.after(live, result)
    return Cost(sum(step_flops(s, point.dims) for s in steps), read, live[-1], held + peak)


def check(point: Point) -> None:
    """Raises OpError where the equation is not one."""
    parse(point.options["equation"])


def small(point: Point) -> Dims:
    """Every dim at most 37, at most 3 for those in all operands and the output: ragged, and quick in the interpreter."""
    equation = expand(point)
    everywhere = set(equation.output).intersection(*equation.terms)
    return {name: min(size, 3 if name in everywhere and len(equation.terms) > 1 else 37) for name, size in point.dims.items()}


def torch_unsupported(point: Point, platform: Platform) -> str | None:
    """What torch.einsum cannot do, or None."""
    if support.is_fp8(point.precision):
        return "torch.einsum has no fp8: PyTorch multiplies fp8 only through torch._scaled_mm (op: matmul)"
    return support.matrix_units_or_interpreter(point.precision, platform)


def triton_unsupported(point: Point, platform: Platform) -> str | None:
    """Why the path cannot run as a chain of launches on this platform, or None."""
    if support.is_fp8(point.precision) and len(path(point)) > 1:
        return "an fp8 chain would have to quantise its intermediates"
    return support.matrix_units_or_interpreter(point.precision, platform)


def parts(point: Point, cost: Cost) -> list[Part]:
    """The path's steps, each reading its operands and writing its result."""
    return [step_part(step, point) for step in path(point)]


def step_part(step: Step, point: Point) -> Part:
    """A pair with summed dims is a batched matmul; a sum of one operand or an outer product streams."""
    size = point.dims
    p = PRECISIONS[point.precision]
    traffic = p.bytes * sum(math.prod(size[n] for n in term) for term in step.terms)
    traffic += PRECISIONS[p.matmul_out].bytes * math.prod(size[n] for n in step.output)
    if len(step.terms) == 1 or not step.summed:
        return Stream(traffic, step_flops(step, size))
    left, right = (set(term) for term in step.terms)
    kept = set(step.output)
    both = kept & left & right
    batch, m, n = (math.prod(size[d] for d in dims) for dims in (both, kept & left - right, kept & right - left))
    if m == n == 1:
        return Stream(traffic, step_flops(step, size))  # dot products, as in matmul
    return Contraction(bool(both), batch, m, n, math.prod(size[d] for d in step.summed), p.bytes, traffic)


OP = Op.define(
    "kernels.einsum",
    "einsum",
    "Contracts operands whose dims are named as in einops, pairwise along the cheapest path.",
    options=OPTIONS,
    dims_doc="The dims are those that the equation names, and in the place of `...` any others.",
    dims=dim_order,
    check=check,
    cost=cost,
    small=small,
    parts=parts,
    on_matrix_units=True,
    impls=(
        Impl("torch", "torch_impl:eager", torch_unsupported, always),
        Impl("torch_compile", "torch_impl:compiled", torch_unsupported, always, compiled=True),
        Impl("torch_compile_autotune", "torch_impl:autotuned", torch_unsupported, always, compiled=True, on_request=True),
        Impl("triton", "triton_impl:build", triton_unsupported, language="triton"),
    ),
)

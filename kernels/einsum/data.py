"""Operands, fp64 reference and tolerance of einsum."""

from __future__ import annotations

import math

import torch

from kernels import tolerances
from kernels.einsum.spec import OP, expand, letters, path, stored_shapes, term_precisions
from kernels.op import Inputs, Point
from kernels.precisions import PRECISIONS
from kernels.tensors import Maker, narrow_last


def make_inputs(point: Point, device: str | torch.device, seed: int | None) -> Inputs:
    """One tensor a term, of its dims in order; the first a column slice where the point says so. The output is uninitialised."""
    maker = Maker(point.options["data"], device, seed)
    equation = expand(point)
    stored = [maker.tensor(s, p) for s, p in zip(stored_shapes(point), term_precisions(point), strict=True)]
    operands = tuple(narrow_last(t, point.dims[term[-1]]) for t, term in zip(stored, equation.terms, strict=True))
    shape = tuple(point.dims[name] for name in equation.output)
    return Inputs(operands, maker.out(shape, PRECISIONS[point.precision].matmul_out, OP.impls[point.impl], point))


def reference(point: Point, operands: tuple[torch.Tensor, ...]) -> torch.Tensor:
    """The contraction in fp64, along the same path as costed."""
    live = [t.double() for t in operands]
    for step in path(point):
        live = step.after(live, torch.einsum(step.letters(), *(live[i] for i in step.positions)))
    return live[0]


def tolerance(point: Point, operands: tuple[torch.Tensor, ...], expected: torch.Tensor) -> torch.Tensor:
    """kernels/tolerances.py with R from each operand's norm over the dims that are summed."""
    equation = expand(point)
    summed = [name for name in equation.names if name not in equation.output]
    norms = [
        t.double().square().sum(dim=tuple(i for i, n in enumerate(term) if n in summed), keepdim=False).sqrt()
        if any(n in summed for n in term)
        else t.double().abs()
        for t, term in zip(operands, equation.terms, strict=True)
    ]
    kept = tuple(tuple(n for n in term if n not in summed) for term in equation.terms)
    walk = torch.einsum(letters(kept, equation.output), *norms)
    for name in summed:
        holders = sum(name in term for term in equation.terms)
        walk = walk / point.dims[name] ** ((holders - 1) / 2)
    k = math.prod(point.dims[name] for name in summed)
    return tolerances.contraction(expected, walk, point.precision, k, intermediates=len(path(point)) - 1)

"""What a point's kernels do, as sizes: contractions and streams, which is all that the calibrated cost model knows.

An op that is not listed here streams: it reads, computes on the vector units and writes once, at its own analytic cost.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from kernels import einsum, matmul
from kernels.einsum.spec import Step
from kernels.op import Cost, Point
from kernels.precisions import PRECISIONS

VECTOR_PRECISION = "fp32"  # what vector units compute in, whatever precision they load and store


@dataclass(frozen=True)
class Contraction:
    """(batch, m, k) @ (batch, k, n), its operands' bytes an element and its compulsory traffic."""

    batched: bool  # by a batched kernel, even where the batch is 1
    batch: int
    m: int
    n: int
    k: int
    element_bytes: int
    bytes: int


@dataclass(frozen=True)
class Stream:
    """Traffic and vector FLOPs of a kernel that touches everything once."""

    bytes: int
    flops: int


Part = Contraction | Stream


def matmul_parts(point: Point, cost: Cost) -> list[Part]:
    """One contraction; a shared right-hand side makes the leading dims rows."""
    m, n, k = (point.dims[d] for d in "mnk")
    leading = matmul.spec.leading_shape(point.dims)
    batch = math.prod(leading)
    if point.options["rhs"] == "shared":
        leading, batch, m = (), 1, batch * m
    if m == n == 1:
        return [Stream(cost.bytes, cost.flops)]  # dot products: a reduction, which no library tiles
    return [Contraction(bool(leading), batch, m, n, k, PRECISIONS[point.precision].bytes, cost.bytes)]


def einsum_parts(point: Point, cost: Cost) -> list[Part]:
    """The path's steps, each reading its operands and writing its result."""
    return [step_part(step, point) for step in einsum.spec.path(point)]


def step_part(step: Step, point: Point) -> Part:
    """A pair with summed dims is a batched matmul; a sum of one operand or an outer product streams."""
    size = point.dims
    p = PRECISIONS[point.precision]
    traffic = p.bytes * sum(math.prod(size[n] for n in term) for term in step.terms)
    traffic += PRECISIONS[p.matmul_out].bytes * math.prod(size[n] for n in step.output)
    if len(step.terms) == 1 or not step.summed:
        return Stream(traffic, einsum.spec.step_flops(step, size))
    left, right = (set(term) for term in step.terms)
    kept = set(step.output)
    both = kept & left & right
    batch, m, n = (math.prod(size[d] for d in dims) for dims in (both, kept & left - right, kept & right - left))
    if m == n == 1:
        return Stream(traffic, einsum.spec.step_flops(step, size))  # dot products, as in matmul
    return Contraction(bool(both), batch, m, n, math.prod(size[d] for d in step.summed), p.bytes, traffic)


CONTRACTED: dict[str, Callable[[Point, Cost], list[Part]]] = {"matmul": matmul_parts, "einsum": einsum_parts}


def parts(point: Point, cost: Cost) -> list[Part]:
    """The kernels of one call, in order."""
    contracted = CONTRACTED.get(point.op)
    return contracted(point, cost) if contracted else [Stream(cost.bytes, cost.flops)]


def compute_precision(op: str, precision: str) -> str:
    """The precision whose peak bounds an op: its own on matrix units, VECTOR_PRECISION elsewhere."""
    return precision if op in CONTRACTED else VECTOR_PRECISION

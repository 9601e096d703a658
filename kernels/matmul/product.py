"""What one launch of the Triton product computes, as sizes and strides. No torch here: a config is chosen from this alone.

C[batch, m, n] = Σ_k A[batch, m, k] · B[batch, k, n], where each of the four groups is any number of dims, in any order, with any strides.
Dims of size 1 are left out, and neighbours that every tensor steps through as one dim are merged.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

ALIGNMENT = 16  # elements: what Triton asks of sizes and strides before it loads vectors

Tensor = Literal["a", "b", "c"]


class Dim(NamedTuple):
    """One dim: its size and its stride in A, B and C, in elements; 0 where a tensor does not have it."""

    size: int
    a: int = 0
    b: int = 0
    c: int = 0


Group = tuple[Dim, ...]  # outermost first; () is a dim of size 1


@dataclass(frozen=True)
class Product:
    """The dims of a product, by the tensors that have them: `batch` all three, `m` A and C, `n` B and C, `k` A and B."""

    batch: Group
    m: Group
    n: Group
    k: Group

    @property
    def wide_a(self) -> bool:
        """Whether 16 neighbours along m are 16 neighbours in A's memory."""
        return runs_along(self.m, "a") and aligned((*self.batch, *self.m, *self.k), "a")

    @property
    def wide_b(self) -> bool:
        """Whether 16 neighbours along n are 16 neighbours in B's memory."""
        return runs_along(self.n, "b") and aligned((*self.batch, *self.n, *self.k), "b")

    @property
    def wide_c(self) -> bool:
        """Whether 16 neighbours along n differ in the innermost dim alone."""
        return bool(self.n) and self.n[-1].size % ALIGNMENT == 0

    @property
    def vectors(self) -> bool:
        """Whether A and B can both be loaded 128 bits at a time, along m or n or along k."""
        along_k_a = runs_along(self.k, "a") and aligned((*self.batch, *self.m, *self.k), "a")
        along_k_b = runs_along(self.k, "b") and aligned((*self.batch, *self.n, *self.k), "b")
        return (self.wide_a or along_k_a) and (self.wide_b or along_k_b)


def runs_along(group: Group, tensor: Tensor) -> bool:
    """Whether the innermost dim is contiguous in the tensor and its size a multiple of 16."""
    return bool(group) and getattr(group[-1], tensor) == 1 and group[-1].size % ALIGNMENT == 0


def is_along_k(p: Product, tensor: Tensor) -> bool:
    """Whether an operand is contiguous along the innermost dim of k; one that has no k, or one element along it, counts as so."""
    return not p.k or getattr(p.k[-1], tensor) == 1


def aligned(dims: Iterable[Dim], tensor: Tensor) -> bool:
    """Whether every other stride of the tensor is a multiple of 16."""
    return all(getattr(dim, tensor) % ALIGNMENT == 0 for dim in dims if getattr(dim, tensor) != 1)


def size_of(group: Group) -> int:
    """Elements of a group of dims."""
    return math.prod(dim.size for dim in group)


def product(batch: Iterable[Dim], m: Iterable[Dim], n: Iterable[Dim], k: Iterable[Dim]) -> Product:
    """The dims merged and ordered, so that loads are as wide as the strides allow.

    m's innermost dim is the one that is contiguous in A if there is one, else in C; n's likewise. k's is contiguous in A or B where that
    run is long enough for a vector, else the longest.
    """
    rows = merged(innermost_last(m, "a"))
    columns = merged(innermost_last(n, "b"))
    summed = merged(sorted(k, key=lambda d: (-d.a, -d.b)))
    inner = max(summed, key=lambda d: (1 in (d.a, d.b) and d.size >= ALIGNMENT, d.size), default=None)
    return Product(merged(batch), rows, columns, (*(d for d in summed if d is not inner), *([inner] if inner else ())))


def innermost_last(dims: Iterable[Dim], tensor: Tensor) -> list[Dim]:
    """The dims by falling stride: in the tensor if it is contiguous along one of them, else in C."""
    kept = [dim for dim in dims if dim.size > 1]
    by = tensor if any(getattr(dim, tensor) == 1 for dim in kept) else "c"
    return sorted(kept, key=lambda dim: -getattr(dim, by))


def merged(dims: Iterable[Dim]) -> Group:
    """Neighbours that every tensor steps through as one dim become one; dims of size 1 are dropped."""
    found: list[Dim] = []
    for dim in dims:
        if dim.size == 1:
            continue
        if found and all(outer == dim.size * inner for outer, inner in zip(found[-1][1:], dim[1:], strict=True)):
            found[-1] = Dim(found[-1].size * dim.size, *dim[1:])
        else:
            found.append(dim)
    return tuple(found)


def row_major(shape: Iterable[int]) -> tuple[int, ...]:
    """Strides of a row-major tensor."""
    sizes = tuple(shape)
    return tuple(math.prod(sizes[i + 1 :]) for i in range(len(sizes)))


def batched(shape: Sequence[int], k: int, a: Sequence[int], b: Sequence[int], c: Sequence[int]) -> Product:
    """A (…, m, k) · B (…, k, n) = C (…, m, n), from C's shape, k and the strides of all three, of the same length.

    Leading dims along which B stays the same are rows of one larger product.
    """
    leading = [Dim(*dim) for dim in zip(shape[:-2], a[:-2], b[:-2], c[:-2], strict=True)]
    m, n = shape[-2:]
    rows = [dim for dim in leading if dim.b == 0]
    return product(
        [dim for dim in leading if dim.b != 0], [*rows, Dim(m, a[-2], 0, c[-2])], [Dim(n, 0, b[-1], c[-1])], [Dim(k, a[-1], b[-2])]
    )

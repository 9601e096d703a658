"""How a step of the path is one launch: a pairwise contraction as one strided product, whatever its dims; anything else as a reduction.
No torch here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kernels.matmul.product import Dim, Product, innermost_last, merged, product

Names = tuple[str, ...]
Strides = Mapping[str, int]  # by dim, in elements


def is_product(terms: Sequence[Names], output: Names, dims: Mapping[str, int]) -> bool:
    """Whether a step multiplies matrices: two terms, something summed, and each term with dims of its own in the output.

    The others move or add up numbers and are bounded by memory: sums and permutations of one term, pointwise and outer products, dot
    products, and products with a vector.
    """
    if len(terms) != 2:
        return False
    a, b = ({name for name in term if dims[name] > 1} for term in terms)
    kept = set(output)
    return bool((a | b) - kept and (a - b) & kept and (b - a) & kept)


def group(terms: Sequence[Names], output: Names, dims: Mapping[str, int], strides: Sequence[Strides]) -> Product:
    """The product `a, b -> output`, where every summed dim is in both terms. strides: of a, b and the output."""
    a, b = terms

    def of(names: Sequence[str]) -> list[Dim]:
        return [Dim(dims[name], *(held.get(name, 0) for held in strides)) for name in names]

    return product(
        of([name for name in output if name in a and name in b]),
        of([name for name in output if name not in b]),
        of([name for name in output if name not in a]),
        of([name for name in a if name not in output]),
    )


def reduction(terms: Sequence[Names], output: Names, dims: Mapping[str, int], strides: Sequence[Strides]) -> Product:
    """A step that is no product as rows (the `m` of the result) and k. With one term the strides are that of it and the output."""
    found = strides if len(terms) == 2 else (strides[0], {}, strides[-1])
    named = {name: Dim(dims[name], *(held.get(name, 0) for held in found)) for term in terms for name in term}
    rows = [named[name] for name in output]
    if all(dim.a for dim in rows):
        rows = innermost_last(rows, "a")
    # Else A repeats along some rows, the result is the larger of the two, and the rows stay in its order.
    return Product((), merged(rows), (), product((), (), (), [dim for name, dim in named.items() if name not in output]).k)


def is_flat(p: Product) -> bool:
    """Whether the rows of a step with two terms are one run of elements in both operands and in the result: an elementwise product."""
    return not p.k and (not p.m or (len(p.m) == 1 and p.m[0][1:] == (1, 1, 1)))

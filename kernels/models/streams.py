"""What rope and grouped-query attention move beside the products, for the cost model: what each kernel of eager PyTorch moves and computes.

A kernel is (operands and results an element, FLOPs an element).
"""

from __future__ import annotations

from collections.abc import Iterator

from kernels.models import activations
from kernels.models.config import Transformer
from kernels.parts import Stream

FP64 = 8  # bytes
ROTATION = ((2, 1), (2, 0), (3, 2))  # times cos; halves exchanged; times sin and added
ROTATION_BACKWARD = ((2, 0), (2, 1), (2, 0), (2, 1), (3, 1))  # q beside k; times sin, exchanged; times cos; both added


def pointwise(elements: int, size: int, times: int, phase: str, *kernels: tuple[float, int]) -> list[Stream]:
    """A stream for each (operands and results an element, FLOPs an element)."""
    return [Stream(int(moved * elements * size), flops * elements, times, phase) for moved, flops in kernels]


def between_products(c: Transformer, tokens: int, size: int, times: int, forward: str, backward: str) -> Iterator[Stream]:
    """Of so many blocks: q and k rotated, k and v copied for each head of q.

    `forward`, `backward`: the phase that each pass is in; "" leaves the pass out.
    """
    turned, pairs = tokens * (c.hidden + c.kv_width), 2 * tokens * (c.hidden + c.kv_width)
    if c.position == "rope":
        yield from pointwise(turned, size, times, forward, *ROTATION) if forward else ()
        yield from pointwise(turned, size, times, backward, *ROTATION_BACKWARD) if backward else ()
    if activations.copied(c, size):
        yield from pointwise(pairs, size, times, forward, (1, 0)) if forward else ()  # a read of K heads, a write of A
        yield from pointwise(pairs, size, times, backward, (1, 1)) if backward else ()


def tables(c: Transformer, sequence: int, size: int, phase: str) -> Iterator[Stream]:
    """rope's cos and sin, once a pass: angles in fp64, the function of each, rounded."""
    if c.position == "rope":
        elements = sequence * c.depth
        yield Stream(elements * FP64, elements, phase=phase)
        for _ in range(2):
            yield Stream(elements * 2 * FP64, elements, phase=phase)
            yield Stream(elements * (FP64 + size), 0, phase=phase)

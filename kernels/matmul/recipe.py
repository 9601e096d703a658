"""How a product's operands are scaled and summed. No torch here."""

from __future__ import annotations

from dataclasses import dataclass

from kernels.op import Point
from kernels.precisions import PRECISIONS


@dataclass(frozen=True)
class Recipe:
    """How operands are scaled (none, tensor, row or block), and whether fp8 sums are added to fp32 ones every 128 products."""

    scaling: str = "none"
    slow: bool = False


UNSCALED = Recipe()
# With slow sums, how many products the tensor core adds up by itself: as many as cuBLAS does without use_fast_accum, and as a step along k
# of fp8 has.
IMPRECISE_PRODUCTS = 128


def recipe_of(point: Point) -> Recipe:
    """How a point's operands are scaled and summed."""
    scaling = point.options["scaling"] if PRECISIONS[point.precision].bytes == 1 else "none"
    return Recipe(scaling, point.options["accumulation"] == "slow")

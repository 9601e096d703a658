"""Patterns such as `b (h w) c -> b c h w`, read by einops' own parser, and where their elements come from. No torch here."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from einops import EinopsError
from einops.parsing import ParsedExpression

from kernels.layout.strided import Strided, steps
from kernels.op import OpError

Group = tuple[str, ...]  # axes that make up one dim, outermost first; () is a dim of one element


ADVICE = "It is discouraged to use axes names that are keywords"  # einops' warning; names are never turned into code here


@dataclass(frozen=True)
class Pattern:
    """Dims of the operand and of the result, as groups of axes."""

    left: tuple[Group, ...]
    right: tuple[Group, ...]

    @property
    def axes(self) -> tuple[str, ...]:
        """In the operand's order."""
        return tuple(axis for group in self.left for axis in group)

    @property
    def reduced(self) -> tuple[str, ...]:
        """Axes that the result does not have."""
        kept = {axis for group in self.right for axis in group}
        return tuple(axis for axis in self.axes if axis not in kept)


@lru_cache(maxsize=1024)
def parse(text: str) -> Pattern:
    """Raises OpError where the text is no pattern that rearrange or reduce takes with every axis named."""

    def wrong(why: str) -> OpError:
        return OpError(f"pattern {text!r}: {why}", key="pattern")

    sides = text.split("->")
    if len(sides) != 2:
        raise wrong("needs one `->` between the operand's axes and the result's")
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", ADVICE)
            left, right = (ParsedExpression(side) for side in sides)
    except EinopsError as error:
        raise wrong(str(error).splitlines()[0]) from error
    if left.has_ellipsis or right.has_ellipsis:
        raise wrong("`...` is not taken: name every axis")
    if left.has_non_unitary_anonymous_axes or right.has_non_unitary_anonymous_axes:
        raise wrong("an axis needs a name, not a number: name it and give its size among the dims")
    if not left.identifiers:
        raise wrong("the operand has no axes")
    if new := sorted(right.identifiers - left.identifiers):
        raise wrong(f"{new[0]!r} is on the right side only: einops.repeat is not supported")
    return Pattern(_groups(left), _groups(right))


def _groups(side: ParsedExpression) -> tuple[Group, ...]:
    return tuple(tuple(group) for group in side.composition)


def shape(groups: tuple[Group, ...], dims: Mapping[str, int]) -> tuple[int, ...]:
    """Sizes of the dims."""
    return tuple(math.prod(dims[axis] for axis in group) for group in groups)


def rearranged(pattern: Pattern, dims: Mapping[str, int]) -> Strided | None:
    """The result as a view of a row-major operand; None where no strides reach its elements, and they must be copied.

    One stride reaches a group of axes where each axis steps over exactly the next one's extent; axes of one element do not matter.
    """
    stride = dict(zip(pattern.axes, steps(tuple(dims[axis] for axis in pattern.axes)), strict=True))
    strides = []
    for group in pattern.right:
        stepped = [axis for axis in group if dims[axis] > 1]
        if any(stride[outer] != dims[inner] * stride[inner] for outer, inner in pairwise(stepped)):
            return None
        strides.append(stride[stepped[-1]] if stepped else 1)
    return Strided(shape(pattern.right, dims), tuple(strides))

"""How a pairwise contraction is one strided, batched matmul: which dims make up its leading dims, m, n and k. No torch here.

Dims that step through every tensor that holds them as one dim are merged. What then remains must be two leading dims, one m, one n
and one k; anything more would need a copy.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

Run = tuple[str, ...]  # dims merged into one, outermost first; () is a dim of size 1
Strides = Mapping[str, int]  # by dim, in elements
MAX_LEADING = 2  # as the kernel takes


@dataclass(frozen=True)
class Grouping:
    """Runs of names. `leading` are dims of the output that both operands hold, and those of one that did not merge into m or n."""

    leading: tuple[Run, ...]
    m: Run
    n: Run
    k: tuple[Run, ...]  # more than one: not supported

    @property
    def unsupported(self) -> str | None:
        """Why the kernel cannot run it without a copy, or None."""
        if len(self.leading) > MAX_LEADING:
            shown = ", ".join("·".join(run) for run in self.leading)
            return f"needs {len(self.leading)} leading dims with strides of their own ({shown}), the Triton kernel takes {MAX_LEADING}"
        if len(self.k) > 1:
            shown = ", ".join("·".join(run) for run in self.k)
            return f"the summed dims {shown} do not step through both operands as one: that would need a copy"
        return None


def strides_of(names: Sequence[str], stored: Sequence[int]) -> dict[str, int]:
    """Strides of a row-major buffer of shape `stored`."""
    return {name: math.prod(stored[i + 1 :]) for i, name in enumerate(names)}


def size_of(run: Run, dims: Mapping[str, int]) -> int:
    """Elements of a run of dims."""
    return math.prod(dims[name] for name in run)


def group(terms: Sequence[Run], output: Run, dims: Mapping[str, int], strides: Sequence[Strides]) -> Grouping:
    """The grouping of `a, b -> output`, where every summed dim is in both terms. strides: of a, b and the output."""
    a, b = terms
    leading = runs((name for name in output if name in a and name in b), dims, strides)
    m, *more_m = _widest_first(runs((name for name in output if name not in b), dims, strides), dims)
    n, *more_n = _widest_first(runs((name for name in output if name not in a), dims, strides), dims)
    k = runs((name for name in a if name not in output), dims, strides)
    return Grouping((*leading, *more_m, *more_n), m, n, tuple(k))


def runs(names: Iterable[str], dims: Mapping[str, int], strides: Sequence[Strides]) -> list[Run]:
    """Neighbours merged where they step through every tensor that holds them as one; dims of size 1 vanish."""
    found: list[Run] = []
    for name in names:
        if dims[name] == 1:
            continue
        if found and all(s[found[-1][-1]] == dims[name] * s[name] for s in strides if name in s):
            found[-1] = (*found[-1], name)
        else:
            found.append((name,))
    return found


def _widest_first(found: list[Run], dims: Mapping[str, int]) -> list[Run]:
    """The widest becomes the matmul's own dim, which tiles fill best; the first of equals, so that the choice is stable."""
    return sorted(found, key=lambda run: -size_of(run, dims)) or [()]

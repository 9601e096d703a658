"""What one call of a point consists of, as sizes: contractions and streams, which is all that the calibrated cost model knows.

`times`: how often the part runs in a call, one after the other (the layers of a model). `phase`: which of the call's phases it belongs
to ("forward", "backward", …); "" in a call without phases.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

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
    times: int = 1
    phase: str = ""


@dataclass(frozen=True)
class Stream:
    """Traffic and vector FLOPs of a kernel that touches everything once."""

    bytes: int
    flops: int
    times: int = 1
    phase: str = ""
    over_link: bool = False  # copied from the host's memory


Part = Contraction | Stream


def one_a_part(point: object, parts: Sequence[Part]) -> int:
    """One operator a part, as often as the part runs, at least one."""
    return max(1, sum(part.times for part in parts))


def operators_a_part(each: int) -> Callable[[object, Sequence[Part]], int]:
    """Returns a count of the operators that PyTorch calls for a point: `each` a part, as often as the part runs."""
    return lambda point, parts: each * one_a_part(point, parts)

"""Random pairwise einsum equations: what a Triton einsum must compute without refusing any."""

from __future__ import annotations

from random import Random
from string import ascii_lowercase

SIZES = (1, 2, 3, 5, 7, 16, 17)
LONE = 0.15  # how often an operand has a dim of its own that is summed


def random_equation(draw: Random) -> tuple[str, dict[str, int]]:
    """`a b c, c d -> …` and the size of each dim: up to two dims in each of batch, m, n and k, in any order in each operand."""
    names = iter(ascii_lowercase)
    batch, m, n, k = ([next(names) for _ in range(draw.randint(0, 2))] for _ in range(4))
    lone = [[next(names)] if draw.random() < LONE else [] for _ in range(2)]
    a = [*batch, *m, *k, *lone[0]] or [next(names)]
    b = [*batch, *n, *k, *lone[1]] or [next(names)]
    output = [*batch, *m, *n]
    for term in (a, b, output):
        draw.shuffle(term)
    return f"{' '.join(a)}, {' '.join(b)} -> {' '.join(output)}", {name: draw.choice(SIZES) for name in dict.fromkeys((*a, *b))}

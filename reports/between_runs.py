"""How far runs of the same code differ on a shared CPU: what an interval of one run does not hold, in a sentence."""

from __future__ import annotations

# Seen in 1,462 pairs of runs (python -m studies.aa); reports/compare/noise.py takes its `alone` from them.
BETWEEN_CPU_RUNS = (
    "runs of the same code on a shared CPU differ by 1% in some points and by 15% in others, which live in a shared cache; of 1,462 pairs "
    "the furthest differed by 1.83×"
)

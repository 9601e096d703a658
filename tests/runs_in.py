"""In which precisions an op runs at all, by its own word: so that no test needs a list of ops and what they lack."""

from __future__ import annotations

from functools import lru_cache

from benches.doctor.selftest import shipped_examples, small
from kernels.op import Point
from kernels.precisions import PRECISIONS
from kernels.registry import OPS
from kernels.support import Platform


@lru_cache  # reading all shipped sweeps takes a third of a second
def examples() -> dict[str, list[Point]]:
    """By op, points of the shipped sweeps. An op without one would be left out of every test that goes by these."""
    found = shipped_examples()
    lacking = [op for op, points in found.items() if not points]
    assert not lacking, f"no shipped sweep has an entry for {', '.join(lacking)}: add one to configs/sweeps/smoke.yaml and nightly.yaml"
    return found


H100 = Platform("cuda", (9, 0))


@lru_cache
def runs_in(op: str, impl: str | None = None) -> frozenset[str]:
    """Precisions in which an H100 runs some shipped point of the op, in one implementation or in any."""
    impls = OPS[op].impls if impl is None else (impl,)
    return frozenset(
        precision
        for precision in PRECISIONS
        for example in examples()[op]
        for one in impls
        if any(OPS[op].impls[one].unsupported(point, H100) is None for point in small(OPS[op], one, precision, example))
    )

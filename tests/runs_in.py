"""In which precisions an op runs at all, by its own word: so that no test needs a list of ops and what they lack."""

from __future__ import annotations

from functools import lru_cache

from benches.doctor.selftest import shipped_examples, small
from kernels.op import Platform
from kernels.precisions import PRECISIONS
from kernels.registry import OPS

examples = lru_cache(shipped_examples)  # reading all shipped sweeps takes a third of a second
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

"""Are random einsums right in Triton? `python -m studies.equations [COUNT]` checks 400 in Triton's interpreter against fp64, in minutes.

Prints every equation that is refused or wrong, then how many steps each kind of launch took. Exit 1 where one was.
"""

from __future__ import annotations

import sys
from collections import Counter
from random import Random

from kernels import interpreter
from studies.equations.draw import random_equation

COUNT = 400
SEED = 17
PRECISIONS = ("fp32", "tf32", "fp16", "bf16")


def main(count: int) -> int:
    interpreter.interpret()
    from benches.correctness import check
    from kernels.einsum import triton_impl
    from kernels.einsum.spec import OP
    from kernels.support import Platform

    draw, kinds, bad = Random(SEED), Counter[str](), 0
    for _ in range(count):
        equation, dims = random_equation(draw)
        options = {"equation": equation, "operands": draw.choice(("contiguous", "sliced"))}
        point = OP.point("triton", draw.choice(PRECISIONS), dims, options)
        problem = OP.impls["triton"].unsupported(point, Platform("cpu", interpreted=True))
        if problem is None:
            inputs = triton_impl.make_inputs(point, "cpu", SEED)
            problem = check(OP, point, triton_impl.build(point, inputs), inputs).problem
            kinds.update(launch.kind for launch in triton_impl.launches(point))
        if problem:
            bad += 1
            print(f"{point.id}: {problem}")
    print(f"{count} equations, {bad} refused or wrong; steps: " + ", ".join(f"{n} {kind}" for kind, n in kinds.most_common()))
    return 1 if bad else 0


if __name__ == "__main__":
    raise SystemExit(main(int(sys.argv[1]) if sys.argv[1:] else COUNT))

"""Which kernels are compared, at which products, and in which order. Needs neither torch nor triton."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

from kernels.gpus import load_gpu
from kernels.matmul.configs import choose
from kernels.precisions import PRECISIONS

SM_COUNT = load_gpu("h100_sxm5").sm_count


@dataclass(frozen=True)
class Variant:
    """One kernel with its tile; the tile's k is given in bytes, 128 being the widest swizzle of shared memory."""

    family: str  # "cublas", "suite" (kernels/matmul/pointer_kernels.py), "pointer", "host" or "device": TMA by descriptors made there
    m: int = 0
    n: int = 0
    k_bytes: int = 128
    warps: int = 8
    stages: int = 4
    address: str = ""  # of "pointer", see kernels.py; so are the switches of "host" and "device":
    persistent: bool = False
    flatten: bool = False
    specialize: bool = False
    store: str = "whole"

    @property
    def kind(self) -> str:
        """The family and its switches."""
        switches = {"persistent": self.persistent, "flatten": self.flatten, "specialize": self.specialize}
        parts = [self.family, self.address, *(s for s, on in switches.items() if on), self.store if self.store != "whole" else ""]
        return "-".join(filter(None, parts))

    @property
    def name(self) -> str:
        """Unique: the kind and the tile."""
        return f"{self.kind} {self.m}x{self.n}x{self.k_bytes}B w{self.warps} s{self.stages}" if self.m else self.kind


@dataclass(frozen=True)
class Case:
    """One product (m, k) · (k, n)."""

    m: int
    n: int
    k: int
    precision: str = "bf16"
    layout: str = "nt"

    @property
    def name(self) -> str:
        return f"{self.m}x{self.n}x{self.k} {self.precision} {self.layout}"

    @property
    def flops(self) -> float:
        return 2.0 * self.m * self.n * self.k

    @property
    def bytes(self) -> int:
        """Of both operands and the result."""
        p = PRECISIONS[self.precision]
        return p.bytes * self.k * (self.m + self.n) + PRECISIONS[p.matmul_out].bytes * self.m * self.n

    def sets(self, l2_bytes: int) -> int:
        """Operand sets in rotation: between two launches on one of them, three times the L2 is touched."""
        return math.ceil(3 * l2_bytes / self.bytes) + 1


CUBLAS = Variant("cublas")
POINTER = Variant("pointer", 128, 256, address="base")
HOST = Variant("host", 128, 256)
DEVICE = Variant("device", 128, 256)
# Four consumer warps are asked for; the compiler adds the producer's, and with 8 it ignores the request.
SPECIALIZED = replace(DEVICE, warps=4, specialize=True)
LONG = replace(SPECIALIZED, persistent=True)

# What large products are run with, the likeliest to matter first.
LARGE = (
    POINTER,
    replace(POINTER, address="offset"),
    HOST,
    replace(LONG, store="direct"),  # 4 stages, which leave no room to store through shared memory
    replace(LONG, stages=3),
    replace(HOST, persistent=True, flatten=True, store="halves"),
    replace(HOST, persistent=True, store="halves"),
    DEVICE,
    replace(DEVICE, persistent=True, flatten=True, store="halves"),
    replace(DEVICE, persistent=True, store="halves"),
    replace(SPECIALIZED, store="direct"),
    replace(SPECIALIZED, stages=3),
    replace(LONG, m=256, n=128, store="direct"),
    replace(LONG, m=128, n=128),
    replace(POINTER, stages=3),
    replace(POINTER, n=128, warps=4, stages=3),  # two blocks fit an SM
    replace(POINTER, m=256, n=128),
    replace(POINTER, m=64, warps=4),
    replace(HOST, n=128, warps=4, stages=3),  # two blocks fit an SM
    replace(HOST, stages=3),
    replace(HOST, persistent=True, flatten=True, stages=3),
    replace(HOST, m=256, n=128),
    replace(HOST, m=64, warps=4),
    replace(LONG, m=256, n=128, stages=3),
    replace(LONG, stages=3, store="direct"),
)
SHORT = LARGE[:12]
FEW = tuple(v for v in SHORT if v.family != "device" or v.specialize)  # where device and host descriptors need no comparison
SMALL = (
    replace(POINTER, m=64, n=128, warps=4),
    replace(POINTER, m=64, n=64, warps=4),
    replace(POINTER, m=64, n=64, k_bytes=256, warps=4),
    replace(POINTER, m=64, n=32, k_bytes=256, warps=4),
    replace(POINTER, n=128, warps=4, stages=3),
    replace(HOST, m=64, n=128, warps=4),
    replace(HOST, m=64, n=64, warps=4),
    replace(HOST, m=64, n=64, warps=4, stages=6),
    replace(HOST, m=64, n=64, k_bytes=256, warps=4),
    replace(HOST, m=64, n=32, k_bytes=256, warps=4),
    replace(DEVICE, m=64, n=64, warps=4),
    replace(HOST, n=128, warps=4, stages=3),
    replace(SPECIALIZED, n=128),
)


def suite(case: Case) -> Variant:
    """The suite's kernel as it would run this product."""
    config = choose(case.precision, case.m, case.n, 0, 1, True, SM_COUNT)  # one kernel a variant, so k is not split
    k_bytes = config.block_k * PRECISIONS[case.precision].bytes
    return Variant("suite", config.block_m, config.block_n, k_bytes, config.warps, config.stages)


GROUPS = (
    (Case(8192, 8192, 8192), LARGE),
    (Case(4096, 4096, 4096), LARGE),
    (Case(8192, 8192, 8192, "fp8_e4m3"), SHORT),
    (Case(4096, 4096, 4096, "fp8_e4m3"), FEW),
    (Case(8192, 8192, 8192, "bf16", "nn"), FEW),
    (Case(1024, 1024, 1024), SMALL),
    (Case(64, 8192, 8192), SMALL),
    (Case(512, 512, 16384), SMALL),
    (Case(2048, 2048, 2048), (*FEW, *(v for v in LARGE if v.n == 128 and v.m == 128))),
    (Case(8192, 8192, 8192, "fp16"), FEW),
    (Case(4096, 4096, 4096, "bf16", "nn"), FEW),
    (Case(2048, 2048, 2048, "fp8_e4m3"), FEW),
)


@dataclass(frozen=True)
class Job:
    """One measurement. The two rounds of a group interleave its variants, because a power-capped clock wanders by some percent."""

    case: Case
    variant: Variant
    round: int


def jobs() -> Iterator[Job]:
    """All measurements, the most valuable first."""
    for case, variants in GROUPS:
        for number in (1, 2):
            for variant in (CUBLAS, suite(case), *variants):
                yield Job(case, variant, number)


def compilations() -> list[tuple[Variant, Case]]:
    """What has to be compiled, in the order of first use: a kernel depends on the case's precision and layout, not on its sizes."""
    first: dict[tuple[Variant, str, str], Case] = {}
    for job in jobs():
        if job.variant != CUBLAS:
            first.setdefault((job.variant, job.case.precision, job.case.layout), job.case)
    return [(variant, case) for (variant, *_), case in first.items()]

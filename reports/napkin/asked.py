"""A question as values: each kind of question has the parts that it needs."""

from __future__ import annotations

from dataclasses import dataclass

from benches.sweep.shapes import Layer
from kernels.gpus import Gpu
from kernels.models.architecture import Architecture
from kernels.napkin.memory import Memory, parameter_bytes
from kernels.napkin.setup import Attention, Batch, Links, Loss, Recompute, Split
from kernels.parameter_copies import Scheme
from reports.napkin.measured import Measured
from reports.napkin.reader import Assumption


@dataclass(frozen=True)
class Subject:
    """The model. `counted`: the N of 6·N."""

    name: str  # "" where only numbers are given
    total: float
    active: float
    counted: float
    architecture: Architecture | None
    layers: tuple[Layer, ...]


@dataclass(frozen=True)
class Adapter:
    """LoRA: parameters that are trained, and bytes of each weight that is not."""

    parameters: float
    frozen_bytes: float


@dataclass(frozen=True)
class Recipe:
    """How a step is made."""

    attention: Attention = "flash"
    causal: bool = True
    loss: Loss = "whole"
    recompute: Recompute = "none"


@dataclass(frozen=True)
class Timing:
    """The values that time rests on. One of `mfu` and `hfu` is given; `tokens` and `days` as the question has them."""

    mfu: float | None
    hfu: float | None
    measured: Measured | None  # where the MFU comes from, if a run measured it
    tokens: float | None
    days: float | None
    links: Links
    overlap: float


@dataclass(frozen=True)
class Run:
    """A run that was made: tokens a second of all GPUs, and how that was given."""

    tokens_per_s: float
    how: str


@dataclass(frozen=True)
class Serving:
    """The values that serving rests on; bytes of an element."""

    prompt: float
    generated: float
    batch: float
    kv_bytes: float
    weight_bytes: float


@dataclass(frozen=True)
class Price:
    """Dollars an hour and watts of a GPU."""

    usd_per_gpu_hour: float | None
    watts: float | None


@dataclass(frozen=True)
class Question:
    """A question whose file is right. What its kind does not use is None."""

    name: str
    file: str
    ask: str
    gpus: float  # 1 where they are what is asked
    gpu: Gpu
    memory: str  # datasheet or board
    scheme: Scheme
    optimizer: str  # of kernels.napkin.memory.optimizer_names
    split: Split
    reserve: float
    recipe: Recipe
    peak_flops_per_s: float
    subject: Subject | None = None
    adapter: Adapter | None = None
    batch: Batch | None = None
    timing: Timing | None = None
    run: Run | None = None
    serving: Serving | None = None
    write_bytes_per_s: float | None = None
    price: Price | None = None
    assumptions: tuple[Assumption, ...] = ()

    @property
    def each(self) -> Memory:
        """Bytes of a parameter that is trained."""
        return parameter_bytes(self.scheme, self.optimizer)

    @property
    def replicas(self) -> float:
        return self.split.replicas(self.gpus)

    @property
    def memory_bytes(self) -> float:
        """The memory of a GPU, all of it."""
        board = self.gpu.board_memory_bytes
        return board if self.memory == "board" and board else self.gpu.memory_bytes

    @property
    def architecture(self) -> Architecture | None:
        return self.subject.architecture if self.subject else None

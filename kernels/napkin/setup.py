"""What the napkin's formulas take: a model's shape, a batch, how both are divided among GPUs, and the links between them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Recompute = Literal["none", "selective", "full"]


@dataclass(frozen=True)
class Shape:
    """A decoder-only Transformer, as far as activations and the traffic of tensor and pipeline parallelism depend on it."""

    layers: int
    hidden: int
    heads: int


@dataclass(frozen=True)
class Batch:
    """`sequences` of `sequence` tokens make one optimizer step; a replica works on `micro` of them at once."""

    sequence: int
    sequences: int
    micro: int = 1

    @property
    def tokens(self) -> int:
        """Tokens of one optimizer step, over all GPUs."""
        return self.sequence * self.sequences


@dataclass(frozen=True)
class Split:
    """How a model is divided: tensor × pipeline GPUs hold one replica, the others further replicas, which ZeRO lets share their state.

    `zero`: 0 nothing is shared, 1 the optimizer's state, 2 the gradients too, 3 the weights too (Rajbhandari et al. 2020, "ZeRO: Memory
    Optimizations Toward Training Trillion Parameter Models", section 5). `sequence`: sequence parallelism in the tensor-parallel group.
    """

    tensor: int = 1
    pipeline: int = 1
    zero: int = 0
    sequence: bool = False

    @property
    def replica_gpus(self) -> int:
        """GPUs that hold one replica."""
        return self.tensor * self.pipeline

    def replicas(self, gpus: float) -> float:
        """The data-parallel degree. A curve may ask for GPUs that are no multiple of a replica's."""
        return gpus / self.replica_gpus


@dataclass(frozen=True)
class Links:
    """Bandwidths of one GPU in one direction, bytes/s: to the others of its node, and out of the node through its network adapter."""

    node: float
    network: float
    gpus_per_node: int


# ConnectX-7, NDR InfiniBand: 400 Gb/s each way, one adapter a GPU (NVIDIA DGX H100 user guide: eight of them for eight GPUs).
NDR_BYTES_PER_S = 400e9 / 8
GPUS_PER_NODE = 8  # the same guide

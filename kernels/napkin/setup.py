"""The inputs of the napkin's formulas: a batch, how model and batch are divided among GPUs, and the links between them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

Recompute = Literal["none", "selective", "full"]
Attention = Literal["flash", "plain"]
Loss = Literal["whole", "fused"]
Schedule = Literal["1f1b", "zb_h1", "zb_h2"]


@dataclass(frozen=True)
class Batch:
    """`sequences` of `sequence` tokens make one optimizer step; a replica works on `micro` of them at once."""

    sequence: float
    sequences: float
    micro: float = 1

    @property
    def tokens(self) -> float:
        """Tokens of one optimizer step, over all GPUs."""
        return self.sequence * self.sequences


@dataclass(frozen=True)
class Split:
    """How a model is divided: tensor × pipeline × context GPUs hold one replica, and others hold further replicas.

    `zero`: what the GPUs with the same weights share: 0 nothing, 1 the optimizer's state, 2 the gradients too, 3 the weights too
    (Rajbhandari et al. 2020, "ZeRO: Memory Optimizations Toward Training Trillion Parameter Models", section 5). `hsdp`: among how many
    of them it is shared; 0 all. `sequence`: sequence parallelism in the tensor-parallel group. `virtual`: chunks of layers a stage
    has. `expert`: GPUs among which the experts of a layer are divided; they work on different sequences.
    """

    tensor: int = 1
    pipeline: int = 1
    zero: int = 0
    sequence: bool = False
    context: int = 1
    expert: int = 1
    virtual: int = 1
    hsdp: int = 0
    schedule: Schedule = "1f1b"

    @property
    def replica_gpus(self) -> int:
        """GPUs that work on the same sequences."""
        return self.tensor * self.pipeline * self.context

    @property
    def share_gpus(self) -> int:
        """GPUs that together hold the weights once; context-parallel ones hold the same."""
        return self.tensor * self.pipeline

    def replicas(self, gpus: float) -> float:
        """The data-parallel degree. A curve may ask for GPUs that are not a multiple of a replica's."""
        return gpus / self.replica_gpus

    def holders(self, gpus: float) -> float:
        """GPUs that hold the same weights: replicas, and the context-parallel GPUs of each."""
        return gpus / self.share_gpus

    def sharers(self, gpus: float) -> float:
        """GPUs among which ZeRO shares."""
        return min(self.hsdp, self.holders(gpus)) if self.hsdp else self.holders(gpus)

    def stage_layers(self, layers: int) -> int:
        """Layers of the stage that has most. Where they do not divide evenly, others have a chunk with one layer less."""
        return min(layers, math.ceil(layers / (self.pipeline * self.virtual)) * self.virtual)

    def in_flight(self, micro_batches: float) -> float:
        """Micro-batches whose activations the first stage holds at most.

        1F1B: p. Interleaved with v chunks: p·(1 + (p − 1)/(p·v)) (Korthikanti et al. 2022, section 4.2.3). ZB-H1 as 1F1B, ZB-H2 2p − 1
        (Qi et al. 2023, "Zero Bubble Pipeline Parallelism", table 2).
        """
        p = self.pipeline
        chunks = (p - 1) / self.virtual if self.virtual > 1 else 0.0
        return min(2 * p - 1 if self.schedule == "zb_h2" else p + chunks, micro_batches)


@dataclass(frozen=True)
class Links:
    """Bandwidths of one GPU in one direction, bytes/s: to the others of its node, and out of the node through its network adapter."""

    node: float
    network: float
    gpus_per_node: int


GPUS_PER_NODE = 8  # NVIDIA DGX A100, H100, H200 and B200 user guides

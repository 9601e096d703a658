"""Bytes on each GPU while a model trains: weights, gradients, optimizer, activations; and the largest model that leaves room."""

from __future__ import annotations

from dataclasses import dataclass

from kernels.napkin.setup import Batch, Recompute, Shape, Split
from kernels.parameter_copies import OPTIMIZER_STATES, Scheme


@dataclass(frozen=True)
class Memory:
    """Bytes: of one parameter, or on one GPU."""

    weights: float
    gradients: float
    optimizer: float
    activations: float = 0.0

    @property
    def total(self) -> float:
        return self.weights + self.gradients + self.optimizer + self.activations


def parameter_bytes(scheme: Scheme, optimizer: str) -> Memory:
    """Bytes of one parameter, all copies. AdamW: fp32 4 + 4 + (4 + 4) = 16, mixed 2 + 2 + (4 + 4 + 4) = 16."""
    return Memory(scheme.weights, scheme.gradients, scheme.master + OPTIMIZER_STATES[optimizer] * scheme.state)


def state_on_gpu(parameters: float, each: Memory, split: Split, replicas: float) -> Memory:
    """Bytes on one GPU, activations left out: a replica's share of the parameters, of which ZeRO divides parts among the replicas.

    Rajbhandari et al. 2020, figure 1 and section 5: with Ψ parameters, K bytes of optimizer state and N replicas, mixed precision takes
    (2 + 2 + K)·Ψ; stage 1 (2 + 2 + K/N)·Ψ; stage 2 (2 + (2 + K)/N)·Ψ; stage 3 (2 + 2 + K)·Ψ/N.
    """
    share = parameters / split.replica_gpus

    def part(bytes_: float, from_stage: int) -> float:
        return bytes_ * share / (replicas if split.zero >= from_stage else 1)

    return Memory(part(each.weights, 3), part(each.gradients, 2), part(each.optimizer, 1))


def activations_on_gpu(shape: Shape, batch: Batch, split: Split, micro_batches: float, recompute: Recompute) -> float:
    """Bytes kept for the backward pass on the GPU that keeps most, activations in 16 bits, dropout masks in one byte.

    Korthikanti et al. 2022, "Reducing Activation Recomputation in Large Transformer Models", eq. 1–2 and table 2: a layer takes
    s·b·h·(34 + 5·a·s/h); under tensor parallelism s·b·h·(10 + 24/t + 5·a·s/(h·t)), with sequence parallelism also the 10 is divided by t;
    selective recomputation drops the attention's 5·a·s/h, full recomputation keeps only the layer's input, 2·s·b·h, whole. Under a 1F1B
    pipeline the first stage has layers/p layers and holds p micro-batches of them, or as many as there are. The embedding's and the
    output layer's activations are left out.
    """
    tensor = split.tensor
    divided = tensor if split.sequence else 1
    a_layer = batch.sequence * batch.micro * shape.hidden * factor_of_layer(shape, batch, recompute, tensor, divided)
    return a_layer * shape.layers / split.pipeline * min(split.pipeline, micro_batches)


def factor_of_layer(shape: Shape, batch: Batch, recompute: Recompute, tensor: int = 1, divided: int = 1) -> float:
    """Bytes of a layer's activations over s·b·h. `divided`: by how many the part outside the tensor-parallel matmuls is divided."""
    if recompute == "full":
        return 2.0
    attention = 0.0 if recompute == "selective" else 5 * shape.heads * batch.sequence / shape.hidden
    return 10 / divided + (24 + attention) / tensor


def largest_parameters(free_bytes: float, each: Memory, split: Split, replicas: float) -> float:
    """Parameters whose state fills `free_bytes` of every GPU: the state is proportional to the parameters."""
    return free_bytes / state_on_gpu(1, each, split, replicas).total

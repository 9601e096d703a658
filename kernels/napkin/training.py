"""Seconds that training takes: FLOPs over what the GPUs achieve, and the same step by step with pipeline bubbles and communication."""

from __future__ import annotations

from dataclasses import dataclass

from kernels.napkin.memory import Memory
from kernels.napkin.setup import Batch, Links, Recompute, Shape, Split

SECONDS_A_DAY = 86_400
FLOPS_A_PARAMETER = 6  # and token: forward 2 (a multiply and an add), backward twice that (docs/cost_model.md)
FORWARD_AGAIN = 8 / 6  # full recomputation does the forward pass a second time
ACTIVATION_BYTES = 2  # an element sent between GPUs has 16 bits


def training_flops(parameters: float, tokens: float) -> float:
    """6 · parameters · tokens: the matmuls of forward and backward. Attention scores, norms and the optimizer are left out."""
    return FLOPS_A_PARAMETER * parameters * tokens


def training_days(flops: float, achieved_flops_per_s: float, gpus: float) -> float:
    """Days on `gpus` that each reach `achieved_flops_per_s` = peak · MFU all the time."""
    return flops / (achieved_flops_per_s * gpus) / SECONDS_A_DAY


def micro_batches(batch: Batch, replicas: float) -> float:
    """Micro-batches that a replica works through in a step; at least one, so that more replicas than micro-batches gain nothing."""
    return max(1.0, batch.sequences / (replicas * batch.micro))


def bubble_fraction(pipeline: int, micro_batches: float) -> float:
    """Idle over busy time of a 1F1B pipeline, (p − 1)/m (Narayanan et al. 2021, "Efficient Large-Scale Language Model Training on GPU
    Clusters Using Megatron-LM", section 2.2)."""
    return (pipeline - 1) / micro_batches


def all_reduce_bytes(ranks: float, bytes_: float) -> float:
    """What each rank of a ring sends, 2·(N − 1)/N · bytes: reduce-scatter, then all-gather, half of it each (Patarasuk and Yuan 2009,
    "Bandwidth optimal all-reduce algorithms for clusters of workstations")."""
    return 2 * (ranks - 1) / ranks * bytes_ if ranks > 1 else 0.0


def ring_bandwidth(ranks: float, ranks_in_node: float, links: Links) -> float:
    """Bytes/s at which each rank of a ring sends. Across nodes the ring leaves a node through the adapters of all its ranks there."""
    if ranks <= ranks_in_node:
        return links.node
    return min(links.node, links.network * ranks_in_node)


def replica_bandwidth(split: Split, replicas: float, links: Links) -> float:
    """Bytes/s among replicas, of which a node holds as many as its tensor-parallel groups."""
    return ring_bandwidth(replicas, max(1, links.gpus_per_node // split.tensor), links)


def gradient_traffic(parameters: float, each: Memory, split: Split, replicas: float, micro_batches: float) -> float:
    """Bytes that each GPU sends to its fellows in other replicas in one step.

    Rajbhandari et al. 2020, section 7: stages 1 and 2 send as much as plain data parallelism (gradients reduced and scattered, weights
    gathered instead of gradients), stage 3 half as much again, for it gathers the weights in forward and in backward. Who keeps no
    whole gradients (from stage 2) or weights (stage 3) must do so in every micro-batch; the paper's steps have one.
    """
    share = parameters / split.replica_gpus
    scatters = micro_batches if split.zero >= 2 else 1
    gathers = 2 * micro_batches if split.zero == 3 else 1
    gathered = gathers * (each.weights if split.zero else each.gradients)
    return all_reduce_bytes(replicas, (scatters * each.gradients + gathered) * share) / 2  # scatter or gather: half an all-reduce


@dataclass(frozen=True)
class StepTime:
    """Seconds of one optimizer step. They add up: nothing overlaps but what `data_s` already leaves out."""

    compute_s: float
    tensor_s: float  # all-reduces of activations within a tensor-parallel group
    pipeline_s: float  # activations and their gradients handed from stage to stage
    bubble_s: float
    data_s: float  # gradients and weights between replicas, not hidden behind compute
    hidden_s: float  # the rest of that, which costs nothing

    @property
    def total_s(self) -> float:
        return self.compute_s + self.tensor_s + self.pipeline_s + self.bubble_s + self.data_s


def step_time(
    parameters: float,
    each: Memory,
    shape: Shape | None,
    batch: Batch,
    split: Split,
    links: Links,
    gpus: float,
    achieved_flops_per_s: float,
    recompute: Recompute = "none",
    overlap: float = 0.0,
) -> StepTime:
    """One optimizer step on `gpus` GPUs that reach `achieved_flops_per_s` while they compute. Latency of messages is left out.

    `shape` may be None where the model is divided neither way. `overlap`: the part of the replicas' traffic that goes on while the GPU
    computes. Tensor-parallel groups lie within nodes as far as they fit, then replicas, pipeline stages outermost, as in Megatron-LM.
    """
    replicas = split.replicas(gpus)
    rounds = micro_batches(batch, replicas)
    again = FORWARD_AGAIN if recompute == "full" else 1.0
    compute = training_flops(parameters, batch.micro * batch.sequence) * again / (split.replica_gpus * achieved_flops_per_s)
    tensor = _tensor_s(shape, batch, split, links, recompute) if shape else 0.0
    handed = _pipeline_s(shape, batch, split, links, gpus) if shape else 0.0
    sent = gradient_traffic(parameters, each, split, replicas, rounds)
    traffic = sent / replica_bandwidth(split, replicas, links)
    hidden = min(overlap * traffic, rounds * compute)
    bubble = bubble_fraction(split.pipeline, rounds) * rounds * (compute + tensor + handed)
    return StepTime(rounds * compute, rounds * tensor, rounds * handed, bubble, traffic - hidden, hidden)


def _tensor_s(shape: Shape, batch: Batch, split: Split, links: Links, recompute: Recompute) -> float:
    """Of a micro-batch: two all-reduces of a layer's activations in forward and two in backward (Shoeybi et al. 2019, "Megatron-LM",
    section 3), two more where forward is done again. Sequence parallelism sends the same as gathers and scatters."""
    times = 6 if recompute == "full" else 4
    sent = all_reduce_bytes(split.tensor, ACTIVATION_BYTES * batch.sequence * batch.micro * shape.hidden)
    return times * shape.layers / split.pipeline * sent / ring_bandwidth(split.tensor, links.gpus_per_node, links)


def _pipeline_s(shape: Shape, batch: Batch, split: Split, links: Links, gpus: float) -> float:
    """Of a micro-batch: a stage sends activations forward and gradients back; each GPU of a tensor-parallel group the whole of them."""
    if split.pipeline == 1:
        return 0.0
    bandwidth = links.node if gpus <= links.gpus_per_node else links.network
    return 2 * ACTIVATION_BYTES * batch.sequence * batch.micro * shape.hidden / bandwidth

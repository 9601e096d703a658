"""Seconds that training takes: FLOPs over what the GPUs achieve, and the same step by step with pipeline bubbles and communication."""

from __future__ import annotations

from dataclasses import dataclass

from kernels.models.architecture import Architecture
from kernels.napkin.memory import Memory
from kernels.napkin.setup import Attention, Batch, Links, Recompute, Split

SECONDS_A_DAY = 86_400
SECONDS_AN_HOUR = 3_600
FORWARD = 2  # FLOPs a parameter and token: a multiply and an add
FLOPS_A_PARAMETER = 6  # and token: forward 2, backward twice that (docs/cost_model.md)
FROZEN_FLOPS = 4  # where a weight takes no gradient: forward 2, and 2 for the gradient of its input
ACTIVATION_BYTES = 2  # an element sent between GPUs has 16 bits


def training_flops(parameters: float, tokens: float) -> float:
    """6 · parameters · tokens: the matmuls of forward and backward. Attention scores, norms and the optimizer are left out."""
    return FLOPS_A_PARAMETER * parameters * tokens


@dataclass(frozen=True)
class TokenFlops:
    """FLOPs a token of a training step. The model's: `products` and `attention`; the hardware does `again` too."""

    products: float  # 6 · N, or 4 · N of frozen weights and 6 · N of an adapter's
    attention: float  # of products with the scores, forward and backward
    again: float  # what full or selective recomputation does a second time

    @property
    def model(self) -> float:
        """FLOPs that an MFU counts (Chowdhery et al. 2022, "PaLM", appendix B): recomputation earns nothing."""
        return self.products + self.attention

    @property
    def hardware(self) -> float:
        """FLOPs that an HFU counts."""
        return self.model + self.again


def token_flops(
    counted: float,
    adapter: float,
    frozen: bool,
    architecture: Architecture | None,
    sequence: float,
    causal: bool,
    recompute: Recompute,
    kernel: Attention,
) -> TokenFlops:
    """FLOPs a token. `counted`: the N of 6 · N. Attention counts where the architecture is known (`sequence` 0: it does not).

    Full recomputation does the whole forward pass again, 2 · N and attention's; selective recomputation of plain attention its products
    with the scores (Korthikanti et al. 2022, section 5 and appendix A). What flash attention computes again within its kernel is not
    counted, as papers do not count it.
    """
    scores = architecture.attention_flops(sequence, causal) if architecture and sequence else 0.0
    products = (FROZEN_FLOPS if frozen else FLOPS_A_PARAMETER) * counted + FLOPS_A_PARAMETER * adapter
    if recompute == "full":
        again = FORWARD * (counted + adapter) + scores
    else:
        again = scores if recompute == "selective" and kernel == "plain" else 0.0
    return TokenFlops(products, (FLOPS_A_PARAMETER / FORWARD) * scores, again)


def training_days(flops: float, achieved_flops_per_s: float, gpus: float) -> float:
    """Days on `gpus` that each reach `achieved_flops_per_s` = peak · MFU all the time."""
    return flops / (achieved_flops_per_s * gpus) / SECONDS_A_DAY


def micro_batches(batch: Batch, replicas: float) -> float:
    """Micro-batches that a replica works through in a step; at least one, so that more replicas than micro-batches gain nothing."""
    return max(1.0, batch.sequences / (replicas * batch.micro))


def bubble_fraction(split: Split, micro_batches: float) -> float:
    """Idle over busy time of a pipeline.

    1F1B (p − 1)/m, interleaved with v chunks a stage (p − 1)/(v·m) (Narayanan et al. 2021, "Efficient Large-Scale Language Model
    Training on GPU Clusters Using Megatron-LM", section 2.2). ZB-H1 a third of 1F1B's, ZB-H2 none (Qi et al. 2023, "Zero Bubble Pipeline
    Parallelism", table 2, with the backward pass of inputs and that of weights as long as forward).
    """
    whole = (split.pipeline - 1) / (split.virtual * micro_batches)
    return {"1f1b": whole, "zb_h1": whole / 3, "zb_h2": 0.0}[split.schedule]


def all_reduce_bytes(ranks: float, bytes_: float) -> float:
    """Bytes that each rank of a ring sends, 2·(N − 1)/N · bytes: reduce-scatter, then all-gather, half of it each (Patarasuk and Yuan 2009,
    "Bandwidth optimal all-reduce algorithms for clusters of workstations")."""
    return 2 * (ranks - 1) / ranks * bytes_ if ranks > 1 else 0.0


def ring_bandwidth(ranks: float, ranks_in_node: float, links: Links) -> float:
    """Bytes/s at which each rank of a ring sends. Across nodes the ring leaves a node through the adapters of all its ranks there."""
    if ranks <= ranks_in_node:
        return links.node
    return min(links.node, links.network * ranks_in_node)


def replica_bandwidth(split: Split, holders: float, links: Links) -> float:
    """Bytes/s among GPUs that hold the same weights, of which a node has as many as its tensor-parallel groups."""
    return ring_bandwidth(holders, max(1, links.gpus_per_node // split.tensor), links)


def gradient_traffic(trained: float, gathered: float, each: Memory, split: Split, holders: float, micro_batches: float) -> float:
    """Bytes that each GPU sends in one step to others that hold the same weights. `trained`: parameters with gradients.

    Rajbhandari et al. 2020, section 7: stages 1 and 2 send as much as plain data parallelism (gradients reduced and scattered, weights
    gathered instead of gradients), stage 3 half as much again, for it gathers the weights in forward and in backward. Who keeps no
    whole gradients (from stage 2) or weights (stage 3) must do so in every micro-batch; the paper's steps have one. Where weights are
    shared among `hsdp` GPUs only, the others' gradients are reduced once a step.
    """
    sharers = min(split.hsdp, holders) if split.hsdp else holders
    share, taught = gathered / split.share_gpus, trained / split.share_gpus
    scatters = micro_batches if split.zero >= 2 else 1
    weights = 2 * micro_batches * each.weights * share if split.zero == 3 else each.weights * taught
    back = weights if split.zero else each.gradients * taught
    within = all_reduce_bytes(sharers, scatters * each.gradients * taught + back) / 2  # scatter or gather: half an all-reduce
    return within + all_reduce_bytes(holders / sharers, each.gradients * taught / sharers)


@dataclass(frozen=True)
class StepTime:
    """Seconds of one optimizer step. They add up: nothing overlaps but what `data_s` already leaves out."""

    compute_s: float
    tensor_s: float  # all-reduces of activations within a tensor-parallel group
    context_s: float  # keys and values handed around a context-parallel group
    expert_s: float  # tokens sent to their experts and back
    pipeline_s: float  # activations and their gradients handed from stage to stage
    bubble_s: float
    data_s: float  # gradients and weights between replicas, not hidden behind compute
    hidden_s: float  # the rest of that, which costs nothing

    @property
    def total_s(self) -> float:
        return self.compute_s + self.tensor_s + self.context_s + self.expert_s + self.pipeline_s + self.bubble_s + self.data_s


@dataclass(frozen=True)
class Traffic:
    """Parameters whose gradients and weights replicas exchange, and bytes of each."""

    trained: float
    gathered: float
    each: Memory


def step_time(
    flops_a_token: float,
    traffic: Traffic,
    shape: Architecture | None,
    batch: Batch,
    split: Split,
    links: Links,
    gpus: float,
    achieved_flops_per_s: float,
    recompute: Recompute = "none",
    overlap: float = 0.0,
) -> StepTime:
    """One optimizer step on `gpus` GPUs that reach `achieved_flops_per_s` of `flops_a_token` while they compute. Latency is left out.

    `shape` may be None where the model is not divided. `overlap`: the part of the replicas' traffic that goes on while the GPU
    computes. Tensor-parallel groups lie within nodes as far as they fit, then replicas, pipeline stages outermost, as in Megatron-LM.
    A pipeline waits for the stage with most layers.
    """
    replicas = split.replicas(gpus)
    rounds = micro_batches(batch, replicas)
    compute = flops_a_token * batch.micro * batch.sequence / (split.replica_gpus * achieved_flops_per_s) * unevenness(shape, split)
    tensor, context, expert, handed = (0.0,) * 4
    if shape:
        tensor = _tensor_s(shape, batch, split, links, recompute)
        context = _context_s(shape, batch, split, links, recompute)
        expert = _expert_s(shape, batch, split, links, recompute)
        handed = _pipeline_s(shape, batch, split, links, gpus)
    holders = split.holders(gpus)
    sent = gradient_traffic(traffic.trained, traffic.gathered, traffic.each, split, holders, rounds)
    seconds = sent / replica_bandwidth(split, holders, links)
    hidden = min(overlap * seconds, rounds * compute)
    bubble = bubble_fraction(split, rounds) * rounds * (compute + tensor + context + expert + handed)
    return StepTime(rounds * compute, rounds * tensor, rounds * context, rounds * expert, rounds * handed, bubble, seconds - hidden, hidden)


def unevenness(shape: Architecture | None, split: Split) -> float:
    """Layers of the stage that has most over the mean: 1 where the stages divide them."""
    return split.stage_layers(shape.layers) * split.pipeline / shape.layers if shape else 1.0


def _tokens_bytes(shape: Architecture, batch: Batch, split: Split) -> float:
    """Bytes of a micro-batch's activations between layers, on one GPU of a context-parallel group."""
    return ACTIVATION_BYTES * batch.sequence * batch.micro * shape.d_model / split.context


def _tensor_s(shape: Architecture, batch: Batch, split: Split, links: Links, recompute: Recompute) -> float:
    """Seconds of a micro-batch: two all-reduces of a layer's activations in forward and two in backward (Shoeybi et al. 2019,
    "Megatron-LM", section 3), two more where forward is done again. Sequence parallelism sends the same as gathers and scatters."""
    times = 6 if recompute == "full" else 4
    sent = all_reduce_bytes(split.tensor, _tokens_bytes(shape, batch, split))
    return times * shape.layers / split.pipeline * sent / ring_bandwidth(split.tensor, links.gpus_per_node, links)


def _context_s(shape: Architecture, batch: Batch, split: Split, links: Links, recompute: Recompute) -> float:
    """Seconds of a micro-batch: keys and values of the others reach each GPU in forward, again in backward, and their gradients go
    back (Liu et al. 2023, "Ring Attention", section 3); once more where forward is done again."""
    if split.context == 1:
        return 0.0
    heads = shape.kv_heads * (shape.key_dim + shape.value_dim) / split.tensor
    others = (split.context - 1) / split.context * batch.sequence * batch.micro * heads * ACTIVATION_BYTES
    times = 4 if recompute == "full" else 3
    bandwidth = links.node if split.tensor * split.context <= links.gpus_per_node else links.network
    return times * shape.layers / split.pipeline * others / bandwidth


def _expert_s(shape: Architecture, batch: Batch, split: Split, links: Links, recompute: Recompute) -> float:
    """Seconds of a micro-batch: each token goes to its experts and back in forward, and so do the gradients in backward (Lepikhin et al.
    2020, "GShard", section 3.2); two more all-to-alls where forward is done again."""
    if split.expert == 1:
        return 0.0
    sent = _tokens_bytes(shape, batch, split) * shape.active_experts * (split.expert - 1) / split.expert
    times = 6 if recompute == "full" else 4
    bandwidth = links.node if split.expert * split.tensor <= links.gpus_per_node else links.network
    return times * shape.expert_layers / split.pipeline * sent / split.tensor / bandwidth


def _pipeline_s(shape: Architecture, batch: Batch, split: Split, links: Links, gpus: float) -> float:
    """Seconds of a micro-batch: a stage sends activations forward and gradients back, for each of its chunks; each GPU of a
    tensor-parallel group the whole of them."""
    if split.pipeline == 1:
        return 0.0
    bandwidth = links.node if gpus <= links.gpus_per_node else links.network
    return 2 * split.virtual * _tokens_bytes(shape, batch, split) / bandwidth

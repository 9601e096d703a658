"""Serving a model: weights, key and value cache, and seconds by roofline of reading a prompt and of writing an answer."""

from __future__ import annotations

from dataclasses import dataclass

from kernels.models.architecture import Architecture


@dataclass(frozen=True)
class Served:
    """A model on `gpus` that divide it, as its memory and bandwidth see it. Bytes are of an element."""

    architecture: Architecture
    weight_bytes: float
    kv_bytes: float
    gpus: float
    flops_per_s: float  # of one GPU
    bandwidth_bytes_per_s: float  # of one GPU
    memory_bytes: float  # of one GPU, what is free


def cache_bytes(served: Served, tokens: float) -> float:
    """Keys and values of one sequence of `tokens`, over all layers; windowed layers keep a window."""
    a = served.architecture
    windowed = min(tokens, a.window) if a.window else tokens
    return a.cached_values * served.kv_bytes * ((a.layers - a.windowed_layers) * tokens + a.windowed_layers * windowed)


def weight_bytes(served: Served) -> float:
    """All weights, those of all experts."""
    return served.architecture.parameters * served.weight_bytes


def largest_batch(served: Served, tokens: float) -> float:
    """Sequences of `tokens` whose caches fit beside the weights; below 0 where these alone do not fit."""
    return (served.memory_bytes * served.gpus - weight_bytes(served)) / cache_bytes(served, tokens)


def read_parameters(architecture: Architecture, tokens: float) -> float:
    """Parameters that `tokens` tokens together make the GPU read: an expert where at least one token goes to it, tokens spread evenly.

    The embedding table is looked up, not read, but where it is the head.
    """
    a = architecture
    table = 0 if a.tied else a.embedding_parameters
    if not a.experts:
        return a.parameters - table
    met = 1 - (1 - a.active_experts / a.experts) ** tokens
    return a.parameters - table - a.expert_parameters * (1 - met)


@dataclass(frozen=True)
class Roof:
    """A phase by roofline: FLOPs and bytes of all GPUs, and the seconds that the slower of both takes."""

    flops: float
    bytes_: float
    compute_s: float
    memory_s: float

    @property
    def seconds(self) -> float:
        return max(self.compute_s, self.memory_s)

    @property
    def bound(self) -> str:
        return "compute" if self.compute_s >= self.memory_s else "memory"


def _roof(served: Served, flops: float, bytes_: float) -> Roof:
    return Roof(flops, bytes_, flops / (served.flops_per_s * served.gpus), bytes_ / (served.bandwidth_bytes_per_s * served.gpus))


def prefill(served: Served, prompt: float, batch: float) -> Roof:
    """Reading `batch` prompts: 2 FLOPs a multiplied parameter and token (the head for the last token only), causal attention; the weights
    are read once and the caches written."""
    a = served.architecture
    head = a.vocab * a.d_model
    products = 2 * ((a.multiplied_parameters - head) * prompt + head)
    flops = batch * (products + prompt * a.attention_flops(prompt, causal=True))
    read = read_parameters(a, batch * prompt) * served.weight_bytes + batch * cache_bytes(served, prompt)
    return _roof(served, flops, read)


def decode(served: Served, before: float, batch: float) -> Roof:
    """One token for each of `batch` sequences that have `before` tokens: weights and caches are read once."""
    a = served.architecture
    scores = a.attention_flops(before, causal=False)
    flops = batch * (2 * a.multiplied_parameters + scores)
    return _roof(served, flops, read_parameters(a, batch) * served.weight_bytes + batch * cache_bytes(served, before))

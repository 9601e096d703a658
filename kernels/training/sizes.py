"""What a training step computes, as formulas of its dims. No torch here; what it holds is in memory.py."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from kernels.models.config import DeepLinear, Transformer
from kernels.op import Point
from kernels.training.recipe import AUTOCAST, Recipe

DIMS = {
    "transformer": ("batch", "sequence", "layers", "hidden", "heads", "kv_heads", "feedforward", "vocab"),
    "deep_linear": ("tokens", "width", "layers"),
}
FP32, HALF, INT64 = 4, 2, 8  # bytes

Config = DeepLinear | Transformer


def config_of(point: Point) -> Config:
    """The model that a point trains."""
    d, o = point.dims, cast(Mapping[str, Any], point.options)
    if o["model"] == "deep_linear":
        return DeepLinear(d["width"], d["layers"])
    return Transformer(
        d["vocab"],
        d["layers"],
        d["hidden"],
        d["heads"],
        d["feedforward"],
        "swiglu",
        "rmsnorm",
        context=d["sequence"],
        attention=o["attention"],
        kv_heads=d.get("kv_heads"),
        position=o["position"],
        head=o["head"],
    )


def recipe_of(point: Point) -> Recipe:
    """What a train step of this point keeps: precision, optimizer, checkpointing."""
    chosen = point.options["checkpointing"]
    return Recipe(point.precision, point.options["optimizer"], "selective" if chosen == "selective" else chosen == "full")


def tokens_of(point: Point) -> int:
    """Of a step: rows of every weight product."""
    return point.dims["tokens"] if "tokens" in point.dims else point.dims["batch"] * point.dims["sequence"]


def unit_of(point: Point) -> str:
    """What the data is counted in: tokens, or rows of features."""
    return "rows" if point.options["model"] == "deep_linear" else "tokens"


def batch_bytes(point: Point) -> int:
    """Inputs and targets: int64 tokens, or fp32 rows and values."""
    tokens = tokens_of(point)
    return tokens * (point.dims["width"] + 1) * FP32 if "width" in point.dims else 2 * tokens * INT64


def width(precision: str) -> int:
    """Bytes of an activation between products."""
    return HALF if precision in AUTOCAST else FP32


@dataclass(frozen=True)
class Flops:
    """Of a step, as `torch.utils.flop_counter` counts them. `again`: what backward computes a second time, having not kept it."""

    forward: int
    backward: int
    again: int

    @property
    def model(self) -> int:
        """Each product once, and its gradients: what MFU is by (Chowdhery et al. 2022, "PaLM", appendix B)."""
        return self.forward + self.backward

    @property
    def hardware(self) -> int:
        """All that runs."""
        return self.model + self.again


def flops(point: Point) -> Flops:
    """Fused attention computes its scores again; of a checkpointed block everything is but its last product, whose result backward does
    not need (PyTorch stops there), and so of plain attention that is computed again only q·kᵀ."""
    config = config_of(point)
    if isinstance(config, DeepLinear):
        return Flops(config.forward_flops(tokens_of(point)), config.backward_flops(tokens_of(point)), 0)
    batch, sequence = point.dims["batch"], point.dims["sequence"]
    forward = config.forward_flops(batch, sequence)
    again = config.backward_flops(batch, sequence) - 2 * forward
    if point.options["checkpointing"] == "selective":
        again += config.layers * config.attention_flops(batch, sequence) // 2
    if point.options["checkpointing"] == "full":
        again += config.layers * (config.block_forward_flops(batch, sequence) - 2 * batch * sequence * config.feedforward * config.hidden)
    return Flops(forward, 2 * forward, again)

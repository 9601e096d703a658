"""What a training step computes and holds, as formulas of its dims. No torch here.

Memory at its fullest, bytes:

    weights       4 a parameter, always there
    optimizer     4 a parameter for each value that it keeps (kernels/napkin/memory.py), always there
    batch         inputs and targets
    activations   what autograd keeps for backward (kernels/models/activations.py); under autocast norms and the loss keep fp32, products
                  16 bits or, in fp8, a byte; and the lowered copies of the weights, which live as long
    gradients     4 a parameter; they grow in backward while activations go

so the fullest moment is where backward begins (weights, state, activations, the logits' gradient) or where it ends (weights, state,
gradients), and a checkpointed block holds its own activations while it is computed again. Temporaries of single kernels are left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from kernels.models import activations
from kernels.models.config import DeepLinear, Transformer
from kernels.napkin.memory import OPTIMIZER_STATES
from kernels.op import Point
from kernels.precisions import PRECISIONS
from kernels.training.recipe import AUTOCAST, Recipe

DIMS = {
    "transformer": ("batch", "sequence", "layers", "hidden", "heads", "feedforward", "vocab"),
    "deep_linear": ("tokens", "width", "layers"),
}
FP32, HALF, INT64 = 4, 2, 8  # bytes

Config = DeepLinear | Transformer


def config_of(point: Point) -> Config:
    """The model that a point trains."""
    d = point.dims
    if point.options["model"] == "deep_linear":
        return DeepLinear(d["width"], d["layers"])
    return Transformer(d["vocab"], d["layers"], d["hidden"], d["heads"], d["feedforward"], "swiglu", "rmsnorm", context=d["sequence"])


def recipe_of(point: Point) -> Recipe:
    return Recipe(point.precision, point.options["optimizer"], point.options["checkpointing"] == "full")


def tokens_of(point: Point) -> int:
    """Of a step: rows of every weight product."""
    return point.dims["tokens"] if "tokens" in point.dims else point.dims["batch"] * point.dims["sequence"]


@dataclass(frozen=True)
class Flops:
    """Of a step. `model`: each product once forward and its two gradients; `hardware`: what is computed again, too."""

    forward: int
    backward: int
    again: int

    @property
    def hardware(self) -> int:
        return self.forward + self.backward + self.again


def flops(point: Point) -> Flops:
    """As `torch.utils.flop_counter` counts them.

    Of a checkpointed block all is computed again but its last product, whose result backward does not need (PyTorch stops there).
    """
    config = config_of(point)
    if isinstance(config, DeepLinear):
        tokens = tokens_of(point)
        return Flops(config.forward_flops(tokens), config.backward_flops(tokens), 0)
    batch, sequence = point.dims["batch"], point.dims["sequence"]
    again = 0
    if point.options["checkpointing"] == "full":
        again = config.layers * (config.block_forward_flops(batch, sequence) - 2 * batch * sequence * config.feedforward * config.hidden)
    return Flops(config.forward_flops(batch, sequence), config.backward_flops(batch, sequence), again)

"""A model made ready for a recipe: fp8 layers in place of its linear ones, activation checkpointing switched on."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from kernels.models.config import Transformer
from kernels.models.modules import Attention, DeepLinearModel, TransformerModel
from kernels.precisions import PRECISIONS
from kernels.training import fp8
from kernels.training.recipe import Recipe
from kernels.training.sizes import Config


def bare(config: Config) -> nn.Module:
    """The model without memory for its parameters, on the meta device."""
    with torch.device("meta"):
        return TransformerModel(config) if isinstance(config, Transformer) else DeepLinearModel(config)


def holding(config: Config, parameters: Sequence[torch.Tensor]) -> nn.Module:
    """The model with these tensors as its parameters, in the module's order: their memory, not a copy."""
    module = bare(config)
    names = (name for name, _ in module.named_parameters())
    module.load_state_dict(dict(zip(names, parameters, strict=True)), assign=True)
    return module


class Fp8Linear(nn.Linear):
    """nn.Linear without a bias, its products in fp8."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return fp8.linear(x, self.weight)


def prepare(module: nn.Module, recipe: Recipe) -> nn.Module:
    """Changes the module in place and returns it. The head, `module.head`, stays as it is in fp8: its error would reach every gradient."""
    if PRECISIONS[recipe.precision].bytes == 1:
        for parent in list(module.modules()):
            for name, child in parent.named_children():
                if isinstance(child, nn.Linear) and child is not module.head:
                    setattr(parent, name, _in_fp8(child))
    if recipe.checkpointing is True:
        setattr(module, "checkpoint", True)  # noqa: B010  (nn.Module's attributes are tensors and modules to a type checker)
    if recipe.checkpointing == "selective":
        for child in module.modules():
            if isinstance(child, Attention):
                child.checkpoint = True
    return module


def _in_fp8(layer: nn.Linear) -> Fp8Linear:
    """With the very parameter of the layer."""
    made = Fp8Linear(layer.in_features, layer.out_features, bias=False, device="meta")
    made.weight = layer.weight
    return made

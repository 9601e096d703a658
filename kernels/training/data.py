"""Weights, batch, fp64 reference and tolerance of train_step.

A result is (loss, a gradient for each parameter, each parameter after the step), parameters in the module's order. The reference is the
same module in fp64 with attention written out, its gradients by autograd, and the first step's update by formula.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from tempfile import TemporaryDirectory

import torch
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call

from kernels import tolerances
from kernels.models.config import Transformer
from kernels.models.modules import build
from kernels.op import Inputs, Point
from kernels.training.loader import Source, on_device, samples, windows
from kernels.training.prepare import bare
from kernels.training.recipe import ALPHA, EPS, Recipe
from kernels.training.rounded import allowed, gradients
from kernels.training.sizes import config_of, recipe_of
from kernels.training.tokens import open_rows, open_tokens, write_rows, write_tokens

Tensors = tuple[torch.Tensor, ...]

DATA_SEED = 0  # the weights follow the point's seed, the batches do not: a kernel must find the batch that the reference saw
FILE_TOKENS = 2**20
FILE_ROWS = 2**10


@cache
def _folder() -> TemporaryDirectory:
    """Made-up data files of this process."""
    return TemporaryDirectory(prefix="train_step-")


def write_made_up(point: Point, path: Path, seed: int) -> None:
    """A file of made-up data that the point's model can learn from: tokens, or rows of features and a value."""
    if point.options["model"] == "deep_linear":
        write_rows(path, point.dims["width"], FILE_ROWS, seed)
    else:
        write_tokens(path, point.dims["vocab"], FILE_TOKENS, seed)


def batches(point: Point, path: Path, seed: int) -> tuple[Source, int]:
    """Batches of the point's sizes from a file, and how many tokens or rows the file holds. Raises DataError."""
    d = point.dims
    if point.options["model"] == "deep_linear":
        rows = open_rows(path, d["width"])
        return samples(rows, d["tokens"], seed), len(rows)
    tokens = open_tokens(path)
    return windows(tokens, d["vocab"], d["batch"], d["sequence"], seed), len(tokens)


def source(point: Point) -> Source:
    """Batches from a made-up file, written where it is not there yet."""
    fits = "rows-{width}" if point.options["model"] == "deep_linear" else "tokens-{vocab}"
    path = Path(_folder().name) / f"{fits.format(**point.dims)}.npy"
    if not path.exists():
        write_made_up(point, path, DATA_SEED)
    return batches(point, path, DATA_SEED)[0]


def make_inputs(point: Point, device: str | torch.device, seed: int | None) -> Inputs:
    """The model's parameters, fp32, and the first batch, (inputs, targets)."""
    config = config_of(point)
    if seed is None:  # of fake tensors, which hold nothing to begin with
        parameters = tuple(torch.empty(p.shape, device=device) for p in bare(config).parameters())
    else:
        parameters = tuple(p.detach() for p in build(config, device, torch.float32, seed).parameters())
    batch = tuple(on_device(torch.from_numpy(array), device) for array in source(point)(0))
    shapes = tuple(torch.empty_like(p, device="meta") for p in parameters)
    return Inputs((*parameters, *batch), (torch.empty((), device="meta"), *shapes, *shapes), updated=parameters)


def reference(point: Point, operands: Tensors) -> Tensors:
    """Loss, gradients and updated parameters in fp64."""
    forward, parameters = _in_fp64(point, operands)
    found = gradients(forward, parameters)
    recipe = recipe_of(point)
    stepped = (first_step(recipe, p.detach(), g) for p, g in zip(parameters, found[1:], strict=True))
    return (*found, *stepped)


def tolerance(point: Point, operands: Tensors, expected: Tensors) -> Tensors:
    """kernels/training/rounded.py for loss and gradients. Of a parameter: what the step makes of either end of its gradient's range.

    A first step is monotone in the gradient, so nothing between the ends gives more. Adam and its kin cannot know the sign of a gradient
    smaller than its error: there the parameter says nothing, and twice what either end gives is allowed.
    """
    forward, parameters = _in_fp64(point, operands)
    count = len(parameters)
    found = allowed(expected[: count + 1], forward, parameters, point.precision)
    step = partial(first_step, recipe_of(point))
    updated = []
    for p, g, within, new in zip(parameters, expected[1 : count + 1], found[1:], expected[count + 1 :], strict=True):
        old = p.detach()
        most = torch.maximum((step(old, g + within) - new).abs(), (step(old, g - within) - new).abs())
        most = torch.where(g.abs() < within, 2 * most, most)
        updated.append(most + tolerances.pointwise(new, old.abs() + (new - old).abs(), "fp32"))
    return (*found, *updated)


def _in_fp64(point: Point, operands: Tensors) -> tuple[Callable[[], torch.Tensor], Tensors]:
    """A call that computes the loss, and the leaves that it computes it from."""
    config = config_of(point)
    if isinstance(config, Transformer):
        config = replace(config, attention="plain")
    model = LossOf(bare(config))
    *weights, inputs, targets = (t.double() if t.is_floating_point() else t for t in operands)
    parameters = tuple(w.requires_grad_() for w in weights)
    named = dict(zip((name for name, _ in model.named_parameters()), parameters, strict=True))
    return lambda: functional_call(model, named, ((inputs, targets),)), parameters


class LossOf(nn.Module):
    """A model and its loss as one module, which functional_call can give other parameters. The loss stays in the output's precision."""

    def __init__(self, model: nn.Module):
        super().__init__()
        self.model = model

    def forward(self, batch: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        inputs, targets = batch
        output = self.model(inputs)
        if targets.is_floating_point():
            return F.mse_loss(output, targets)
        return F.cross_entropy(output.flatten(0, 1), targets.flatten())


def first_step(recipe: Recipe, p: torch.Tensor, g: torch.Tensor) -> torch.Tensor:
    """The parameter after the first step from an empty state: there the running means, with their bias taken out, are g and g².

    The rules are those of torch.optim's documentation; RMSProp takes no bias out, so its mean is (1 − α)·g².
    """
    lr = recipe.learning_rate
    match recipe.optimizer:
        case "sgd" | "momentum":
            return p - lr * g
        case "rmsprop":
            return p - lr * g / ((1 - ALPHA) ** 0.5 * g.abs() + EPS)
        case "adagrad" | "adam":
            return p - lr * g / (g.abs() + EPS)
        case "adamw":
            return (1 - lr * recipe.weight_decay) * p - lr * g / (g.abs() + EPS)
    raise ValueError(f"no optimizer is called {recipe.optimizer!r}")

"""One training step, phase by phase, and what a run of them must keep to go on as if it had never stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass

import torch
from torch import nn

from kernels.training import checkpoint
from kernels.training.checkpoint import CheckpointError, State
from kernels.training.loader import Loader, Tensors
from kernels.training.recipe import ALPHA, AUTOCAST, BETAS, EPS, LOSS_SCALE, MOMENTUM, Recipe

Loss = Callable[[nn.Module, tuple[torch.Tensor, torch.Tensor]], torch.Tensor]  # of a model and a batch, (inputs, targets)


def make_optimizer(recipe: Recipe, parameters: list[nn.Parameter]) -> torch.optim.Optimizer:
    """PyTorch's, fused into one kernel a step where every version here has such a one: not for RMSProp, and not for Adagrad, which PyTorch
    2.11 fuses on CPUs only."""
    lr = recipe.learning_rate
    match recipe.optimizer:
        case "sgd":
            return torch.optim.SGD(parameters, lr, fused=True)
        case "momentum":
            return torch.optim.SGD(parameters, lr, MOMENTUM, fused=True)
        case "adagrad":
            return torch.optim.Adagrad(parameters, lr, eps=EPS)
        case "rmsprop":
            return torch.optim.RMSprop(parameters, lr, ALPHA, EPS)
        case "adam":
            return torch.optim.Adam(parameters, lr, BETAS, EPS, fused=True)
        case "adamw":
            return torch.optim.AdamW(parameters, lr, BETAS, EPS, recipe.weight_decay, fused=True)
    raise ValueError(f"no optimizer is called {recipe.optimizer!r}")


@dataclass(frozen=True)
class Step:
    """What a step found. `skipped`: a gradient was not finite, so the optimizer did nothing and the loss scale was halved."""

    number: int  # from 1
    loss: torch.Tensor  # (), fp32, on the device: reading it waits for the step
    skipped: bool = False


class Trainer:
    """A model, its optimizer and its data. `data`, `forward`, `backward`, `finish` in this order are a step, and `step` calls them."""

    def __init__(self, module: nn.Module, loss: Loss, loader: Loader, recipe: Recipe):
        self.module, self.loader, self.recipe = module, loader, recipe
        self.parameters = list(module.parameters())
        self.optimizer = make_optimizer(recipe, self.parameters)
        self.device = self.parameters[0].device
        self.scaler = torch.amp.GradScaler(self.device.type, init_scale=LOSS_SCALE, enabled=recipe.precision == "fp16")
        self.steps = self.skipped = 0
        self.batch: Tensors = ()
        self.loss = torch.zeros(())
        self._loss = loss
        self._unscaled = self.scaler.state_dict()

    def data(self) -> None:
        self.batch = self.loader.next()

    def forward(self) -> None:
        with lowered(self.recipe.precision, self.device):
            inputs, targets = self.batch
            self.loss = self._loss(self.module, (inputs, targets))

    def backward(self) -> None:
        self.scaler.scale(self.loss).backward()
        self.loss = self.loss.detach()

    def update(self) -> bool:
        """The optimizer's step; whether it was skipped."""
        before = self.scaler.get_scale()  # without scaling, 1.0 at no cost; with it, a wait for the device
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.steps += 1
        skipped = self.scaler.get_scale() < before
        self.skipped += skipped
        return skipped

    def clear(self) -> None:
        self.optimizer.zero_grad(set_to_none=True)

    def finish(self) -> bool:
        """`update`, then `clear`."""
        skipped = self.update()
        self.clear()
        return skipped

    def prime(self) -> None:
        """Allocates the optimizer's state, which PyTorch leaves to the first step: by a step that changes nothing."""
        for parameter in self.parameters:
            parameter.grad = torch.zeros_like(parameter)
        for group in self.optimizer.param_groups:
            group["lr"] = 0.0
        self.optimizer.step()
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.learning_rate
        self.clear()
        self.reset()

    def reset(self) -> None:
        """As before the first step, but for the parameters: every optimizer here begins with a state of zeros."""
        for state in self.optimizer.state.values():
            for value in state.values():
                value.zero_()
        self.scaler.load_state_dict(self._unscaled)
        self.steps = self.skipped = self.loader.step = 0

    def step(self) -> Step:
        self.data()
        self.forward()
        self.backward()
        skipped = self.finish()
        return Step(self.steps, self.loss, skipped)

    def state(self) -> State:
        """Everything that the steps to come depend on."""
        return {
            "recipe": asdict(self.recipe),
            "steps": self.steps,
            "skipped": self.skipped,
            "batch": self.loader.step,
            "module": self.module.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "random": checkpoint.random_state(),
        }

    def restore(self, state: State) -> None:
        """Goes on from a state of the same recipe and model. Raises CheckpointError, which names no file."""
        if state.get("recipe") != asdict(self.recipe):
            raise CheckpointError(f"was trained as {state.get('recipe')}, not as {asdict(self.recipe)}")
        try:
            self.module.load_state_dict(state["module"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.scaler.load_state_dict(state["scaler"])
            checkpoint.set_random_state(state["random"])
            self.steps, self.skipped, self.loader.step = state["steps"], state["skipped"], state["batch"]
        except (RuntimeError, KeyError, ValueError, TypeError) as error:
            raise CheckpointError(f"does not fit this model: {str(error).splitlines()[0]}") from error


def lowered(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """Autocast where the precision asks for it."""
    if precision not in AUTOCAST:
        return nullcontext()
    return torch.autocast(device.type, getattr(torch, AUTOCAST[precision]))


def train(trainer: Trainer, steps: int) -> Iterator[Step]:
    """Steps until `steps` have been made in all, those before a restored checkpoint among them."""
    while trainer.steps < steps:
        yield trainer.step()

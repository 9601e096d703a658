"""train_step in PyTorch: the loop's own step, its phases apart."""

from __future__ import annotations

import torch

from kernels.models.modules import loss
from kernels.op import Inputs, Kernel, Point
from kernels.training.data import source
from kernels.training.loader import Loader
from kernels.training.loop import Trainer
from kernels.training.prepare import holding, prepare
from kernels.training.sizes import config_of, recipe_of


def build(point: Point, inputs: Inputs) -> Kernel:
    """A step of a trainer whose parameters are the point's. It gives (loss, *gradients, *parameters) and lets go of the gradients."""
    recipe = recipe_of(point)
    device = inputs.operands[0].device
    module = prepare(holding(config_of(point), inputs.updated), recipe)
    trainer = Trainer(module, loss, Loader(source(point), device, ahead=point.options["loading"] == "ahead"), recipe)
    trainer.prime()
    gradients: list[torch.Tensor | None] = []

    def optimizer() -> None:
        trainer.update()
        gradients[:] = [p.grad for p in trainer.parameters]
        trainer.clear()

    def run() -> tuple[torch.Tensor | None, ...]:
        gradients.clear()
        for _, phase in phases:
            phase()
        return (trainer.loss, *gradients, *inputs.updated)

    phases = (("data", trainer.data), ("forward", trainer.forward), ("backward", trainer.backward), ("optimizer", optimizer))
    # Each step copies another batch from the host, which a CUDA graph would not do again, and in fp16 the loss scale is read back.
    return Kernel(run, phases=phases, reset=trainer.reset, capturable=False)

"""Training as it is done: batches from a file, forward, loss, backward, optimizer, in every precision that models are trained in."""

from kernels.training.spec import OP

__all__ = ["OP"]

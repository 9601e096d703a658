"""Workloads made of real tensors, on a CPU or a CUDA device."""

from __future__ import annotations

import zlib
from typing import Any

import torch

from benches import gate
from benches.devices.base import TooLittleMemory, Verdict
from kernels.op import Inputs, Kernel, Point
from kernels.registry import OPS
from kernels.torch_modes import set_precision_mode


def is_out_of_memory(error: Exception) -> bool:
    """PyTorch's CPU allocator raises a plain RuntimeError."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def data_seed(point: Point, seed: int) -> int:
    """The same operands for every implementation of a case: the seed depends on all but `impl`."""
    case = "-".join([point.op, point.precision, repr(sorted(point.dims.items())), repr(sorted(point.options.items()))])
    return seed ^ zlib.crc32(case.encode())


class TensorWorkload:
    """Operands, output buffer and kernel of one point.

    `shape` is the point whose dims the tensors have: the point itself, or its shrunk twin in Triton's interpreter. The kernel is built
    for `point`, so that the configuration which the real shape would use is the one that is checked.
    """

    def __init__(self, point: Point, shape: Point, device: str, seed: int):
        op = OPS[point.op]
        set_precision_mode(point.precision)
        self._op, self._shape = op, shape
        self.peak_memory_bytes: int | None = None
        try:
            self._inputs: Inputs = op.load("make_inputs")(shape, device, data_seed(shape, seed))
            self._kernel: Kernel = op.impls[point.impl].load()(point, self._inputs)
        except Exception as e:
            if is_out_of_memory(e):
                raise TooLittleMemory(str(e).splitlines()[0]) from e
            raise
        self.config = self._kernel.config

    def check(self) -> Verdict:
        try:
            return gate.check(self._op, self._shape, self._kernel, self._inputs)
        except Exception as e:
            if is_out_of_memory(e):
                raise TooLittleMemory(f"while comparing with the fp64 reference: {str(e).splitlines()[0]}") from e
            raise

    def launch(self) -> Any:
        return self._kernel.run()

"""Seeded operands: what every op's `make_inputs` makes its tensors with."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from kernels.op import Impl, Point
from kernels.precisions import PRECISIONS

CLAMP = 5.0  # normals beyond ±5 occur once in 2 million; clamped, so that exp and fp8 cannot overflow by chance
FP8_GAIN = 16.0  # normals × 16 use fp8's range (5 · 16 = 80 < 448) and lie above its subnormals


def dtype_of(precision: str) -> torch.dtype:
    """The torch dtype that stores a precision; float32 for tf32."""
    return getattr(torch, PRECISIONS[precision].torch_dtype)


class Maker:
    """Makes operands on one device from one seed.

    kind: `normal` N(0, 1) clamped to ±5, `integers` uniform in −2 … 2, `zeros`. With seed None the values are whatever the default
    generator gives (fake tensors have no generator).
    """

    def __init__(self, kind: str, device: str | torch.device, seed: int | None):
        self.kind = kind
        self.device = torch.device(device)
        self.valueless = self.device.type == "meta"  # arithmetic on it would import PyTorch's compiler, which takes seconds, for nothing
        self.generator = None if seed is None else torch.Generator(self.device).manual_seed(seed)

    def tensor(self, shape: Sequence[int], precision: str, gain: float = 1.0) -> torch.Tensor:
        """A contiguous tensor of `shape` in `precision`, values × gain."""
        dtype = dtype_of(precision)
        if self.valueless:
            return self.empty(shape, precision)
        if self.kind == "zeros":
            return torch.zeros(shape, device=self.device, dtype=torch.float32).to(dtype)
        if self.kind == "integers":
            whole = torch.randint(-2, 3, shape, device=self.device, generator=self.generator, dtype=torch.int8)
            return whole.to(torch.float32).to(dtype)
        values = torch.randn(shape, device=self.device, generator=self.generator, dtype=torch.float32)
        return values.clamp_(-CLAMP, CLAMP).mul_(gain).to(dtype)

    def empty(self, shape: Sequence[int], precision: str) -> torch.Tensor:
        return torch.empty(shape, device=self.device, dtype=dtype_of(precision))

    def out(self, shape: Sequence[int], precision: str, impl: Impl, point: Point) -> torch.Tensor:
        """`Inputs.out` of one result: an uninitialised buffer, or without memory where the implementation allocates what it returns."""
        return torch.empty(shape, device="meta" if impl.allocates(point) else self.device, dtype=dtype_of(precision))


def narrow_last(parent: torch.Tensor, columns: int) -> torch.Tensor:
    """The first `columns` of the last dim: a view with the parent's row stride."""
    return parent.narrow(-1, 0, columns)

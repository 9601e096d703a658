"""Process-wide PyTorch switches that decide what a precision means. Set before every gate and timing, since they are global."""

from __future__ import annotations

from collections.abc import Callable

import torch

from kernels.op import Point


def set_precision_mode(precision: str) -> None:
    """fp32 is IEEE and tf32 is TF32, on every device; 16-bit products accumulate and reduce in fp32."""
    # Not by the newer fp32_precision attributes: once they are set, older Inductors' reads of the legacy ones raise an error.
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    # Split-K in 16 bits is faster and wrong by more than fp32 accumulation allows.
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
    torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False
    torch.backends.cuda.matmul.allow_fp16_accumulation = False


_compiled: dict[str, Callable[..., torch.Tensor]] = {}  # of the last point


def compile_for(point: Point, function: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    """torch.compile of one point's function of its operands, static shapes, nothing left of earlier points; again for its other buffers.

    All points of an op share a code object; without the reset the ninth shape meets Dynamo's recompile limit and runs eagerly, unsaid.
    """
    if point.id not in _compiled:
        torch.compiler.reset()
        _compiled.clear()
        _compiled[point.id] = torch.compile(function, dynamic=False, fullgraph=True)
    return _compiled[point.id]

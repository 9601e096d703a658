"""Process-wide PyTorch switches that decide what a precision means. Set before every gate and timing, since they are global."""

from __future__ import annotations

import torch


def set_precision_mode(precision: str) -> None:
    """fp32 is IEEE and tf32 is TF32, on every device; 16-bit products accumulate and reduce in fp32."""
    # Not by the newer fp32_precision attributes: once they are set, older Inductors' reads of the legacy ones raise an error.
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    # Split-K in 16 bits is faster and wrong by more than fp32 accumulation allows.
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
    torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False
    torch.backends.cuda.matmul.allow_fp16_accumulation = False


def compile_for(function: object) -> object:
    """torch.compile of one point's function, static shapes, nothing left of earlier points.

    All points of an op share a code object; without the reset the ninth shape meets Dynamo's recompile limit and runs eagerly, unsaid.
    """
    torch.compiler.reset()
    return torch.compile(function, dynamic=False, fullgraph=True)  # type: ignore[call-overload]

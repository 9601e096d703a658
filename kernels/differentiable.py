"""What keeps a point from being differentiated: the same for a product, for the deep linear model and for a Transformer."""

from __future__ import annotations

from kernels.op import Platform, Point
from kernels.precisions import PRECISIONS


def unsupported(point: Point, platform: Platform) -> str | None:
    """Why there is no such product to differentiate, or None."""
    if PRECISIONS[point.precision].bytes == 1:
        return "autograd has no fp8 products: torch._scaled_mm has no derivative"
    if point.precision == "tf32" and (platform.kind != "cuda" or platform.capability < (8, 0)):
        return "TF32 is a mode of NVIDIA's tensor cores from compute capability 8.0 on"
    return None


def compiled_unsupported(point: Point, platform: Platform) -> str | None:
    """The same for torch.compile, whose backward pass runs once: it reuses the memory of what the forward pass kept."""
    if point.options["pass"] == "backward":
        return "a compiled backward pass gives the forward pass's memory away, so it cannot be repeated: see pass both"
    return unsupported(point, platform)

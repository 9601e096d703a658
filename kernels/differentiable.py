"""What keeps a point from being differentiated: the same for a product, for the deep linear model and for a Transformer."""

from __future__ import annotations

from kernels import support
from kernels.op import Point
from kernels.support import Platform


def unsupported(point: Point, platform: Platform) -> str | None:
    """Why there is no such product to differentiate, or None."""
    if support.is_fp8(point.precision):
        return "autograd has no fp8 products: torch._scaled_mm has no derivative"
    return support.matrix_units(point.precision, platform)


def compiled_unsupported(point: Point, platform: Platform) -> str | None:
    """The same for torch.compile, whose backward pass runs once: it reuses the memory of what the forward pass kept."""
    if point.options["pass"] == "backward":
        return "a compiled backward pass gives the forward pass's memory away, so it cannot be repeated: see pass both"
    return unsupported(point, platform)

"""train_step: one step of a training run as a user would write it: batch from a file, forward, loss, backward, optimizer, zero_grad.

    transformer   dims batch, sequence, layers, hidden, heads, feedforward, vocab; SwiGLU, RMSNorm, fused attention; next-token loss
    deep_linear   dims tokens, width, layers; mean squared error

The precision is the mode in which it is trained, kernels/training/recipe.py; weights, gradients and optimizer state are fp32 in all.

FLOPs are those of the matrix products that run, as torch.utils.flop_counter counts them: what activation checkpointing and fused
attention compute a second time is among them (hardware FLOPs). `sizes.Flops.model` leaves it out: MFU is by that, so that computing again
earns nothing (Chowdhery et al. 2022, "PaLM", appendix B).
"""

from __future__ import annotations

from collections.abc import Iterable

from kernels.matmul.spec import fp8_needs, tf32_needs
from kernels.models.config import DeepLinear
from kernels.op import Cost, DeviceKind, Impl, Op, OpError, Option, Options, Platform, Point, order_dims
from kernels.precisions import PRECISIONS
from kernels.training.memory import memory
from kernels.training.parts import parts
from kernels.training.recipe import OPTIMIZERS
from kernels.training.sizes import DIMS, config_of, flops, tokens_of

OPTIONS = {
    "model": Option(tuple(DIMS), None, "what is trained", leading=True),
    "checkpointing": Option(
        ("none", "full"), "none", "full: each block's activations are computed again in backward", form="checkpointing"
    ),
    "optimizer": Option(OPTIMIZERS, "adamw", "the update rule; fused where PyTorch fuses it"),
    "loading": Option(("direct", "ahead"), "direct", "ahead: a thread prepares the next batch while this one is worked on"),
}
FP8_MULTIPLE = 16  # torch._scaled_mm's, of every dim that an operand lies along in forward or backward
FP8_DIMS = ("tokens", "sequence", "hidden", "feedforward", "width")  # multiples of it make all of these so
SMALL = {"batch": 2, "sequence": 13, "layers": 2, "heads": 2, "feedforward": 29, "vocab": 31, "tokens": 19, "width": 23}  # in `shrink`
SMALL_HEAD = 11


def dim_order(options: Options, given: Iterable[str]) -> tuple[str, ...]:
    """The model's dims. Raises OpError for other names."""
    return order_dims(DIMS[options["model"]], given)


def check(point: Point) -> None:
    """Raises OpError where heads do not divide hidden, and for checkpointing without blocks."""
    if point.options["model"] == "deep_linear":
        if point.options["checkpointing"] != "none":
            message = "a deep linear model keeps its layers' inputs and nothing else: checkpointing would save none of them"
            raise OpError(message, key="checkpointing", valid=("none",))
    elif point.dims["hidden"] % point.dims["heads"]:
        raise OpError(f"{point.dims['heads']} heads do not divide hidden {point.dims['hidden']}", key="heads")


def cost(point: Point, device: DeviceKind = "cuda") -> Cost:
    """FLOPs that run; bytes of weights, state and batch read, of weights, state and gradients written; memory by memory.py."""
    held = memory(point, device)
    return Cost(
        flops(point).hardware, held.weights + held.optimizer + held.batch, held.weights + held.optimizer + held.gradients, held.peak
    )


def least_flops(point: Point, cost: Cost) -> int:
    """Without the scores above the diagonal, which a causal kernel skips: of two products forward, five backward, two computed again."""
    config = config_of(point)
    if isinstance(config, DeepLinear):
        return cost.flops
    batch, sequence = point.dims["batch"], point.dims["sequence"]
    products = 9 if point.options["checkpointing"] == "full" else 7
    return cost.flops - config.layers * products * batch * sequence * (sequence - 1) * config.hidden


def shrink(point: Point) -> Point:
    """A small model of the same kind; ragged, but in fp8."""
    dims = {name: min(size, SMALL.get(name, size)) for name, size in point.dims.items()}
    if "heads" in dims:
        dims["hidden"] = dims["heads"] * min(point.dims["hidden"] // point.dims["heads"], SMALL_HEAD)
    if PRECISIONS[point.precision].bytes == 1:
        dims |= {name: -(-size // FP8_MULTIPLE) * FP8_MULTIPLE for name, size in dims.items() if name in FP8_DIMS}
    return OP.point(point.impl, point.precision, dims, point.options)


def unsupported(point: Point, platform: Platform) -> str | None:
    """Why a step cannot run in this precision, or None."""
    if point.precision == "fp8_e5m2":
        return "E5M2 is what gradients are quantised to: a training step in fp8 is fp8_e4m3, which uses both"
    if PRECISIONS[point.precision].bytes == 1:
        sizes = {"tokens": tokens_of(point)} | {n: point.dims[n] for n in ("width", "hidden", "feedforward") if n in point.dims}
        ragged = [f"{name} {size}" for name, size in sizes.items() if size % FP8_MULTIPLE]
        if ragged:
            return f"torch._scaled_mm needs multiples of {FP8_MULTIPLE}, not {', '.join(ragged)}"
    return fp8_needs(point, platform) or tf32_needs(point, platform)


OP = Op(
    name="train_step",
    doc="batch, forward, loss, backward, optimizer, zero_grad",
    options=OPTIONS,
    dim_order=dim_order,
    check=check,
    cost=cost,
    shrink=shrink,
    parts=parts,
    on_matrix_units=True,
    least_flops=least_flops,
    make_inputs="kernels.training.data:make_inputs",
    reference="kernels.training.data:reference",
    tolerance="kernels.training.data:tolerance",
    impls={"torch": Impl("torch", "kernels.training.torch_impl:build", unsupported)},
)

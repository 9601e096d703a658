"""train_step: one step of a training run as a user would write it: batch from a file, forward, loss, backward, optimizer, zero_grad.

    transformer   dims batch, sequence, layers, hidden, heads, feedforward, vocab, and kv_heads if given; SwiGLU, RMSNorm; next-token loss
    deep_linear   dims tokens, width, layers; mean squared error

The precision is the mode in which it is trained, kernels/training/recipe.py; weights, gradients and optimizer state are fp32 in all.

FLOPs are those of the matrix products that run, as torch.utils.flop_counter counts them: what activation checkpointing and fused
attention compute a second time is among them (hardware FLOPs). `sizes.Flops.model` leaves it out: MFU is by that, so that computing again
earns nothing (Chowdhery et al. 2022, "PaLM", appendix B).
"""

from __future__ import annotations

from collections.abc import Iterable

from kernels import support
from kernels.models.config import DeepLinear, misfits
from kernels.models.options import ATTENTION, HEAD, POSITION, small_attention
from kernels.op import Cost, Dims, Impl, Op, OpError, Option, Options, Point, order_dims
from kernels.parts import operators_a_part
from kernels.support import DeviceKind, Platform
from kernels.training.memory import memory
from kernels.training.parts import parts
from kernels.training.recipe import OPTIMIZERS
from kernels.training.sizes import DIMS, config_of, flops, tokens_of

OPTIONS = {
    "model": Option(tuple(DIMS), None, "The model that is trained.", leading=True),
    "checkpointing": Option(
        ("none", "selective", "full"),
        "none",
        "Which activations the backward pass computes again instead of keeping them: with full those of each block; with selective the "
        "scores and probabilities of plain attention, since fused attention keeps none.",
        shown={"full": "checkpointing", "selective": "selective_checkpointing"},
    ),
    "optimizer": Option(OPTIMIZERS, "adamw", "The update rule. Its step is fused where PyTorch can fuse it."),
    "loading": Option(
        ("direct", "ahead"), "direct", "When a batch is read. With ahead, a thread prepares the next one while this one is worked on."
    ),
    "attention": ATTENTION,
    "position": POSITION,
    "head": HEAD,
}
FP8_MULTIPLE = 16  # torch._scaled_mm's, of every dim that an operand lies along in forward or backward
FP8_DIMS = ("tokens", "sequence", "hidden", "feedforward", "width")  # multiples of it make all of these so
SMALL = {"batch": 2, "sequence": 13, "layers": 2, "heads": 2, "feedforward": 29, "vocab": 31, "tokens": 19, "width": 23}  # in `small`
SMALL_HEAD = 11


def dim_order(options: Options, given: Iterable[str]) -> tuple[str, ...]:
    """The model's dims. Raises OpError for other names."""
    return order_dims(DIMS[options["model"]], given, optional=("kv_heads",))


def check(point: Point) -> None:
    """Raises OpError where the sizes of attention do not fit, and for options of what the model or its attention does not have."""
    d, o = point.dims, point.options
    if o["model"] == "deep_linear":
        if o["checkpointing"] != "none":
            message = "a deep linear model keeps its layers' inputs and nothing else: checkpointing would save none of them"
            raise OpError(message, key="checkpointing", valid=("none",))
        for name in ("attention", "position", "head"):
            if o[name] != OPTIONS[name].default:
                message = f"{name} is the transformer's: a deep linear model has no such part"
                raise OpError(message, key=name, valid=(str(OPTIONS[name].default),))
        return
    for key, problem in misfits(d["hidden"], d["heads"], d.get("kv_heads"), o["position"]):
        raise OpError(problem, key=key)
    if o["checkpointing"] == "selective" and o["attention"] == "sdpa":
        message = "selective checkpointing computes plain attention's scores again, and fused attention keeps none: use attention: plain"
        raise OpError(message, key="checkpointing", valid=("none", "full"))


def cost(point: Point, device: DeviceKind = "cuda") -> Cost:
    """FLOPs that run; bytes of weights, state and batch read, of weights, state and gradients written; memory by memory.py."""
    held = memory(point, device)
    return Cost(
        flops(point).hardware, held.weights + held.optimizer + held.batch, held.weights + held.optimizer + held.gradients, held.peak
    )


def least_flops(point: Point, cost: Cost) -> int:
    """Without the scores above the diagonal, which a causal kernel skips: of two products forward, five backward, two computed again."""
    config = config_of(point)
    if isinstance(config, DeepLinear) or config.attention == "plain":
        return cost.flops
    batch, sequence = point.dims["batch"], point.dims["sequence"]
    products = 9 if point.options["checkpointing"] == "full" else 7
    return cost.flops - config.layers * products * batch * sequence * (sequence - 1) * config.hidden


def small(point: Point) -> Dims:
    """A small model of the same kind; ragged, but in fp8."""
    config = config_of(point)
    if isinstance(config, DeepLinear):
        dims = {name: min(size, SMALL.get(name, size)) for name, size in point.dims.items()}
    else:
        dims = small_attention(config, point.dims, SMALL, SMALL_HEAD)
    if support.is_fp8(point.precision):
        if "kv_heads" in dims:  # k and v lie along a product too: heads of so many columns
            dims["hidden"] = FP8_MULTIPLE * dims["heads"]
        dims |= {name: -(-size // FP8_MULTIPLE) * FP8_MULTIPLE for name, size in dims.items() if name in FP8_DIMS}
    return dims


def unsupported(point: Point, platform: Platform) -> str | None:
    """Why a step cannot run in this precision, or None."""
    if point.precision == "fp8_e5m2":
        return "gradients are quantised to E5M2: a training step in fp8 is fp8_e4m3, which uses both"
    if support.is_fp8(point.precision):
        sizes = {"tokens": tokens_of(point)} | {n: point.dims[n] for n in ("width", "hidden", "feedforward") if n in point.dims}
        if "kv_heads" in point.dims:
            sizes["columns of k and v"] = 2 * point.dims["kv_heads"] * point.dims["hidden"] // point.dims["heads"]
        ragged = [f"{name} {size}" for name, size in sizes.items() if size % FP8_MULTIPLE]
        if ragged:
            return f"torch._scaled_mm needs multiples of {FP8_MULTIPLE}, not {', '.join(ragged)}"
    return support.matrix_units(point.precision, platform)


OP = Op.define(
    "kernels.training",
    "train_step",
    "Makes one step of a training run: batch, forward pass, loss, backward pass, optimizer step, zero_grad.",
    options=OPTIONS,
    dims_doc="transformer has batch, sequence, layers, hidden, heads, feedforward and vocab; kv_heads, which divide heads, may be given "
    "for grouped-query attention. deep_linear has tokens, width and layers.",
    dims=dim_order,
    check=check,
    cost=cost,
    small=small,
    parts=parts,
    operators=operators_a_part(4),  # as the dispatcher counts them: 2 to 5.3
    on_matrix_units=True,
    least_flops=least_flops,
    many_launches=True,
    trains=True,
    impls=(Impl("torch", "torch_impl:build", unsupported),),
)

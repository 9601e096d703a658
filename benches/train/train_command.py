"""The subcommand: arguments to an exit code. 0: trained; 2: what was asked for cannot be done, one line; 130: Ctrl-C, all saved."""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

from benches.devices.cores import ThreadsError, threads_asked
from kernels.console import open_console
from kernels.op import OpError, Point
from kernels.precisions import PRECISIONS
from kernels.registry import OPS
from kernels.support import Platform
from kernels.training.recipe import OPTIMIZERS

SIZES: dict[str, dict[str, tuple[int, str]]] = {  # of each model; default: two CPU cores train it in a minute
    "transformer": {
        "batch": (8, "sequences a step"),
        "sequence": (64, "tokens a sequence"),
        "layers": (2, "blocks"),
        "hidden": (64, "width of the residual stream"),
        "heads": (4, "attention heads, which divide --hidden"),
        "feedforward": (192, "width of the MLP"),
        "vocab": (256, "vocabulary size, larger than every token id in --data"),
    },
    "deep_linear": {
        "tokens": (256, "rows a step"),
        "width": (64, "features of a row, and of each layer"),
        "layers": (2, "square layers before the head"),
    },
}
EVERY_SIZE = tuple(dict.fromkeys(name for sizes in SIZES.values() for name in sizes))


def add_command(commands: Any) -> None:
    """`commands`: what argparse's add_subparsers gives."""
    train = commands.add_parser("train", help="train a Transformer or the deep linear model; tokens/s, MFU and where the time goes")
    train.add_argument(
        "--model",
        choices=tuple(SIZES),
        default="transformer",
        help="transformer: predict the next token; deep_linear: predict a value from a row of features (default: transformer)",
    )
    train.add_argument(
        "--steps", type=positive, default=200, metavar="N", help="total steps, including those before a checkpoint (default: 200)"
    )
    train.add_argument(
        "--data",
        type=Path,
        metavar="FILE",
        help="token ids: .npy of uint16 or uint32, or .bin of uint16; for deep_linear .npy of fp32 (rows, --width + 1), "
        "the value in the last column (default: generated)",
    )
    train.add_argument("--checkpoint", type=Path, metavar="FILE", help="resume from this file if it exists; save to it")
    train.add_argument("--save-every", type=positive, default=100, metavar="N", help="steps between saves (default: 100)")
    train.add_argument(
        "--precision",
        choices=[p for p in PRECISIONS if p != "fp8_e5m2"],
        help="the mode of training (default: bf16 on CUDA, fp32 on a CPU)",
    )
    train.add_argument("--optimizer", choices=OPTIMIZERS, default="adamw", help="the update rule (default: adamw)")
    train.add_argument("--learning-rate", type=rate, default=3e-3, metavar="X", help="step size of the optimizer (default: 0.003)")
    train.add_argument("--checkpointing", action="store_true", help="compute activations again in backward instead of keeping them")
    train.add_argument("--seed", type=int, default=0, metavar="N", help="seed of weights and batches (default: 0)")
    train.add_argument(
        "--device", choices=("auto", "cuda", "cpu"), default="auto", help="where to train (default: cuda where there is one)"
    )
    for name in EVERY_SIZE:
        train.add_argument(f"--{name}", type=positive, metavar="N", help=size_help(name))
    train.set_defaults(run=main)


def size_help(name: str) -> str:
    """What a size means in each model that has it, and its default there."""
    return "; ".join(f"{model}: {sizes[name][1]} (default: {sizes[name][0]})" for model, sizes in SIZES.items() if name in sizes)


def positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{value} is not at least 1")
    return value


def rate(text: str) -> float:
    value = float(text)
    if not 0 < value < 1e3:
        raise argparse.ArgumentTypeError(f"{text} is not a learning rate")
    return value


def main(given: argparse.Namespace) -> int:
    try:
        if given.device != "cuda":
            threads_asked(os.environ.get("OMP_NUM_THREADS"))  # before torch is imported: its OpenMP would print a line of its own
    except ThreadsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    from benches.train.session import Session
    from benches.train.summary_text import show
    from benches.train.training_device import Refused, training_device
    from kernels.training.checkpoint import CheckpointError
    from kernels.training.tokens import DataError

    console = open_console()
    try:
        device = training_device(given.device)
        session = Session(given, point_of(given, device.platform), device)
        console.print(session.begun(), markup=False, highlight=False, soft_wrap=True)
        stopped = session.run(console)
    except (Refused, DataError, CheckpointError, OpError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    show(session.result(), console)
    return 130 if stopped else 0


def sizes_of(given: argparse.Namespace) -> dict[str, int]:
    """The sizes of the model, those that are not given by default. Raises OpError for a size that the model does not have."""
    sizes = SIZES[given.model]
    asked = {name: getattr(given, name) for name in EVERY_SIZE if getattr(given, name) is not None}
    for name in asked:
        if name not in sizes:
            raise OpError(f"--{name}: the {given.model} model has no such size; it has {', '.join(f'--{size}' for size in sizes)}")
    return {name: asked.get(name, default) for name, (default, _) in sizes.items()}


def point_of(given: argparse.Namespace, platform: Platform) -> Point:
    """The train_step that each step is. Raises OpError."""
    op = OPS["train_step"]
    options = {"model": given.model, "checkpointing": "full" if given.checkpointing else "none", "optimizer": given.optimizer}
    precision = given.precision or ("bf16" if platform.kind == "cuda" else "fp32")
    point = op.point("torch", precision, sizes_of(given), options | {"loading": "ahead"})
    why = op.impls["torch"].unsupported(point, platform)
    if why:
        raise OpError(f"--precision {precision}: {why}")
    return point

"""Ragged training steps for tests."""

from __future__ import annotations

import random

from kernels.op import Point
from kernels.registry import OPS
from kernels.training.recipe import OPTIMIZERS

OP = OPS["train_step"]
PRECISIONS = ("fp32", "bf16", "fp16", "fp8_e4m3")


def step(precision: str, dims: dict[str, int], **options: str) -> Point:
    model = "deep_linear" if "width" in dims else "transformer"
    return OP.point("torch", precision, dims, {"model": model, **options})


def drawn(count: int, seed: int, precisions: tuple[str, ...] = PRECISIONS) -> list[Point]:
    """Models of both kinds drawn once and for all; of fp8 such as torch._scaled_mm takes."""
    rng = random.Random(seed)
    return [_drawn(rng, precisions[i % len(precisions)]) for i in range(count)]


def _drawn(rng: random.Random, precision: str) -> Point:
    multiple = 16 if precision.startswith("fp8") else 1
    optimizer = rng.choice(OPTIMIZERS)
    if rng.random() < 0.3:
        dims = {
            "tokens": multiple * rng.choice((1, 3, 7, 17)),
            "width": multiple * rng.choice((1, 2, 5, 13)),
            "layers": rng.choice((1, 2, 5)),
        }
        return step(precision, dims, optimizer=optimizer)
    heads = rng.choice((1, 2, 3))
    dims = {
        "batch": rng.choice((1, 2, 3)),
        "sequence": multiple * rng.choice((1, 2, 5) if multiple > 1 else (1, 7, 31)),
        "layers": rng.choice((1, 2, 3)),
        "hidden": heads * (16 if multiple > 1 else rng.choice((1, 5, 14))),
        "heads": heads,
        "feedforward": multiple * rng.choice((2, 5) if multiple > 1 else (1, 29, 53)),
        "vocab": rng.choice((2, 31, 211)),
    }
    return step(precision, dims, optimizer=optimizer, checkpointing=rng.choice(("none", "full")))

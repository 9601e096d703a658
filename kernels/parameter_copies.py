"""Bytes of the copies of a parameter that training keeps, and the values that each optimizer keeps. Kernels and napkin math share both."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Scheme:
    """Bytes a parameter takes in each of its copies. `master`: a second, wider copy of the weights, which the optimizer updates."""

    weights: float
    gradients: float
    master: float
    state: float  # of one value that the optimizer keeps for a parameter
    lowered: float = 0  # a narrower copy of a matrix that products read, kept from forward to backward
    activation: float = 2  # bytes of an element that products read
    residual: float = 2  # bytes of an element between blocks


SCHEMES: dict[str, Scheme] = {
    "fp32": Scheme(4, 4, 0, 4, activation=4, residual=4),
    "mixed": Scheme(2, 2, 4, 4),  # Micikevicius et al. 2018, "Mixed Precision Training"; ZeRO section 3.1: 2 + 2 + K, K = 12 with Adam
    "mixed_fp32_gradients": Scheme(2, 4, 4, 4),  # gradients accumulated in fp32, as Megatron-LM does with bf16
    "bf16": Scheme(2, 2, 0, 2),  # no wider copy: small updates are lost in bf16's 8 bits
    "autocast": Scheme(
        4, 4, 0, 4, lowered=2, residual=4
    ),  # fp32 weights, products in 16 bits: torch.autocast, and `python -m benches train`
    "fp8": Scheme(2, 2, 4, 4, lowered=1),  # as mixed, and the copy in 8 bits that products read
}

BLOCK_OF_8_BITS = 2048  # values that share an fp32 scale in 8-bit optimizer state (Dettmers et al. 2022, "8-bit Optimizers", section 2.1)
EIGHT_BITS = 1 + 4 / BLOCK_OF_8_BITS  # bytes of such a value
EIGHT_BIT_OPTIMIZERS = {"adam_8bit": "adam", "adamw_8bit": "adamw", "momentum_8bit": "momentum"}  # -> whose values they keep

# Values kept for each parameter besides weight and gradient, by the methods' definitions (torch.optim keeps the same).
OPTIMIZER_STATES: dict[str, int] = {
    "sgd": 0,
    "momentum": 1,  # velocity
    "adagrad": 1,  # sum of squares
    "rmsprop": 1,  # running mean of squares
    "adam": 2,  # running means of gradients and of squares
    "adamw": 2,
}

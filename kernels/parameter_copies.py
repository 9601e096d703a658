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


SCHEMES: dict[str, Scheme] = {
    "fp32": Scheme(4, 4, 0, 4),
    "mixed": Scheme(2, 2, 4, 4),  # Micikevicius et al. 2018, "Mixed Precision Training"; ZeRO section 3.1: 2 + 2 + K, K = 12 with Adam
    "mixed_fp32_gradients": Scheme(2, 4, 4, 4),  # gradients accumulated in fp32, as Megatron-LM does with bf16
    "bf16": Scheme(2, 2, 0, 2),  # no wider copy: small updates are lost in bf16's 8 bits
}

# Values kept for each parameter besides weight and gradient, by the methods' definitions (torch.optim keeps the same).
OPTIMIZER_STATES: dict[str, int] = {
    "sgd": 0,
    "momentum": 1,  # velocity
    "adagrad": 1,  # sum of squares
    "rmsprop": 1,  # running mean of squares
    "adam": 2,  # running means of gradients and of squares
    "adamw": 2,
}

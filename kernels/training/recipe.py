"""How a model is trained, as names and numbers. No torch here: sweeps, plans and reports read this too.

    precision   weights, gradients, state   matmuls                                       loss
    fp32        fp32                        IEEE fp32                                     fp32
    tf32        fp32                        TF32                                          fp32
    bf16        fp32                        bf16, by autocast                             fp32
    fp16        fp32                        fp16, by autocast                             fp32, scaled: small gradients do not underflow
    fp8_e4m3    fp32                        E4M3 forward, E5M2 gradients; the rest bf16   fp32

Mixed precision as in Micikevicius et al. 2018, "Mixed Precision Training", with the fp32 weights as the only ones kept.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

AUTOCAST = {"fp16": "float16", "bf16": "bfloat16", "fp8_e4m3": "bfloat16"}  # precision -> torch dtype of what autocast lowers
# 2^13: scaled gradients of a loss near 10 stay below fp16's 65504, and those down to 1e-11 above its smallest subnormal.
LOSS_SCALE = 2.0**13
OPTIMIZERS = ("sgd", "momentum", "adagrad", "rmsprop", "adam", "adamw")
# PyTorch's defaults, where it has any; ALPHA smooths RMSProp's squares.
MOMENTUM, ALPHA, BETAS, EPS = 0.9, 0.99, (0.9, 0.999), 1e-8


@dataclass(frozen=True)
class Recipe:
    """`weight_decay`: AdamW's, decoupled. `checkpointing`: what is computed again in backward instead of kept: with full, each block's
    activations (Chen et al. 2016, "Training Deep Nets with Sublinear Memory Cost"); with selective, plain attention's scores and
    probabilities (Korthikanti et al. 2022, "Reducing Activation Recomputation in Large Transformer Models", section 5)."""

    precision: str
    optimizer: str = "adamw"
    checkpointing: bool | Literal["selective"] = False  # True: full, as files of training runs have it
    learning_rate: float = 1e-3
    weight_decay: float = 0.01

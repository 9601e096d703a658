"""The update rules as their papers write them, for anything that adds, multiplies, divides and has a root.

Each takes p weight, g gradient, the state, and (1 − β₁ᵗ, 1 − β₂ᵗ), and gives the new weight and state. Hyperparameters are those of
spec.py.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kernels.optimizer.spec import ALPHA, BETA1, BETA2, EPS, LR, MOMENTUM, WEIGHT_DECAY

State = tuple[Any, ...]
Rule = Callable[[Any, Any, State, tuple[Any, Any]], tuple[Any, State]]


def sgd(p: Any, g: Any, state: State, corrections: tuple[Any, Any]) -> tuple[Any, State]:
    """Robbins, Monro 1951."""
    return p - LR * g, ()


def momentum(p: Any, g: Any, state: State, corrections: tuple[Any, Any]) -> tuple[Any, State]:
    """Heavy ball (Polyak 1964) with the learning rate outside the velocity, as in Sutskever et al. 2013 and torch.optim."""
    (b,) = state
    b = MOMENTUM * b + g
    return p - LR * b, (b,)


def adagrad(p: Any, g: Any, state: State, corrections: tuple[Any, Any]) -> tuple[Any, State]:
    """Duchi, Hazan, Singer 2011, diagonal form; ε outside the root."""
    (s,) = state
    s = s + g * g
    return p - LR * g / (s.sqrt() + EPS), (s,)


def rmsprop(p: Any, g: Any, state: State, corrections: tuple[Any, Any]) -> tuple[Any, State]:
    """Tieleman, Hinton 2012, lecture 6.5; ε outside the root, as in torch.optim."""
    (s,) = state
    s = ALPHA * s + (1 - ALPHA) * (g * g)
    return p - LR * g / (s.sqrt() + EPS), (s,)


def adam(p: Any, g: Any, state: State, corrections: tuple[Any, Any]) -> tuple[Any, State]:
    """Kingma, Ba 2015, algorithm 1."""
    m, v = state
    first, second = corrections
    m = BETA1 * m + (1 - BETA1) * g
    v = BETA2 * v + (1 - BETA2) * (g * g)
    return p - LR * (m / first) / ((v / second).sqrt() + EPS), (m, v)


def adamw(p: Any, g: Any, state: State, corrections: tuple[Any, Any]) -> tuple[Any, State]:
    """Loshchilov, Hutter 2019, algorithm 2: the decay acts on the weight and is not in the gradient. lr · λ as in torch.optim."""
    return adam((1 - LR * WEIGHT_DECAY) * p, g, state, corrections)


RULES: dict[str, Rule] = {"sgd": sgd, "momentum": momentum, "adagrad": adagrad, "rmsprop": rmsprop, "adam": adam, "adamw": adamw}

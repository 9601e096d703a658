"""What a kernel may not change: functions that checks and clocks use, and process-wide settings. Noted when this module is imported,
which is before anybody else's code is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import torch
import torch.nn.functional

from benches import correctness
from kernels import rounding, tolerances

WATCHED: dict[str, Any] = {
    "time": time,
    "torch": torch,
    "torch.Tensor": torch.Tensor,
    "torch.cuda": torch.cuda,
    "torch.cuda.Event": torch.cuda.Event,
    "torch.cuda.Stream": torch.cuda.Stream,
    "torch.cuda.CUDAGraph": torch.cuda.CUDAGraph,
    "torch.nn.functional": torch.nn.functional,
    "torch.linalg": torch.linalg,
    "benches.correctness": correctness,
    "kernels.tolerances": tolerances,
    "kernels.rounding": rounding,
}


# PyTorch replaces these itself: where its compiler is imported, and its storage classes where the default dtype changes.
TORCHS_OWN = ("manual_seed", "seed", "initial_seed", "get_rng_state", "set_rng_state")


def functions(owner: Any) -> Iterator[tuple[str, Any]]:
    """Names and values of the functions and types of a module or class, inherited ones too; of private ones only operators such as
    `__matmul__`."""
    for name, value in stored(owner).items():
        if owner is torch and (isinstance(value, type) or name in TORCHS_OWN):
            continue
        if callable(value) and (not name.startswith("_") or (name.startswith("__") and isinstance(owner, type))):
            yield name, value


def stored(owner: Any) -> dict[str, Any]:
    """Attributes of a module or class as they are stored: a class would bind them, and a module import them."""
    if not isinstance(owner, type):
        return dict(vars(owner))
    return {name: value for kind in reversed(owner.__mro__) for name, value in vars(kind).items()}


ORIGINAL = {where: dict(functions(owner)) for where, owner in WATCHED.items()}
INHERITED = {where: ORIGINAL[where].keys() - vars(owner).keys() for where, owner in WATCHED.items()}


def replaced() -> list[str]:
    """Full names of the watched functions that are no longer what they were, in order. What was added does not count."""
    found: list[str] = []
    for where, owner in WATCHED.items():
        now = stored(owner)
        found += [f"{where}.{name}" for name, value in ORIGINAL[where].items() if now.get(name) is not value]
    return found


def put_back(names: list[str]) -> None:
    """Undoes what `replaced` found."""
    for full in names:
        where, _, name = full.rpartition(".")
        if name in INHERITED[where]:
            delattr(WATCHED[where], name)
        else:
            setattr(WATCHED[where], name, ORIGINAL[where][name])


REDUCED = ("allow_bf16_reduced_precision_reduction", "allow_fp16_reduced_precision_reduction", "allow_fp16_accumulation")


def _of_products(name: str) -> tuple[Callable[[], Any], Callable[[Any], Any]]:
    """How a setting of torch.backends.cuda.matmul is read and set."""
    owner = torch.backends.cuda.matmul
    return lambda: getattr(owner, name), lambda value: setattr(owner, name, value)


SETTINGS: dict[str, tuple[Callable[[], Any], Callable[[Any], Any]]] = {  # how each is read and set
    "the number of threads": (torch.get_num_threads, torch.set_num_threads),
    "the default dtype": (torch.get_default_dtype, torch.set_default_dtype),
    "the default device": (torch.get_default_device, torch.set_default_device),
    "the grad mode": (torch.is_grad_enabled, torch.set_grad_enabled),
    "deterministic algorithms": (torch.are_deterministic_algorithms_enabled, torch.use_deterministic_algorithms),
    "the fp32 matmul precision": (torch.get_float32_matmul_precision, torch.set_float32_matmul_precision),
    **{f"torch.backends.cuda.matmul.{name}": _of_products(name) for name in REDUCED},
}


def settings() -> dict[str, Any]:
    """Process-wide settings of PyTorch that times and results depend on, by name."""
    return {name: read() for name, (read, _) in SETTINGS.items()}


def changed(before: dict[str, Any]) -> list[str]:
    """Names of the settings that differ from `before`."""
    return [name for name, value in settings().items() if value != before[name]]


def set_back(before: dict[str, Any], names: list[str]) -> None:
    """Gives the named settings the values that they had."""
    for name in names:
        SETTINGS[name][1](before[name])

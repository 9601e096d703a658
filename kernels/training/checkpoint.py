"""A training run on disk: everything that the steps to come depend on, written whole or not at all."""

from __future__ import annotations

import zipfile
from functools import partial
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch

from kernels.writing import write_file

State = dict[str, Any]  # tensors, numbers, texts, and dicts and lists of them: what torch.load reads without running code


class CheckpointError(ValueError):
    """A checkpoint cannot be written, read or resumed from; the message is one line that names the file."""


def _save(state: State, path: Path) -> None:
    with path.open("wb") as file:  # given a name, PyTorch's writer raises no OSError where the disk is full
        torch.save(state, file)


def save(path: Path, state: State) -> None:
    """Replaces the file in one step: whoever reads it, also after a crash, finds the old state or the new one. Raises CheckpointError."""
    try:
        write_file(path, partial(_save, state))
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be written: {error.strerror}") from error


def load(path: Path) -> State:
    """What `save` wrote, on the CPU. Raises CheckpointError."""
    try:
        with path.open("rb") as file:
            if not zipfile.is_zipfile(file):  # its index stands at the end: a file cut short has none
                raise CheckpointError(f"{path}: no checkpoint, or only a part of one")
            file.seek(0)
            state = torch.load(file, map_location="cpu", weights_only=True)
    except OSError as error:
        raise CheckpointError(f"{path}: {error.strerror or error}") from error
    except (RuntimeError, UnpicklingError) as error:
        raise CheckpointError(f"{path}: no readable checkpoint: {str(error).splitlines()[0]}") from error
    if not isinstance(state, dict):
        raise CheckpointError(f"{path}: no checkpoint of a training run")
    return state


def random_state() -> State:
    """Of PyTorch's generators, on the CPU and on every CUDA device."""
    return {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []}


def set_random_state(state: State) -> None:
    """Puts back what `random_state` gave."""
    torch.set_rng_state(state["cpu"])
    if state["cuda"] and torch.cuda.is_available():
        torch.cuda.set_rng_state_all(state["cuda"])

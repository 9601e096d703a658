"""Checks `--tune FILE` and `--tuned FILE` before anything is measured."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

from benches.run.run import RunError
from benches.run.tuned_file import EMPTY, NAME, TunedFile, read_tuned, write_tuned
from kernels.matmul.choice import case_of, is_tunable
from kernels.op import Point


@dataclass(frozen=True)
class Tuning:
    """The choices to use, and the file to write choices to."""

    tuned: TunedFile | None = None
    text: str | None = None  # of the file of choices
    tune: Path | None = None


def tuning_of(config: pytest.Config, kind: str, gpus: int, resumed: Path | None = None) -> Tuning:
    """Returns what the two options ask for on a device of this kind. gpus: how many --gpus names. resumed: the run that goes on, with the
    choices that it began with. Raises pytest.UsageError."""
    tune, tuned = config.getoption("--tune"), config.getoption("--tuned")
    if tuned is None and resumed and (resumed / NAME).is_file():
        tuned = resumed / NAME
    given = [f"{name} {path}" for name, path in (("--tune", tune), ("--tuned", tuned)) if path is not None]
    if len(given) > 1:
        raise pytest.UsageError(f"{' and '.join(given)}: a run either finds choices or uses them: leave one of them out")
    if given and kind == "cpu":
        raise pytest.UsageError(f"{given[0]}: Triton's kernels are not timed on a CPU: choose --device cuda or --device simulated")
    if tuned is not None:
        file = _read(given[0], tuned)
        return Tuning(tuned=file, text=tuned.read_bytes().decode())
    if tune is None:
        return Tuning()
    if gpus > 1:
        raise pytest.UsageError(f"{given[0]} with {gpus} GPUs: one of them at a time writes the file: name one with --gpus")
    if tune.exists():
        _read(given[0], tune)
    return Tuning(tune=tune.absolute())


def begin(tune: Path) -> None:
    """Writes the file as it is, or without any choice where there is none: a run that could not write it ends before its first point.
    Raises RunError."""
    try:
        write_tuned(tune, read_tuned(tune) if tune.exists() else EMPTY)
    except OSError as e:
        raise RunError(f"--tune {tune}: cannot be written ({e.strerror}): name another file") from None
    except ValueError as e:
        raise RunError(f"--tune {tune}: {e}") from None


def ended(tune: Path, points: Iterable[Point]) -> str:
    """Returns a line on how many of these points the file has a choice for."""
    tunable = {case_of(point) for point in points if is_tunable(point)}
    try:
        found = tunable & {choice.case for choice in read_tuned(tune).choices}
    except (OSError, ValueError) as e:
        return f"note: --tune {tune}: {e}"
    why = "; worker.log has the reasons for the others" if len(found) < len(tunable) else ""
    return f"tuned: {tune} has choices for {len(found)} of the run's {len(tunable)} cases of Triton's matmul{why}"


def _read(option: str, path: Path) -> TunedFile:
    try:
        return read_tuned(path)
    except OSError as e:
        raise pytest.UsageError(f"{option}: cannot be read ({e.strerror}): name a file that --tune wrote") from None
    except ValueError as e:
        raise pytest.UsageError(f"{option}: {e}") from None

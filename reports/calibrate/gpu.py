"""A GPU's problems: which rows tell which constants of kernels/calibrated.py."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from kernels.calibrated import BatchFit, Contractions, StreamFit, TileFit, contraction_s, stream_s
from kernels.cost_model import batched_fit, from_l2
from kernels.gpus import Ceilings
from kernels.parts import VECTOR_PRECISION
from reports.calibrate.fit import Array, Problem, Some

# The most telling first.
TILE_CONSTANTS = ("efficiency", "bandwidth_fraction", "launch_s", "step_s", "prologue_s", "split_s", "norm")
BATCH_CONSTANTS = ("prologue_s", "l2_speedup")
STREAM_CONSTANTS = ("bandwidth_fraction", "launch_s", "norm")


@dataclass(frozen=True)
class Contracted:
    """Measured contractions of one precision, all batched or none; arrays (N,)."""

    work: Contractions
    hot: NDArray[np.bool_]
    measured: Array  # s
    group: NDArray[np.intp]


@dataclass(frozen=True)
class Streamed:
    """Measured streams; arrays (N,)."""

    bytes: Array
    flops: Array
    hot: NDArray[np.bool_]
    measured: Array  # s
    group: NDArray[np.intp]


def constants_of(fit: TileFit | BatchFit | StreamFit, names: tuple[str, ...]) -> dict[str, float]:
    """Those constants of a fit, by name."""
    return {name: float(getattr(fit, name)) for name in names}


def _none(constants: Mapping[str, float], some: Some) -> float:
    return 0.0


def tile_problem(
    name: str,
    rows: Contracted,
    precision: str,
    present: TileFit,
    batched: BatchFit,
    gpu: Ceilings,
    extra: Mapping[str, float] | None = None,
    extra_s: Callable[[Mapping[str, float], Some], Array | float] = _none,
) -> Problem:
    """The constants of a precision's TileFit. `extra`, `extra_s`: constants and seconds of what else a measurement includes."""

    def predict(constants: Mapping[str, float], some: Some) -> Array:
        fit = present.model_copy(update={c: constants[c] for c in TILE_CONSTANTS})
        return _contraction_s(rows, some, precision, fit, batched, gpu) + extra_s(constants, some)

    return Problem(name, {**constants_of(present, TILE_CONSTANTS), **(extra or {})}, predict, rows.measured, rows.group)


def batch_problem(name: str, rows: Contracted, precision: str, tile: TileFit, present: BatchFit, gpu: Ceilings) -> Problem:
    """The constants of a BatchFit, a precision's TileFit given."""

    def predict(constants: Mapping[str, float], some: Some) -> Array:
        batched = present.model_copy(update=constants)
        return _contraction_s(rows, some, precision, batched_fit(tile, batched), batched, gpu)

    return Problem(name, constants_of(present, BATCH_CONSTANTS), predict, rows.measured, rows.group)


def stream_problem(name: str, rows: Streamed, present: StreamFit, batched: BatchFit, gpu: Ceilings) -> Problem:
    """The constants of a StreamFit."""
    peak = gpu.peak_flops_per_s.get(VECTOR_PRECISION, np.nan)
    bytes_ = from_l2(rows.bytes, rows.hot, batched, gpu.l2_bytes)

    def predict(constants: Mapping[str, float], some: Some) -> Array:
        fit = present.model_copy(update=constants)
        return stream_s(bytes_[some], rows.flops[some], fit, peak, gpu.bandwidth_bytes_per_s)

    return Problem(name, constants_of(present, STREAM_CONSTANTS), predict, rows.measured, rows.group)


def _contraction_s(rows: Contracted, some: Some, precision: str, fit: TileFit, batched: BatchFit, gpu: Ceilings) -> Array:
    work = rows.work.take(some)
    moved = from_l2(work.bytes, rows.hot[some], batched, gpu.l2_bytes)
    work = Contractions(work.batch, work.m, work.n, work.k, work.element_bytes, moved)
    return contraction_s(work, fit, gpu.peak_flops_per_s[precision], gpu.bandwidth_bytes_per_s, gpu.sm_count or 1)

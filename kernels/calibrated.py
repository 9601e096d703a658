"""The calibrated level of the cost model: closed forms with fitted constants, one for contractions and one for streaming kernels.

A library picks, among tiles and splits of k, about the one that ends first; the form does the same. Constants are fractions of a
device's own ceilings and latencies in seconds, so they carry over to another GPU by its peaks, bandwidth and SM count. They come
from configs/gpus/*.yaml, with what they were fitted on; tests/kernels/crossvalidate.py repeats the fits.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, NonNegativeFloat, PositiveFloat

Array = NDArray[np.float64]

# Rows × columns of the result that one block of threads computes: what cuBLAS's kernels offer, and slim ones for few rows or columns.
SQUARISH = [tile for tile in product((64, 128, 256), repeat=2) if tile != (256, 256)]
TILES = (*SQUARISH, (64, 16), (64, 32), (16, 64), (32, 64))
SPLITS = (1, 2, 4, 8, 16)  # ways to divide k among blocks
FULL_TILE = 128 * 128  # results that fill an SM's registers: blocks of smaller tiles share an SM, and their prologues overlap
STEP_BYTES = 128  # of k: the width of a shared-memory row, which the main loop advances by
SATURATION = 1.6  # share of the bandwidth that blocks on x of the SMs draw: min(1, 1.6·x)


class Fit(BaseModel):
    """What every fit says of itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fitted_on: str  # file, rows, what was held fixed
    error: str  # of rows that the fit had not seen, or why there is none


class TileFit(Fit):
    """Constants of `contraction_s`."""

    precisions: tuple[str, ...]  # those it is used for
    launch_s: PositiveFloat  # once a kernel
    efficiency: PositiveFloat  # share of the peak that a full SM's main loop reaches
    bandwidth_fraction: PositiveFloat  # share of the memory bandwidth
    step_s: PositiveFloat  # least time of one step of STEP_BYTES along k
    prologue_s: NonNegativeFloat  # once a turn of the blocks that fit the SMs together
    split_s: NonNegativeFloat  # each doubling of the split: the reduction after it
    norm: PositiveFloat  # p of the p-norm in which overlapping costs add: 1 one after the other, ∞ fully hidden
    split: Literal["any", "one_wave", "none"]  # which splits of k the library chooses from


class BatchFit(Fit):
    """What a batched contraction has besides its precision's TileFit."""

    prologue_s: NonNegativeFloat  # replaces a smaller one
    l2_fraction: PositiveFloat  # share of the L2 within which repeated calls find their data (hot cache only)
    l2_speedup: PositiveFloat  # over the memory bandwidth


class StreamFit(Fit):
    """Constants of `stream_s`."""

    launch_s: PositiveFloat
    bandwidth_fraction: PositiveFloat
    norm: PositiveFloat


class Calibration(BaseModel):
    """All fits of one device."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    matmul: tuple[TileFit, ...]
    batched: BatchFit
    stream: StreamFit

    def matmul_for(self, precision: str) -> TileFit | None:
        """The fit used for a precision, or None."""
        return next((fit for fit in self.matmul if precision in fit.precisions), None)


@dataclass(frozen=True)
class Contractions:
    """Sizes of N contractions (batch, m, k) @ (batch, k, n), each field an array (N,)."""

    batch: Array
    m: Array
    n: Array
    k: Array
    element_bytes: Array  # of an operand
    bytes: Array  # compulsory traffic


def contraction_s(work: Contractions, fit: TileFit, peak_flops_per_s: float, bandwidth_bytes_per_s: float, sm_count: int) -> Array:
    """Seconds of each contraction, (N,): the best over TILES × SPLITS of

        P(waves · P(tile FLOPs / SM rate, steps · step_s) + turns · prologue_s, bytes / drawn bandwidth) + split_s · log2(split)

    plus launch_s, where P is the p-norm, waves = ceil(blocks / SMs) with the splits among the blocks, turns = ceil(blocks / (SMs ·
    resident blocks)), and an SM's rate is its share of efficiency · peak. Source: the form in shared/h100/README.md, with two things
    more: the library's choice of splits is part of a fit, and small blocks share an SM's prologue.
    """
    p = fit.norm
    sm_flops_per_s = fit.efficiency * peak_flops_per_s / sm_count
    memory_p = (work.bytes / (fit.bandwidth_fraction * bandwidth_bytes_per_s)) ** p
    best = np.full(work.m.shape, np.inf)
    for split in SPLITS if fit.split != "none" else (1,):
        k = np.ceil(work.k / split)
        k_p = k**p
        steps_p = (np.ceil(k * work.element_bytes / STEP_BYTES) * fit.step_s) ** p
        best_p = np.full(work.m.shape, np.inf)  # the root is taken once for all tiles: it keeps their order
        for rows, columns in TILES:
            blocks = np.ceil(work.m / rows) * np.ceil(work.n / columns) * work.batch * split
            tile_s = ((2 * rows * columns / sm_flops_per_s) ** p * k_p + steps_p) ** (1 / p)
            drawn = np.minimum(1, SATURATION * blocks / sm_count)
            resident = max(1, FULL_TILE // (rows * columns))
            busy_s = np.ceil(blocks / sm_count) * tile_s + np.ceil(blocks / (sm_count * resident)) * fit.prologue_s
            total_p = busy_s**p + memory_p * drawn**-p
            if split > 1 and fit.split == "one_wave":
                total_p[blocks > sm_count] = np.inf
            np.minimum(best_p, total_p, out=best_p)
        np.minimum(best, best_p ** (1 / p) + fit.split_s * np.log2(split), out=best)
    return best + fit.launch_s


def stream_s(bytes_: Array, flops: Array, fit: StreamFit, peak_flops_per_s: float, bandwidth_bytes_per_s: float) -> Array:
    """Seconds of kernels that read, compute and write once, (N,): P(launch_s, max(bytes / bandwidth, FLOPs / vector peak))."""
    streaming = np.maximum(bytes_ / (fit.bandwidth_fraction * bandwidth_bytes_per_s), flops / peak_flops_per_s)
    return (fit.launch_s**fit.norm + streaming**fit.norm) ** (1 / fit.norm)

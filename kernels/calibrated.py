"""The calibrated level of the cost model: closed forms with fitted constants, one for contractions and one for streaming kernels.

A library picks, among tiles and splits of k, about the one that ends first; the form does the same. Constants are fractions of a
device's own ceilings and latencies in seconds, so they carry over to another GPU by its peaks, bandwidth and SM count. They come
from configs/gpus/*.yaml, with what they were fitted on; docs/cost_model.md has the forms and their errors, `python -m reports
calibrate` fits them.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveFloat

Array = NDArray[np.float64]

# Rows × columns of the result that one block of threads computes: what cuBLAS's kernels offer, and slim ones for few rows or columns.
SQUARISH = [tile for tile in product((64, 128, 256), repeat=2) if tile != (256, 256)]
TILES = (*SQUARISH, (64, 16), (64, 32), (16, 64), (32, 64))
SPLITS = (1, 2, 4, 8, 16)  # ways to divide k among blocks
FULL_TILE = 128 * 128  # results that fill an SM's registers: blocks of smaller tiles share an SM, and their prologues overlap
STEP_BYTES = 128  # of k: the width of a shared-memory row, which the main loop advances by
SATURATION = 1.6  # share of the bandwidth that blocks on x of the SMs draw: min(1, 1.6·x)
L2_SHARE = 0.75  # of the L2, within which repeated calls find their data: half and all of it fit bmm_bf16.csv worse
CHUNK = 4096  # rows computed at once: their arrays stay in a CPU's caches


class Fit(BaseModel):
    """What every fit says of itself."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    fitted_on: str = Field(description="The file and rows that it was fitted on, and the constants that were held fixed.")
    error: str = Field(description="The error on held-out rows, or why there is none.")


class TileFit(Fit):
    """Constants of `contraction_s`."""

    precisions: tuple[str, ...] = Field(description="The precisions that it is used for.")
    launch_s: PositiveFloat = Field(description="The time that each kernel takes before it starts.")
    efficiency: PositiveFloat = Field(description="The share of the peak that a full SM's main loop reaches.")
    bandwidth_fraction: PositiveFloat = Field(description="The share of the memory bandwidth that is reached.")
    step_s: PositiveFloat = Field(description="The least time of one step of 128 bytes along k.")
    prologue_s: NonNegativeFloat = Field(description="The time that each wave of blocks takes besides its steps.")
    split_s: NonNegativeFloat = Field(description="The time that each doubling of the split of k adds: the reduction after it.")
    norm: PositiveFloat = Field(
        description="The p of the p-norm in which overlapping costs add: 1 is one after the other, infinity fully hidden."
    )
    splits_k: bool = Field(description="Whether the library divides k among blocks, as long as all of them fit the SMs together.")


class BatchFit(Fit):
    """What a batched contraction has besides its precision's TileFit, and the L2's speed, which batched rows told."""

    prologue_s: NonNegativeFloat = Field(description="The prologue of a batched contraction; it replaces a smaller one of its precision.")
    l2_speedup: PositiveFloat = Field(description="The speed of the L2 over that of the memory, for hot calls that fit it.")


class StreamFit(Fit):
    """Constants of `stream_s`."""

    launch_s: PositiveFloat = Field(description="The time that each kernel takes before it starts.")
    bandwidth_fraction: PositiveFloat = Field(description="The share of the memory bandwidth that is reached.")
    norm: PositiveFloat = Field(description="The p of the p-norm in which overlapping costs add.")


class Calibration(BaseModel):
    """All fits of one device."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    matmul: tuple[TileFit, ...] = Field(description="A list of fits, each for some precisions.")
    batched: BatchFit = Field(description="The fit of batched contractions, beyond that of a matmul.")
    stream: StreamFit = Field(description="The fit of kernels that read and write once.")

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

    def take(self, some: NDArray[Any] | slice) -> Contractions:
        """Some of them, by index or mask."""
        return Contractions(*(column[some] for column in vars(self).values()))


def contraction_s(work: Contractions, fit: TileFit, peak_flops_per_s: float, bandwidth_bytes_per_s: float, sm_count: int) -> Array:
    """Seconds of each contraction, (N,): the best over TILES × SPLITS of

        P(P(blocks an SM · tile FLOPs / SM rate, waves · steps · step_s) + waves · prologue_s, bytes / drawn bandwidth)

    plus split_s · log2(split), plus launch_s. P is the p-norm; blocks an SM = ceil(blocks / SMs), the splits among the blocks; waves =
    ceil(blocks / (SMs · resident blocks)); an SM's rate is its share of efficiency · peak. Source: the form in the README of the
    measured H100 timings, changed in two ways. Blocks that share an SM hide one another's latencies, so steps and prologues count once a
    wave; and k is split only while one wave holds all blocks.
    """
    chunks = [work.take(slice(i, i + CHUNK)) for i in range(0, len(work.m), CHUNK)]
    times = [_best_s(chunk, fit, peak_flops_per_s / sm_count, bandwidth_bytes_per_s, sm_count) for chunk in chunks]
    return np.concatenate(times) + fit.launch_s if times else np.empty(0)


def _best_s(work: Contractions, fit: TileFit, sm_peak: float, bandwidth_bytes_per_s: float, sm_count: int) -> Array:
    """The best over all tiles and splits, without the launch."""
    p = fit.norm
    memory_s = work.bytes / (fit.bandwidth_fraction * bandwidth_bytes_per_s)
    best = np.full(work.m.shape, np.inf)
    for rows, columns in TILES:
        resident = max(1, FULL_TILE // (rows * columns))
        flop_s = 2 * rows * columns / (fit.efficiency * sm_peak)  # of one step of 1 along k, a block alone on an SM
        tiles = np.ceil(work.m / rows) * np.ceil(work.n / columns) * work.batch
        for split in SPLITS if fit.splits_k else (1,):
            blocks = tiles * split
            some: NDArray[np.intp] | slice = slice(None) if split == 1 else np.flatnonzero(blocks <= sm_count * resident)
            blocks, k = blocks[some], np.ceil(work.k[some] / split)
            if not len(blocks):
                break
            waves = np.ceil(blocks / (sm_count * resident))
            steps_s = waves * np.ceil(k * work.element_bytes[some] / STEP_BYTES) * fit.step_s
            loop_s = norm(np.ceil(blocks / sm_count) * flop_s * k, steps_s, p)
            drawn_s = memory_s[some] / np.minimum(1, SATURATION * blocks / sm_count)
            total_s = norm(loop_s + waves * fit.prologue_s, drawn_s, p) + fit.split_s * np.log2(split)
            best[some] = np.minimum(best[some], total_s)
    return best


def norm(a: Array, b: Array, p: float) -> Array:
    """(aᵖ + bᵖ)^(1/p) of positive numbers, by the larger one: their powers would underflow."""
    larger = np.maximum(a, b)
    return larger * (1 + (np.minimum(a, b) / larger) ** p) ** (1 / p)


def stream_s(bytes_: Array, flops: Array, fit: StreamFit, peak_flops_per_s: float, bandwidth_bytes_per_s: float) -> Array:
    """Seconds of kernels that read, compute and write once, (N,): P(launch_s, max(bytes / bandwidth, FLOPs / vector peak)).

    Nothing to move and nothing to compute (a view) launches nothing: 0.
    """
    streaming = np.maximum(bytes_ / (fit.bandwidth_fraction * bandwidth_bytes_per_s), flops / peak_flops_per_s)
    return np.where((bytes_ == 0) & (flops == 0), 0.0, norm(np.full(streaming.shape, fit.launch_s), streaming, fit.norm))

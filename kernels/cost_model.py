"""What a point should cost in seconds, at three levels, for any device whose ceilings are known. Pure functions of sizes.

    napkin      FLOPs / peak
    roofline    the larger of that and compulsory bytes / memory bandwidth (Williams, Waterman, Patterson 2009)
    calibrated  the forms of kernels/calibrated.py with the device's fitted constants; where it has none, the sum of its parts' rooflines

Everything is vectorised over points. A precision whose peak is not known has NaN at every level and no bound: no figure is guessed.
All implementations of an op are predicted alike: the constants were fitted on vendor libraries.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kernels.calibrated import Array, BatchFit, Calibration, Contractions, TileFit, contraction_s, stream_s
from kernels.gpus import Ceilings
from kernels.op import Cost, OpError, Point
from kernels.parts import VECTOR_PRECISION, Contraction, Part, Stream, Transfer
from kernels.precisions import PRECISIONS
from kernels.registry import OPS, compute_precision

MFU_PEAK_FLOPS_PER_S = 1979e12 / 2  # the convention for every precision: H100 SXM5, bf16, dense; 1979 is the sparse figure

COST_COLUMNS = ("flops", "bytes_read", "bytes_written", "memory_bytes")  # the fields of Cost, in its order
UNKNOWN = "unknown to this version"

Cache = Literal["cold", "hot"]


@dataclass(frozen=True, eq=False)
class Prediction:
    """One array (N,) a column, in the order of the points. Seconds, FLOPs, bytes."""

    flops: NDArray[Any]
    bytes_read: NDArray[Any]
    bytes_written: NDArray[Any]
    memory_bytes: NDArray[Any]
    napkin_s: Array
    roofline_s: Array
    predicted_s: Array
    bound: NDArray[Any]  # "compute", "memory", "overhead" (the launches alone take longer than the roofline) or "" (no peak known)


def napkin_s(flops: ArrayLike, peak_flops_per_s: ArrayLike) -> Array:
    """FLOPs / peak."""
    return np.asarray(flops, float) / np.asarray(peak_flops_per_s, float)


def roofline_s(flops: ArrayLike, bytes_: ArrayLike, peak_flops_per_s: ArrayLike, bandwidth_bytes_per_s: ArrayLike) -> Array:
    """max(FLOPs / peak, bytes / bandwidth)."""
    return np.maximum(napkin_s(flops, peak_flops_per_s), np.asarray(bytes_, float) / np.asarray(bandwidth_bytes_per_s, float))


def predict(points: Sequence[Point], ceilings: Ceilings, cache: Cache = "cold") -> Prediction:
    """Costs and predicted times of points on a Gpu, or on a CPU's measured Ceilings.

    `cache` hot: contractions whose traffic fits the L2 find it there, as when the same buffers are used again and again; such a
    time may lie below the roofline, which counts every byte at the memory's bandwidth.
    """
    return _predict(points, [OPS[point.op].cost(point) for point in points], ceilings, np.full(len(points), cache == "hot"))


def predict_rows(columns: Mapping[str, Sequence[Any]], ceilings: Ceilings) -> Prediction:
    """As `predict`, from columns of rows: op, precision, dims, options, flops, bytes_read, bytes_written, memory_bytes, and cache if any.

    Works on a DataFrame. The costs are the rows' own. A row whose op or dims this version no longer knows has no calibrated level.
    """
    costs = [Cost(*c) for c in zip(*(columns[name] for name in COST_COLUMNS), strict=True)]
    points = [_point(*row) for row in zip(*(columns[name] for name in ("op", "precision", "dims", "options")), strict=True)]
    hot = np.array([cache == "hot" for cache in columns["cache"]] if "cache" in columns else [False] * len(points), bool)
    return _predict(points, costs, ceilings, hot)


def predict_phases(point: Point, ceilings: Ceilings, cache: Cache = "cold") -> dict[str, float]:
    """Seconds of each phase of a call, in the order of its parts; empty where the call has no phases."""
    parts = OPS[point.op].parts(point, OPS[point.op].cost(point))
    names = [name for name in dict.fromkeys(part.phase for part in parts) if name]
    asked = [(point, [part for part in parts if part.phase == name]) for name in names]
    seconds, _ = _summed(asked, ceilings, np.full(len(names), cache == "hot"))
    return dict(zip(names, map(float, seconds), strict=True))


def _point(op: str, precision: str, dims: Mapping[str, int | None], options: Mapping[str, str | None]) -> Point:
    """The point of a row; tables fill the dims and options that a row lacks with None. Unknown ops and dims stream at the row's cost."""
    some_dims = {name: int(size) for name, size in dims.items() if size is not None and not np.isnan(size)}
    some_options = {name: value for name, value in options.items() if isinstance(value, str)}
    unknown = Point("", op, "", precision, {}, {}, label=UNKNOWN)
    if op not in OPS or precision not in PRECISIONS:
        return unknown
    try:
        return OPS[op].point("", precision, some_dims, some_options)
    except OpError:  # dims or options of another version
        return unknown


def _predict(points: Sequence[Point], costs: Sequence[Cost], ceilings: Ceilings, hot: NDArray[np.bool_]) -> Prediction:
    flops, read, written, held = (
        np.array([getattr(c, f) for c in costs]) for f in ("flops", "bytes_read", "bytes_written", "memory_bytes")
    )
    peak = np.array([ceilings.peak_flops_per_s.get(compute_precision(p.op, p.precision), np.nan) for p in points], float)
    napkin = napkin_s(flops, peak)
    roofline = roofline_s(flops, read + written, peak, ceilings.bandwidth_bytes_per_s)
    asked = [(p, [] if p.label == UNKNOWN else OPS[p.op].parts(p, c)) for p, c in zip(points, costs, strict=True)]
    predicted, launches = _summed(asked, ceilings, hot)
    if ceilings.model is None:
        predicted = np.where([p.label == UNKNOWN for p in points], roofline, predicted)
    predicted = np.where(np.isnan(roofline), np.nan, predicted)
    bound = np.where(launches > roofline, "overhead", np.where(napkin >= roofline, "compute", "memory"))
    bound[np.isnan(roofline)] = ""
    return Prediction(flops, read, written, held, napkin, roofline, predicted, bound)


def _summed(asked: Sequence[tuple[Point, Sequence[Part]]], ceilings: Ceilings, hot: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Seconds and the launches in them, each (N,), at the best level that the device has constants for."""
    if ceilings.model is None or ceilings.sm_count is None:
        return _rooflines(asked, ceilings), np.zeros(len(asked))
    return _calibrated(asked, ceilings, ceilings.model, ceilings.sm_count, hot)


def link_bytes_per_s(ceilings: Ceilings) -> float:
    """From the host's memory; the memory's own bandwidth, which no link exceeds, where there is none or it is not known."""
    return ceilings.host_link_bytes_per_s or ceilings.bandwidth_bytes_per_s


def _rooflines(asked: Sequence[tuple[Point, Sequence[Part]]], ceilings: Ceilings) -> Array:
    """Seconds of each point, (N,): the sum of its parts' rooflines, one after the other; NaN where a peak is not known."""
    index, flops, bytes_, peaks, bandwidths, times = [], [], [], [], [], []
    for i, (point, parts) in enumerate(asked):
        for part in parts:
            precision = point.precision if isinstance(part, Contraction) else VECTOR_PRECISION
            index.append(i)
            flops.append(2 * part.batch * part.m * part.n * part.k if isinstance(part, Contraction) else getattr(part, "flops", 0))
            bytes_.append(part.bytes)
            peaks.append(ceilings.peak_flops_per_s.get(precision, np.nan))
            bandwidths.append(link_bytes_per_s(ceilings) if isinstance(part, Transfer) else ceilings.bandwidth_bytes_per_s)
            times.append(part.times)
    total = np.zeros(len(asked))
    seconds = roofline_s(np.array(flops, float), np.array(bytes_, float), np.array(peaks, float), np.array(bandwidths, float))
    np.add.at(total, np.array(index, int), np.array(times, float) * seconds)
    return total


def _calibrated(
    asked: Sequence[tuple[Point, Sequence[Part]]], ceilings: Ceilings, model: Calibration, sm_count: int, hot: NDArray[np.bool_]
) -> tuple[Array, Array]:
    """Seconds and the launches in them, each (N,): the sums over each point's parts, each kind of part computed at once."""
    total, launches = np.zeros(len(asked)), np.zeros(len(asked))
    contractions: dict[tuple[str, bool], list[tuple[int, Contraction]]] = {}
    streams: list[tuple[int, Stream]] = []
    for i, (point, parts) in enumerate(asked):
        if point.label == UNKNOWN:
            total[i] = np.nan
            continue
        for part in parts:
            if isinstance(part, Transfer):
                total[i] += part.times * (model.stream.launch_s + part.bytes / link_bytes_per_s(ceilings))
                launches[i] += part.times * model.stream.launch_s
            elif isinstance(part, Stream):
                streams.append((i, part))
            else:
                contractions.setdefault((point.precision, part.batched), []).append((i, part))
    for (precision, is_batched), found in contractions.items():
        index = np.array([i for i, _ in found])
        fit = model.matmul_for(precision)
        peak = ceilings.peak_flops_per_s.get(precision)
        if fit is None or peak is None:
            total[index] = np.nan
            continue
        fit = batched_fit(fit, model.batched) if is_batched else fit
        work = Contractions(*_columns((c for _, c in found), ("batch", "m", "n", "k", "element_bytes", "bytes")))
        faster = np.where(hot[index], l2_speedup(work.bytes, model.batched, ceilings.l2_bytes), 1.0)
        work = Contractions(work.batch, work.m, work.n, work.k, work.element_bytes, work.bytes / faster)
        (times,) = _columns((c for _, c in found), ("times",))
        np.add.at(total, index, times * contraction_s(work, fit, peak, ceilings.bandwidth_bytes_per_s, sm_count))
        np.add.at(launches, index, times * fit.launch_s)
    vector_peak = ceilings.peak_flops_per_s.get(VECTOR_PRECISION)
    if streams:
        index = np.array([i for i, _ in streams])
        bytes_, flops, times = _columns((s for _, s in streams), ("bytes", "flops", "times"))
        seconds = stream_s(bytes_, flops, model.stream, vector_peak or np.nan, ceilings.bandwidth_bytes_per_s)
        np.add.at(total, index, times * seconds)
        np.add.at(launches, index, times * model.stream.launch_s)
    return total, launches


def _columns(found: Iterable[Part], names: tuple[str, ...]) -> list[Array]:
    rows = [[getattr(part, name) for name in names] for part in found]
    return list(np.array(rows, float).T)


def batched_fit(fit: TileFit, batched: BatchFit) -> TileFit:
    """A precision's constants as a batched kernel has them."""
    return fit.model_copy(update={"prologue_s": max(fit.prologue_s, batched.prologue_s)})


def l2_speedup(traffic: Array, batched: BatchFit, l2_bytes: int | None) -> Array:
    """How much faster than the memory's bandwidth traffic flows when its data stay in the L2 between calls; 1 where they do not fit."""
    return np.where(traffic <= batched.l2_fraction * (l2_bytes or 0), batched.l2_speedup, 1.0)

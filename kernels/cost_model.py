"""What a point should cost in seconds, at three levels, for any device whose ceilings are known. Pure functions of sizes.

    napkin      FLOPs / peak
    roofline    the larger of that and compulsory bytes / memory bandwidth (Williams, Waterman, Patterson 2009)
    calibrated  the forms of kernels/calibrated.py and kernels/cpu_model.py with the device's fitted constants; where it has
                none, the sum of its parts' rooflines, and on a CPU the calls of its operators where their time was measured

Everything is vectorised over points. A precision whose peak is not known has NaN at every level and no bound: no figure is guessed.
All implementations of an op are predicted alike: the constants were fitted on vendor libraries. Optimizers' operator calls on a CPU are
counted by implementation, since a loop over the tensors calls thousands.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from kernels.calibrated import L2_SHARE, Array, BatchFit, Calibration, Contractions, TileFit, contraction_s, stream_s
from kernels.collector import collector_paused
from kernels.cpu_model import cpu_s, operators
from kernels.gpus import Ceilings, Gpu
from kernels.op import Cost, Point
from kernels.parts import VECTOR_PRECISION, Contraction, Part, Stream
from kernels.registry import OPS, compute_precision, point_of
from kernels.support import DeviceKind

MFU_PEAK_FLOPS_PER_S = 1979e12 / 2  # the convention for every precision: H100 SXM5, bf16, dense; 1979 is the sparse figure

COST_COLUMNS = ("flops", "bytes_read", "bytes_written", "memory_bytes")  # the fields of Cost, in its order
UNKNOWN = "unknown to this version"

SIZES = ("batch", "m", "n", "k", "element_bytes")  # of a Contraction

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
    bound: NDArray[Any]  # "compute", "memory", "overhead" (launches take longer than the roofline, or nothing but the host works) or ""

    def take(self, where: NDArray[np.intp]) -> Prediction:
        """Rows by their index, as often as it names them."""
        return Prediction(*(column[where] for column in vars(self).values()))


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
    found, where = _distinct([_work(point) for point in points])
    distinct = [points[i] for i in found]
    with collector_paused():  # costs and parts form no cycles, and searching for them takes a third of the time
        costs = [OPS[point.op].cost(point, where_of(ceilings)) for point in distinct]
        return _predict(distinct, costs, np.full(len(distinct), cache == "hot"), ceilings).take(where)


def _work(point: Point) -> tuple[Hashable, ...]:
    """What a point's costs and times depend on."""
    by = point.impl if OPS[point.op].predicted_by_impl else ""
    return point.op, by, point.precision, *point.dims.values(), *point.options.values()


def where_of(ceilings: Ceilings) -> DeviceKind:
    """A data sheet is a GPU's, measured ceilings are a CPU's."""
    return "cuda" if isinstance(ceilings, Gpu) else "cpu"


def _distinct(keys: Sequence[Hashable]) -> tuple[list[int], NDArray[np.intp]]:
    """Where each distinct key stands first, and for every key which of these it is: implementations of one work are predicted once."""
    order: dict[Hashable, int] = {}
    where = np.array([order.setdefault(key, len(order)) for key in keys], np.intp)
    first = np.zeros(len(order), np.intp)
    first[where[::-1]] = np.arange(len(keys) - 1, -1, -1)
    return first.tolist(), where


def predict_rows(columns: Mapping[str, Sequence[Any]], ceilings: Ceilings) -> Prediction:
    """As `predict`, from columns of rows: op, precision, dims, options, flops, bytes_read, bytes_written, memory_bytes, and if any impl
    and cache.

    Works on a DataFrame. The costs are the rows' own. A row whose op or dims this version no longer knows has no calibrated level.
    """
    return _predict(*_read(columns), ceilings)


def _read(columns: Mapping[str, Sequence[Any]]) -> tuple[list[Point], list[Cost], NDArray[np.bool_]]:
    """Points, costs and whether the caches were hot, of each row."""
    costs = [Cost(*c) for c in zip(*(columns[name] for name in COST_COLUMNS), strict=True)]
    impls = columns["impl"] if "impl" in columns else [""] * len(costs)
    points = [_point(*row) for row in zip(impls, *(columns[name] for name in ("op", "precision", "dims", "options")), strict=True)]
    return points, costs, np.array([cache == "hot" for cache in columns["cache"]] if "cache" in columns else [False] * len(points), bool)


@dataclass(frozen=True, eq=False)
class Terms:
    """What a predicted time is made of, one array (N,) each, seconds: they add up to `predicted_s`."""

    at_peak_s: Array  # FLOPs / peak
    tiles_s: Array  # what computing takes beyond that: tiles and waves that are not full, a main loop below the peak
    traffic_s: Array  # what moving bytes adds
    launches_s: Array  # what launches, on a CPU calls, add


def predict_terms(columns: Mapping[str, Sequence[Any]], ceilings: Ceilings) -> Terms:
    """The terms of rows' predicted times, from the columns that `predict_rows` takes; NaN where a peak is not known.

    Each is what the time falls by without it: the launches are taken away first, then the traffic.
    """
    rows, free = _read(columns), _without_launches(ceilings)
    every = _predict(*rows, ceilings)
    no_launch = _predict(*rows, free).predicted_s
    computing = _predict(*rows, _without_traffic(free)).predicted_s
    return Terms(every.napkin_s, computing - every.napkin_s, no_launch - computing, every.predicted_s - no_launch)


NOTHING_S, NO_LIMIT = 1e-30, 1e30  # a launch without a time, a bandwidth without a limit: the forms divide by both


def _without_launches(ceilings: Ceilings) -> Ceilings:
    """Ceilings whose launches, and whose calls, take no time."""
    update: dict[str, Any] = {"call_s": None, "step_call_s": None}
    if ceilings.model is not None:
        fits = tuple(fit.model_copy(update={"launch_s": NOTHING_S}) for fit in ceilings.model.matmul)
        stream = ceilings.model.stream.model_copy(update={"launch_s": NOTHING_S})
        update["model"] = ceilings.model.model_copy(update={"matmul": fits, "stream": stream})
    if ceilings.cpu_model is not None:
        update["cpu_model"] = ceilings.cpu_model.model_copy(update={"call_s": 0.0})
    return ceilings.model_copy(update=update)


def _without_traffic(ceilings: Ceilings) -> Ceilings:
    """Ceilings to which bytes are free."""
    update: dict[str, Any] = {"bandwidth_bytes_per_s": NO_LIMIT, "host_link_bytes_per_s": None, "caches": ()}
    if ceilings.cpu_model is not None:
        update["cpu_model"] = ceilings.cpu_model.model_copy(update={"bytes_per_s": {}, "operand_bytes_per_s": {}})
    return ceilings.model_copy(update=update)


def predict_phases(point: Point, ceilings: Ceilings, cache: Cache = "cold") -> dict[str, float]:
    """Seconds of each phase of a call, in the order of its parts; empty where the call has no phases."""
    cost = OPS[point.op].cost(point, where_of(ceilings))
    parts = OPS[point.op].parts(point, cost)
    names = [name for name in dict.fromkeys(part.phase for part in parts) if name]
    asked = [(point, [part for part in parts if part.phase == name]) for name in names]
    found = _calibrated(asked, ceilings, np.full(len(names), cache == "hot"))
    seconds = (found or _uncalibrated(asked, ceilings, np.full(len(names), float(cost.memory_bytes))))[0]
    return dict(zip(names, map(float, seconds), strict=True))


def _point(impl: str, op: str, precision: str, dims: Mapping[str, int | None], options: Mapping[str, str | None]) -> Point:
    """The point of a row. One with ops or dims of another version is predicted as a stream of the row's cost."""
    found = point_of({"op": op, "impl": impl, "precision": precision, "dims": dims, "options": options})
    return found or Point("", op, "", precision, {}, {}, label=UNKNOWN)


def _predict(points: Sequence[Point], costs: Sequence[Cost], hot: NDArray[np.bool_], ceilings: Ceilings) -> Prediction:
    flops, read, written, held = (
        np.array([getattr(c, f) for c in costs]) for f in ("flops", "bytes_read", "bytes_written", "memory_bytes")
    )
    peak = np.array([ceilings.peak_flops_per_s.get(compute_precision(p.op, p.precision), np.nan) for p in points], float)
    napkin = napkin_s(flops, peak)
    roofline = roofline_s(flops, read + written, peak, ceilings.bandwidth_bytes_per_s)
    asked = [(p, [] if p.label == UNKNOWN else OPS[p.op].parts(p, c)) for p, c in zip(points, costs, strict=True)]
    predicted, launches = _calibrated(asked, ceilings, hot) or _uncalibrated(asked, ceilings, held, roofline)
    predicted = np.where(np.isnan(roofline), np.nan, predicted)
    bound = np.where((launches > roofline) | (roofline == 0), "overhead", np.where(napkin >= roofline, "compute", "memory"))
    bound[np.isnan(roofline)] = ""
    return Prediction(flops, read, written, held, napkin, roofline, predicted, bound)


Asked = Sequence[tuple[Point, Sequence[Part]]]


def _calibrated(asked: Asked, ceilings: Ceilings, hot: NDArray[np.bool_]) -> tuple[Array, Array] | None:
    """Seconds and the launches in them, each (N,); NaN for points that this version does not know. None: nothing was fitted."""
    unknown = np.array([point.label == UNKNOWN for point, _ in asked], bool)
    if ceilings.cpu_model is not None:
        known = [(point, parts) for point, parts in asked if point.label != UNKNOWN]
        total, launches = np.full(len(asked), np.nan), np.zeros(len(asked))
        total[~unknown], launches[~unknown] = cpu_s(known, ceilings.cpu_model, ceilings.peak_flops_per_s, ceilings.bandwidth_bytes_per_s)
        return total, launches
    if ceilings.model is None or ceilings.sm_count is None:
        return None
    total, launches = parts_s(asked, ceilings, ceilings.model, ceilings.sm_count, hot)
    return np.where(unknown, np.nan, total), launches


def _uncalibrated(asked: Asked, ceilings: Ceilings, held: Array, unknown_s: Array | None = None) -> tuple[Array, Array]:
    """Seconds and the calls in them, each (N,): rooflines, and on a CPU a call's measured time for each operator."""
    each = [ceilings.operator_s(point.op in OPS and OPS[point.op].many_launches) for point, _ in asked]
    counts = [len(parts) if point.label == UNKNOWN else operators(point, parts) for point, parts in asked]
    calls = np.array(counts, float) * each
    return rooflines_s(asked, ceilings, held, unknown_s) + calls, calls


def rooflines_s(asked: Asked, ceilings: Ceilings, held: Array | None = None, unknown_s: Array | None = None) -> Array:
    """Seconds of each point, (N,): the sum of its parts' rooflines; NaN where a peak is not known.

    `held`: bytes, (N,), which on a CPU a cache may hold, whose bandwidth then counts; None: the memory's does. `unknown_s`: of points of
    another version, whose parts nobody knows.
    """
    found = [(i, point, part) for i, (point, parts) in enumerate(asked) for part in parts]
    levels = [ceilings.bandwidth_bytes_per_s] * len(asked) if held is None else [ceilings.level(size)[1] for size in held]
    limits = [_ceilings(point, part, ceilings, levels[i]) for i, point, part in found]
    flops, bytes_, peaks, bandwidths = np.array(limits, float).reshape(-1, 4).T
    total = np.zeros(len(asked))
    times = np.array([part.times for _, _, part in found], float)
    np.add.at(total, [i for i, _, _ in found], times * roofline_s(flops, bytes_, peaks, bandwidths))
    return total if unknown_s is None else np.where([point.label == UNKNOWN for point, _ in asked], unknown_s, total)


def _ceilings(point: Point, part: Part, ceilings: Ceilings, level_bytes_per_s: float) -> tuple[float, float, float, float]:
    """FLOPs and bytes of a part, and what bounds each."""
    if isinstance(part, Contraction):
        peak = ceilings.peak_flops_per_s.get(point.precision, np.nan)
        return 2 * part.batch * part.m * part.n * part.k, part.bytes, peak, level_bytes_per_s
    bandwidth = link_bytes_per_s(ceilings) if part.over_link and ceilings.host_link_bytes_per_s else level_bytes_per_s
    return part.flops, part.bytes, ceilings.peak_flops_per_s.get(VECTOR_PRECISION, np.nan), bandwidth


def link_bytes_per_s(ceilings: Ceilings) -> float:
    """From the host's memory; the memory's own bandwidth, which no link exceeds, where there is none or it is not known."""
    return ceilings.host_link_bytes_per_s or ceilings.bandwidth_bytes_per_s


def parts_s(asked: Asked, ceilings: Ceilings, model: Calibration, sm_count: int, hot: NDArray[np.bool_]) -> tuple[Array, Array]:
    """Seconds of points on a GPU and the launches in them, each (N,): the sums over their parts, each kind of part computed at once."""
    total, launches = np.zeros(len(asked)), np.zeros(len(asked))
    contractions: dict[tuple[str, bool], list[tuple[int, Contraction]]] = {}
    streams: list[tuple[int, Stream]] = []
    for i, (point, parts) in enumerate(asked):
        for part in parts:
            if isinstance(part, Stream):
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
        batch, m, n, k, element, bytes_, times = _columns((c for _, c in found), (*SIZES, "bytes", "times"))
        work = Contractions(batch, m, n, k, element, from_l2(bytes_, hot[index], model.batched, ceilings.l2_bytes))
        np.add.at(total, index, times * contraction_s(work, fit, peak, ceilings.bandwidth_bytes_per_s, sm_count))
        np.add.at(launches, index, times * fit.launch_s)
    if streams:
        index = np.array([i for i, _ in streams])
        bytes_, flops, times, over_link = _columns((s for _, s in streams), ("bytes", "flops", "times", "over_link"))
        bytes_ = from_l2(bytes_, hot[index], model.batched, ceilings.l2_bytes)
        bytes_ = np.where(over_link, bytes_ * ceilings.bandwidth_bytes_per_s / link_bytes_per_s(ceilings), bytes_)
        peak = ceilings.peak_flops_per_s.get(VECTOR_PRECISION, np.nan)
        np.add.at(total, index, times * stream_s(bytes_, flops, model.stream, peak, ceilings.bandwidth_bytes_per_s))
        np.add.at(launches, index, np.where((bytes_ > 0) | (flops > 0), times * model.stream.launch_s, 0.0))
    return total, launches


def _columns(found: Iterable[Part], names: tuple[str, ...]) -> list[Array]:
    get = attrgetter(*names)
    return list(np.array([get(part) for part in found], float).T)


def batched_fit(fit: TileFit, batched: BatchFit) -> TileFit:
    """A precision's constants as a batched kernel has them."""
    return fit.model_copy(update={"prologue_s": max(fit.prologue_s, batched.prologue_s)})


def from_l2(traffic: Array, hot: NDArray[np.bool_], batched: BatchFit, l2_bytes: int | None) -> Array:
    """The bytes that the memory would move in the time that the L2 takes: fewer where a hot call's data fit the L2."""
    return np.where(hot & (traffic <= L2_SHARE * (l2_bytes or 0)), traffic / batched.l2_speedup, traffic)

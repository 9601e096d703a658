"""Columns that follow from a row and a device's ceilings. Nothing of this is stored in the journal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from benches.row import Row
from benches.timing.physics import bound_s
from kernels.cost_model import MFU_PEAK_FLOPS_PER_S, predict_rows, predict_terms
from kernels.gpus import DEFAULT_GPU, Ceilings, Gpu, load_gpu
from kernels.loop_work import LoopWork
from kernels.op import Cost
from kernels.registry import point_of
from reports.environment import Environment

BEYOND_CACHES = 256 * 2**20  # bytes: more than the caches of any one CPU socket's usual size


def derive(rows: Sequence[Row], base: pd.DataFrame, environment: Environment) -> dict[str, pd.Series]:
    """Derived columns by name. A point without a time has null rates; one without a ceiling has null fractions and predictions. None
    is infinite."""
    ceilings = environment.ceilings
    traffic = base["bytes_read"].astype(float) + base["bytes_written"]  # int64 would wrap around without a word
    counted = base["flops"].where((base["flops"] > 0) | (base["cost_source"] != "counted"))  # 0: operators that no counter knows
    flops_per_s = counted / base["median_s"]
    bytes_per_s = traffic / base["median_s"]
    levels = _levels(base, environment)
    peaks = base["precision"].map(dict(ceilings.peak_flops_per_s) if ceilings else {}).astype(float)
    columns = {
        "ci_half_width": (base["ci_high_s"] - base["ci_low_s"]) / 2 / base["median_s"],
        "flops_per_s": flops_per_s,
        "mfu": flops_per_s / MFU_PEAK_FLOPS_PER_S,
        "mfu_at_clock": flops_per_s / MFU_PEAK_FLOPS_PER_S * _clock_ratio(base, ceilings),
        "peak_fraction": flops_per_s / peaks,
        "bytes_per_s": bytes_per_s,
        "memory_level": levels["name"].astype(object),
        "bandwidth_fraction": bytes_per_s / levels["bandwidth"],
        "intensity": (counted / traffic).where(traffic > 0),
        "tensor_memory_bytes": base["peak_memory_bytes"] - base["scratch_bytes"].fillna(0),
        "memory_over_analytic": base["peak_memory_bytes"] / base["memory_bytes"],
        **_predictions(rows, base, ceilings),
    }
    columns |= _terms(rows, base, ceilings)
    columns["measured_over_predicted"] = base["median_s"] / columns["predicted_s"]
    columns |= _kernel_bounds(rows, base, ceilings)
    columns["measured_over_bound"] = base["median_s"] / columns["bound_s"]
    if environment.kind == "cpu":  # a laptop's run says what an H100 would do
        there = _predictions(rows, base, load_gpu(DEFAULT_GPU))
        columns |= {"h100_predicted_s": there["predicted_s"], "h100_bound": there["bound"]}
    return {name: values if values.dtype == object else values.where(np.isfinite(values)) for name, values in columns.items()}


def _levels(base: pd.DataFrame, environment: Environment) -> pd.DataFrame:
    """`name` and `bandwidth` of the level that each point's working set fits: a CPU's caches or memory, a GPU's memory.

    A CPU run of an earlier version measured no caches: what may have fitted one is set against nothing.
    """
    ceilings = environment.ceilings
    if ceilings is None:
        return pd.DataFrame({"name": [None] * len(base), "bandwidth": np.nan}, base.index)
    if environment.kind != "cpu":
        return pd.DataFrame({"name": [None] * len(base), "bandwidth": ceilings.bandwidth_bytes_per_s}, base.index)
    found = pd.DataFrame([ceilings.level(size) for size in base["memory_bytes"]], base.index, columns=["name", "bandwidth"]).astype(
        {"name": object}
    )
    known = bool(ceilings.caches) | (base["memory_bytes"] >= BEYOND_CACHES)
    return found.assign(name=found["name"].where(known, None), bandwidth=found["bandwidth"].where(known))


def _clock_ratio(base: pd.DataFrame, ceilings: Ceilings | None) -> pd.Series | float:
    """Boost clock over the clock actually run; null where either is not known."""
    return ceilings.boost_clock_hz / base["sm_clock_hz"] if isinstance(ceilings, Gpu) else np.nan


def _predictions(rows: Sequence[Row], base: pd.DataFrame, ceilings: Ceilings | None) -> dict[str, pd.Series]:
    """The cost model's levels; null where no peak is known."""
    names = ("napkin_s", "roofline_s", "predicted_s")
    if ceilings is None:
        return {name: pd.Series(np.nan, base.index) for name in names} | {"bound": pd.Series(None, base.index, dtype=object)}
    found = predict_rows(_costs(rows, base), ceilings)
    bound = pd.Series(found.bound, base.index, dtype=object)
    return {name: pd.Series(getattr(found, name), base.index) for name in names} | {"bound": bound.where(bound != "", None)}


def _costs(rows: Sequence[Row], base: pd.DataFrame) -> dict[str, list[Any]]:
    """What the cost model reads of rows."""
    columns = {
        name: base[name].tolist() for name in ("op", "impl", "precision", "flops", "bytes_read", "bytes_written", "memory_bytes", "cache")
    }
    return {**columns, "dims": [row.dims for row in rows], "options": [row.options for row in rows]}


def _kernel_bounds(rows: Sequence[Row], base: pd.DataFrame, ceilings: Ceilings | None) -> dict[str, pd.Series]:
    """The least time of the kernels that ran, by their machine code, and what limits it; null where that was not recorded."""
    found = [_kernel_bound(row, ceilings) if row.loops and isinstance(ceilings, Gpu) else (np.nan, None) for row in rows]
    seconds, limits = zip(*found, strict=True) if found else ((), ())
    return {
        "bound_s": pd.Series(seconds, base.index, dtype=float),
        "bound_limited_by": pd.Series(limits, base.index, dtype=object),
    }


def _kernel_bound(row: Row, gpu: Gpu) -> tuple[float, str | None]:
    point = point_of(row)
    try:
        loops = [LoopWork(**loop) for loop in row.loops]
    except TypeError:  # a newer version's, with other figures
        return np.nan, None
    cost = Cost(row.flops, row.bytes_read, row.bytes_written, row.memory_bytes)
    return (point and bound_s(point, cost, gpu, row.cache or "cold", row.config, loops)) or (np.nan, None)


def _terms(rows: Sequence[Row], base: pd.DataFrame, ceilings: Ceilings | None) -> dict[str, pd.Series]:
    """What a measured time is made of beside napkin_s, so that all add up to it; null where it was not timed or no peak is known.

    A slower clock lengthens what is computed, as far as computing is what takes the time.
    """
    names = ("tiles_s", "traffic_s", "launches_s", "clock_s", "unexplained_s")
    if ceilings is None:
        return {name: pd.Series(np.nan, base.index) for name in names}
    found = predict_terms(_costs(rows, base), ceilings)
    computing = found.at_peak_s + found.tiles_s
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.nan_to_num(np.clip(computing / (computing + found.traffic_s), 0, 1))
    slower = pd.Series(_clock_ratio(base, ceilings), base.index, dtype=float).fillna(1.0) - 1
    clock = slower * computing * share
    model = pd.DataFrame(
        {"tiles_s": found.tiles_s, "traffic_s": found.traffic_s, "launches_s": found.launches_s, "clock_s": clock}, base.index
    )
    rest = base["median_s"] - found.at_peak_s - model.sum(axis=1, skipna=False)
    return {str(name): model[name].where(rest.notna()) for name in model} | {"unexplained_s": rest}

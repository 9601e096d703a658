"""Timings that others measured on H100s, as problems for the fit. Their folder is named by MICROBENCH_H100_DATA (sources in its README).

Some of these measurements include more than the kernel; what that adds is fitted beside the model, and is not part of a prediction.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from kernels.calibrated import Calibration, Contractions, TileFit
from kernels.gpus import load_gpu
from reports.calibrate.fit import Array, Problem, Some
from reports.calibrate.gpu import Contracted, Streamed, batch_problem, stream_problem, tile_problem
from studies.crossvalidate import VARIABLE

GPU = load_gpu("h100_sxm5")
if GPU.model is None:
    raise RuntimeError("configs/gpus/h100_sxm5.yaml has no fitted constants to begin with")
PRESENT: Calibration = GPU.model

SCALE_GROUP = 128  # values of k that share an fp32 scale in block-scaled fp8


@dataclass(frozen=True)
class Study:
    """A problem, the constants that are fitted in it, and the m of its rows; the other constants are what an earlier study found."""

    problem: Problem
    free: tuple[str, ...]
    m: Array
    limit: float  # the error to stay below, a fraction
    note: str  # what the measurement includes, or what is held


def table(name: str) -> pd.DataFrame:
    """The rows of one file. Raises LookupError where VARIABLE does not name a folder."""
    folder = os.environ.get(VARIABLE)
    if not folder or not Path(folder).is_dir():
        why = f"{folder} is not a folder" if folder else "it is not set"
        raise LookupError(f"{VARIABLE} must name the folder of the measured H100 timings: {why}")
    return pd.read_csv(Path(folder) / name)


def _table(name: str) -> pd.DataFrame:
    rows = table(name)
    return rows if "batch" in rows else rows.assign(batch=1)


def _groups(rows: pd.DataFrame, by: Sequence[str]) -> np.ndarray:
    return rows.groupby(list(by)).ngroup().to_numpy(np.intp)


def _contracted(rows: pd.DataFrame, element: int, out: int, group: Sequence[str] = ("n", "k"), hot: bool = False) -> Contracted:
    batch, m, n, k = (rows[c].to_numpy(float) for c in ("batch", "m", "n", "k"))
    traffic = batch * (element * (m * k + k * n) + out * m * n)
    work = Contractions(batch, m, n, k, np.full(len(rows), float(element)), traffic)
    return Contracted(work, np.full(len(rows), hot), rows.latency_us.to_numpy() * 1e-6, _groups(rows, group))


def _tile(precision: str) -> TileFit:
    fit = PRESENT.matmul_for(precision)
    if fit is None:
        raise RuntimeError(f"configs/gpus/h100_sxm5.yaml has no fit for {precision}")
    return fit


def bf16() -> Study:
    rows = _table("gemm_bf16.csv")
    problem = tile_problem("matmul bf16", _contracted(rows, 2, 2), "bf16", _tile("bf16"), PRESENT.batched, GPU)
    note = "cuBLAS in a CUDA graph, activations reused and the L2 not flushed"
    return Study(problem, tuple(problem.present), rows.m.to_numpy(float), 0.075, note)


def bf16_work() -> Contractions:
    """The sizes of `bf16`'s rows, in its order."""
    return _contracted(_table("gemm_bf16.csv"), 2, 2).work


def _shared(precision: str, bf16: Mapping[str, float], names: Sequence[str]) -> TileFit:
    return _tile(precision).model_copy(update={name: bf16[name] for name in names})


def fp8(shared: Mapping[str, float]) -> Study:
    """Launch, bandwidth and reduction as in bf16: nine constants at once cannot be told apart on these rows."""
    rows = _table("gemm_fp8_block.csv")
    mk = (rows.m * rows.k).to_numpy(float)
    moved = mk * (2 + 1 + 4 / SCALE_GROUP)  # bf16 activations read, fp8 ones and their scales written

    def quantise_s(constants: Mapping[str, float], some: Some) -> Array:
        return constants["quantise_s"] + moved[some] / (constants["quantise_bandwidth"] * GPU.bandwidth_bytes_per_s)

    present = _shared("fp8_e4m3", shared, ("launch_s", "bandwidth_fraction", "split_s"))
    extra = {"quantise_s": 1.4e-6, "quantise_bandwidth": 0.8}
    rows_ = _contracted(rows, 1, 2)
    problem = tile_problem("matmul fp8 block", rows_, "fp8_e4m3", present, PRESENT.batched, GPU, extra, quantise_s)
    free = ("efficiency", "step_s", "prologue_s", "norm", *extra)
    return Study(problem, free, rows.m.to_numpy(float), 0.13, "includes quantising the activations, which is fitted and not predicted")


def fp32(shared: Mapping[str, float]) -> Study:
    """Launch, bandwidth, reduction and norm as in bf16: every row has m ≥ 512, where they hardly show."""
    rows = _table("gemm_fp32.csv")

    def eager_s(constants: Mapping[str, float], some: Some) -> float:
        return constants["eager_s"]

    present = _shared("fp32", shared, ("launch_s", "bandwidth_fraction", "split_s", "norm"))
    rows_ = _contracted(rows, 4, 4)
    problem = tile_problem("matmul fp32", rows_, "fp32", present, PRESENT.batched, GPU, {"eager_s": 3e-5}, eager_s)
    note = "includes what the host takes to launch eagerly between two events, which is fitted and not predicted"
    return Study(problem, ("efficiency", "step_s", "prologue_s", "eager_s"), rows.m.to_numpy(float), 0.10, note)


def batched(shared: Mapping[str, float]) -> Study:
    """The L2 was warm. There are only two (n, k) pairs, so groups are whole (batch, n, k)."""
    rows = _table("bmm_bf16.csv")
    tile = _tile("bf16").model_copy(update=dict(shared))
    problem = batch_problem("batched bf16, hot", _contracted(rows, 2, 2, ("batch", "n", "k"), hot=True), "bf16", tile, PRESENT.batched, GPU)
    return Study(problem, tuple(problem.present), rows.m.to_numpy(float), 0.13, "the same buffers again and again: a warm L2")


def stream(op: str) -> Study:
    """`add` runs at the memory's speed; `mlp_act`, a gated activation that loads 2 bytes a thread at a time, at that of its requests."""
    rows = table("elementwise_fp16.csv").query("op == @op")
    zero, cold = np.zeros(len(rows)), np.zeros(len(rows), bool)
    streamed = Streamed(rows.bytes.to_numpy(float), zero, cold, rows.latency_us.to_numpy() * 1e-6, _groups(rows, ("tokens", "bytes")))
    problem = stream_problem(f"elementwise fp16 {op}", streamed, PRESENT.stream, PRESENT.batched, GPU)
    notes = {"add": "", "mlp_act": "another library's kernel, with a bandwidth of its own that is not part of a prediction"}
    return Study(problem, tuple(problem.present), rows.tokens.to_numpy(float), 0.12, f"1 us resolution; {notes[op]}".rstrip("; "))

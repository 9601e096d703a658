"""Repeats the fits behind configs/gpus/h100_sxm5.yaml and prints their cross-validated errors: `python tests/kernels/crossvalidate.py`.

Data: ../shared/h100 beside this checkout (sources and licences in its README). Each fold holds whole (n, k) pairs, so no shape of a
pair that is judged was fitted; constants are found by least squares on log(predicted / measured) under a soft L1 loss, because a
prediction's error is a ratio and the data have outliers.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import numpy as np  # noqa: E402
import pandas as pd  # noqa: E402
from scipy.optimize import least_squares  # noqa: E402

from kernels.calibrated import BatchFit, Contractions, StreamFit, TileFit, contraction_s, stream_s  # noqa: E402
from kernels.cost_model import batched_fit, l2_speedup  # noqa: E402
from kernels.gpus import load_gpu  # noqa: E402

DATA = ROOT.parent / "shared" / "h100"
GPU = load_gpu("h100_sxm5")
REGIMES = ((1, 16), (17, 256), (257, 2048), (2049, 10**9))
FOLDS = 5
HIGHEST = {
    "norm": 20,  # above, a p-norm is the maximum, and its powers underflow
    "bandwidth_fraction": 0.98,  # outputs left in the L2 would have a fit promise more than the bandwidth
}
TOLD = {"fitted_on": "-", "error": "-"}


@dataclass(frozen=True)
class Problem:
    """Rows of one file, and a model of them: constants (positive) → seconds of the rows that `pick` selects."""

    name: str
    rows: pd.DataFrame
    start: Mapping[str, float]
    predict: Callable[[Mapping[str, float], pd.DataFrame], np.ndarray]
    group: tuple[str, ...] = ("n", "k")

    @property
    def measured(self) -> np.ndarray:
        return self.rows.latency_us.to_numpy() * 1e-6

    def fit(self, rows: pd.DataFrame) -> dict[str, float]:
        names = list(self.start)
        measured = rows.latency_us.to_numpy() * 1e-6

        def residual(logs: np.ndarray) -> np.ndarray:
            return np.log(self.predict(dict(zip(names, np.exp(logs), strict=True)), rows) / measured)

        highest = [np.log(HIGHEST.get(name, np.inf)) for name in names]
        start = np.log(list(self.start.values()))
        found = least_squares(residual, start, bounds=(-np.inf, highest), loss="soft_l1", f_scale=0.05, diff_step=1e-3, max_nfev=100)
        return dict(zip(names, map(float, np.exp(found.x)), strict=True))

    def cross_validated(self) -> np.ndarray:
        """Seconds of every row, predicted by the fit of the folds that do not hold it."""
        group = self.rows.groupby(list(self.group)).ngroup().to_numpy()
        fold = np.random.default_rng(0).permutation(group.max() + 1)[group] % FOLDS
        out = np.empty(len(self.rows))
        for f in range(FOLDS):
            out[fold == f] = self.predict(self.fit(self.rows[fold != f]), self.rows[fold == f])
        return out


def errors(predicted: np.ndarray, measured: np.ndarray) -> tuple[float, float]:
    """Mean absolute percentage error, and geometric mean of predicted / measured."""
    ratio = predicted / measured
    return float(100 * np.mean(np.abs(ratio - 1))), float(np.exp(np.mean(np.log(ratio))))


def gemm_rows(name: str, element: int, out: int) -> pd.DataFrame:
    rows = pd.read_csv(DATA / name)
    if "batch" not in rows:
        rows["batch"] = 1
    m, n, k = (rows[c].astype(float) for c in "mnk")
    return rows.assign(element=float(element), traffic=rows.batch * (element * (m * k + k * n) + out * m * n))


def contractions(rows: pd.DataFrame, traffic: np.ndarray | None = None) -> Contractions:
    columns = [rows[c].to_numpy(float) for c in ("batch", "m", "n", "k", "element", "traffic")]
    return Contractions(*columns[:5], columns[5] if traffic is None else traffic)


def seconds(fit: TileFit, rows: pd.DataFrame, precision: str, traffic: np.ndarray | None = None) -> np.ndarray:
    work = contractions(rows, traffic)
    return contraction_s(work, fit, GPU.peak_flops_per_s[precision], GPU.bandwidth_bytes_per_s, GPU.sm_count)


def tile_problem(name: str, rows: pd.DataFrame, precision: str, split: str, start: dict[str, float], fixed: dict[str, float]) -> Problem:
    def predict(constants: Mapping[str, float], rows: pd.DataFrame) -> np.ndarray:
        own = {k: v for k, v in constants.items() if not k.startswith("quantise")}
        fit = TileFit(precisions=(precision,), split=split, **TOLD, **fixed, **own)
        extra = 0.0
        if "quantise_s" in constants:  # bf16 activations read, fp8 ones and their scales (fp32, one in 128) written, in the same time
            mk = (rows.m * rows.k).to_numpy(float)
            extra = constants["quantise_s"] + mk * (3 + 4 / 128) / (constants["quantise_bandwidth"] * GPU.bandwidth_bytes_per_s)
        return seconds(fit, rows, precision) + extra

    return Problem(name, rows, start, predict)


def bf16() -> Problem:
    start = {"launch_s": 2.6e-6, "efficiency": 0.8, "bandwidth_fraction": 0.82, "step_s": 1e-7, "prologue_s": 1e-7}
    start |= {"split_s": 7e-7, "norm": 3.6}
    return tile_problem("matmul bf16", gemm_rows("gemm_bf16.csv", 2, 2), "bf16", "any", start, {})


def fp8(shared: dict[str, float]) -> Problem:
    """Launch, bandwidth, reduction and norm as in bf16: nine constants at once cannot be told apart on these rows."""
    start = {"efficiency": 0.65, "step_s": 1.4e-7, "prologue_s": 3e-7, "quantise_s": 1.4e-6, "quantise_bandwidth": 0.8}
    fixed = {c: shared[c] for c in ("launch_s", "bandwidth_fraction", "split_s", "norm")}
    return tile_problem("matmul fp8 block", gemm_rows("gemm_fp8_block.csv", 1, 2), "fp8_e4m3", "none", start, fixed)


def fp32(shared: dict[str, float]) -> Problem:
    """Launch, bandwidth and reduction as in bf16: every row has m ≥ 512, where none of them shows."""
    start = {"efficiency": 0.95, "step_s": 1e-6, "prologue_s": 1e-5, "norm": 1.3}
    fixed = {c: shared[c] for c in ("launch_s", "bandwidth_fraction", "split_s")}
    return tile_problem("matmul fp32", gemm_rows("gemm_fp32.csv", 4, 4), "fp32", "one_wave", start, fixed)


def batched(shared: dict[str, float], hot: bool) -> Problem:
    """The rows were measured with a warm L2. There are only two (n, k) pairs: folds hold whole (batch, n, k)."""
    fit = TileFit(precisions=("bf16",), split="any", **TOLD, **shared)

    def predict(constants: Mapping[str, float], rows: pd.DataFrame) -> np.ndarray:
        batch = BatchFit(**TOLD, **constants)
        traffic = rows.traffic.to_numpy()
        if hot:
            traffic = traffic / l2_speedup(traffic, batch, GPU.l2_bytes)
        return seconds(batched_fit(fit, batch), rows, "bf16", traffic)

    start = {"prologue_s": 1.4e-6, "l2_fraction": 0.76, "l2_speedup": 2.1}
    return Problem(f"batched bf16, {'hot' if hot else 'cold'} model", gemm_rows("bmm_bf16.csv", 2, 2), start, predict, ("batch", "n", "k"))


def stream(op: str) -> Problem:
    rows = pd.read_csv(DATA / "elementwise_fp16.csv").query("op == @op").rename(columns={"tokens": "m"})

    def predict(constants: Mapping[str, float], rows: pd.DataFrame) -> np.ndarray:
        traffic = rows.bytes.to_numpy()
        fit = StreamFit(**TOLD, **constants)
        return stream_s(traffic, np.zeros(len(rows)), fit, GPU.peak_flops_per_s["fp32"], GPU.bandwidth_bytes_per_s)

    return Problem(f"elementwise fp16 {op}", rows, {"launch_s": 2e-6, "bandwidth_fraction": 0.95, "norm": 2.3}, predict, ("m",))


def show(problem: Problem) -> dict[str, float]:
    """Prints a problem's table and returns the constants fitted on all of its rows."""
    constants = problem.fit(problem.rows)
    measured, predicted = problem.measured, problem.cross_validated()
    mape, ratio = errors(predicted, measured)
    fitted, _ = errors(problem.predict(constants, problem.rows), measured)
    print(
        f"{problem.name}: {len(measured)} rows, fitted on all {fitted:.2f}%, cross-validated {mape:.2f}%, geometric mean ratio {ratio:.3f}"
    )
    m = problem.rows.m.to_numpy()
    for low, high in REGIMES:
        here = (m >= low) & (m <= high)
        if here.any():
            mape, ratio = errors(predicted[here], measured[here])
            print(f"    m {low:>5} – {high if high < 10**9 else '∞':<5} {here.sum():5} rows  MAPE {mape:5.2f}%  ratio {ratio:.3f}")
    print("    " + "  ".join(f"{name} {value:.4g}" for name, value in constants.items()))
    return constants


def main() -> None:
    if not DATA.is_dir():
        raise SystemExit(f"error: no measured timings at {DATA}")
    shared = show(bf16())
    show(fp8(shared))
    show(fp32(shared))
    hot = batched(shared, hot=True)
    constants = show(hot)
    cold = batched(shared, hot=False)
    print("    same constants, cold model: MAPE {:.2f}%, ratio {:.3f}".format(*errors(cold.predict(constants, cold.rows), cold.measured)))
    show(stream("add"))
    show(stream("mlp_act"))


if __name__ == "__main__":
    main()

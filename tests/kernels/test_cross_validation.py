"""The cost model's errors on timings measured on H100s, in the folder that MICROBENCH_H100_DATA names; they are not in the repository."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from kernels.cost_model import Cache, predict
from kernels.gpus import load_gpu
from kernels.registry import OPS
from reports.calibrate.quality import by_regime, quality
from studies.crossvalidate import VARIABLE, problems
from studies.crossvalidate.__main__ import main
from studies.crossvalidate.study import BORDERS, Result, everything, extrapolated

H100 = load_gpu("h100_sxm5")


@pytest.fixture(scope="module")
def results() -> dict[str, Result]:
    return {result.study.problem.name: result for result in everything()}


@pytest.mark.slow
@pytest.mark.timings
@pytest.mark.parametrize(
    ("name", "precision", "cache", "mape", "ratio"),
    [
        ("gemm_bf16.csv", "bf16", "cold", 0.075, (0.97, 1.03)),
        ("gemm_fp32.csv", "fp32", "cold", 0.10, (0.94, 1.03)),  # the rows hold the host's launch, which is not predicted
        ("bmm_bf16.csv", "bf16", "hot", 0.08, (0.97, 1.03)),
        ("bmm_bf16.csv", "bf16", "cold", 0.13, (0.97, 1.12)),
    ],
)
def test_shipped_constants(name: str, precision: str, cache: Cache, mape: float, ratio: tuple[float, float]) -> None:
    rows = problems.table(name)
    dims = [d for d in ("batch", "m", "n", "k") if d in rows]
    points = [OPS["matmul"].point("torch", precision, dict(zip(dims, map(int, size), strict=True))) for size in rows[dims].to_numpy()]
    found = quality(name, "all", predict(points, H100, cache).predicted_s, rows.latency_us.to_numpy() * 1e-6, held_out=False)
    assert found.mape <= mape
    assert ratio[0] <= found.ratio <= ratio[1]


@pytest.mark.timings
def test_shipped_stream_constants() -> None:
    rows = problems.table("elementwise_fp16.csv").query("op == 'add'")
    sizes = rows[["tokens", "hidden"]].to_numpy()
    points = [OPS["elementwise"].point("torch", "fp16", {"m": int(m), "n": int(n)}, {"function": "add"}) for m, n in sizes]
    assert [OPS["elementwise"].cost(p, "cuda").bytes for p in points] == rows["bytes"].astype(int).tolist()
    found = quality("add", "all", predict(points, H100).predicted_s, rows.latency_us.to_numpy() * 1e-6, held_out=False)
    assert found.mape <= 0.12
    assert 0.95 <= found.ratio <= 1.05


@pytest.mark.slow
@pytest.mark.timings
def test_errors_on_rows_not_fitted(results: dict[str, Result]) -> None:
    assert {name: result.held_out[0].mape for name, result in results.items() if not result.met} == {}
    bf16 = results["matmul bf16"].held_out
    assert 0.97 <= bf16[0].ratio <= 1.03
    assert {q.regime: q.mape for q in bf16 if q.mape > 0.09} == {}
    assert len(bf16) == 4


@pytest.mark.slow
@pytest.mark.timings
def test_constants_are_those_that_are_shipped(results: dict[str, Result]) -> None:
    model = problems.PRESENT
    shipped = {"matmul bf16": model.matmul_for("bf16"), "matmul fp8 block": model.matmul_for("fp8_e4m3")}
    shipped |= {"matmul fp32": model.matmul_for("fp32"), "batched bf16, hot": model.batched, "elementwise fp16 add": model.stream}
    for name, fit in shipped.items():
        found = {constant: value for constant, value in results[name].constants.items() if hasattr(fit, constant)}
        assert found == pytest.approx({constant: getattr(fit, constant) for constant in found}, rel=0.02), name
        assert len(found) >= 2


@pytest.mark.slow
@pytest.mark.timings
def test_beyond_the_rows_that_were_fitted() -> None:
    """The form carries over a border of m, n or k: what a fit on one side says of the other."""
    found = extrapolated(problems.bf16(), problems.bf16_work())
    assert len(found) == len(BORDERS)
    for q in found:
        assert q.mape <= 0.11, (q.name, q.regime)
        assert 0.94 <= q.ratio <= 1.06, (q.name, q.regime)


@pytest.mark.parametrize("folder", [None, "", "nowhere"])
def test_without_the_timings_the_study_names_the_variable_to_set(
    folder: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(VARIABLE, raising=False)
    if folder is not None:
        monkeypatch.setenv(VARIABLE, folder)
    assert main([]) == 2
    why = "nowhere is not a folder" if folder else "it is not set"
    assert capsys.readouterr().err == f"error: {VARIABLE} must name the folder of the measured H100 timings: {why}\n"


def test_regimes_are_the_issues() -> None:
    m = np.array([1, 64, 65, 1024, 1025, 4096], float)
    found = by_regime("x", m, np.ones(6), np.ones(6), held_out=True)
    assert [(q.regime, q.rows) for q in found] == [("all", 6), ("m ≤ 64", 2), ("65–1024", 2), ("m > 1024", 2)]

"""`python -m reports calibrate`: constants that were planted are found, and those that rows cannot tell are refused."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import yaml

from benches.row import Row
from kernels.calibrated import Calibration
from kernels.cost_model import parts_s
from kernels.gpus import Gpu, load_gpu
from kernels.op import Point
from kernels.registry import OPS
from reports.__main__ import main
from reports.calibrate.fit import Problem, cross_validated, identify
from reports.calibrate.gpu import TILE_CONSTANTS
from reports.calibrate.gpu_runs import calibrate_gpu
from reports.calibrate.observations import load_runs
from reports.calibrate.quality import quality
from tests.reports.synthetic import NOISE, ON_CPU, MakeRun, elementwise, matmul, rows_of

H100 = load_gpu("h100_sxm5")
PRESENT = H100.model
assert PRESENT is not None
ON_H100 = {"device_kind": "cuda", "device_name": "NVIDIA H100 80GB HBM3", "gpu": "h100_sxm5", "started_utc": "2026-11-23T18:00:00+00:00"}


def on_gpu(points: Sequence[Point], model: Calibration, hot: bool = False) -> np.ndarray:
    asked = [(p, OPS[p.op].parts(p, OPS[p.op].cost(p, "cuda"))) for p in points]
    return parts_s(asked, H100, model, H100.sm_count, np.full(len(points), hot))[0]


def shapes(count: int, seed: int = 1) -> list[tuple[int, int, int]]:
    """Thin and square, short and long, whole (n, k) pairs at several m."""
    rng = np.random.default_rng(seed)
    pairs = [(int(2 ** rng.uniform(5, 14)), int(2 ** rng.uniform(6, 16))) for _ in range(count // 8)]
    return [(int(2 ** (13 * (i + rng.uniform()) / 8)) + i, n, k) for n, k in pairs for i in range(8)]


def planted() -> Calibration:
    """Every constant of bf16 and of streams moved."""
    bf16 = PRESENT.matmul[0].model_copy(
        update={"launch_s": 3.1e-6, "efficiency": 0.70, "bandwidth_fraction": 0.90, "step_s": 1.2e-7, "prologue_s": 8e-7, "split_s": 1.1e-6}
    )
    stream = PRESENT.stream.model_copy(update={"launch_s": 2.6e-6, "bandwidth_fraction": 0.88, "norm": 2.0})
    return PRESENT.model_copy(update={"matmul": (bf16, *PRESENT.matmul[1:]), "stream": stream})


@pytest.mark.slow
def test_planted_constants_of_a_gpu_are_found(make_run: MakeRun) -> None:
    truth = planted()
    points = [matmul(*size) for size in shapes(480)]
    points += [elementwise(int(2 ** (i / 4)), 1009) for i in range(60)]
    run = make_run("cuda", rows=rows_of(points, on_gpu(points, truth)), environment=ON_H100)
    found, fits, qualities = calibrate_gpu(load_runs([run], "torch", ("ok",)), H100, PRESENT)
    bf16, expected = found.matmul_for("bf16"), truth.matmul_for("bf16")
    assert bf16 is not None
    assert expected is not None
    tolerance = {"efficiency": 0.03, "bandwidth_fraction": 0.03, "launch_s": 0.05, "split_s": 0.15, "step_s": 0.2, "prologue_s": 0.3}
    for constant, within in tolerance.items():
        assert getattr(bf16, constant) == pytest.approx(getattr(expected, constant), rel=within), constant
    assert found.stream.bandwidth_fraction == pytest.approx(0.88, rel=0.03)
    assert found.stream.launch_s == pytest.approx(2.6e-6, rel=0.05)
    assert [fit.name for fit in fits] == ["matmul bf16", "streams"]
    every = {q.name: q for q in qualities if q.regime == "all"}
    assert every["matmul bf16"].held_out
    assert every["matmul bf16"].mape < 1.3 * NOISE * np.sqrt(2 / np.pi) + 0.01
    assert found.matmul_for("fp16") == PRESENT.matmul[0].model_copy(update={"precisions": ("fp16",)}), "no fp16 row: as before"
    assert "480 rows" in bf16.fitted_on
    assert "of held-out rows" in bf16.error


@pytest.mark.slow
def test_what_no_row_feels_is_refused_and_stays(make_run: MakeRun) -> None:
    """Large square products say how fast the units are, and nothing of launches, splits, or the memory."""
    points = [matmul(m, n, k) for m in (4096, 6144, 8192) for n in (4096, 8192) for k in (4096, 8192, 16384)]
    run = make_run("cuda", rows=rows_of(points, on_gpu(points, planted())), environment=ON_H100)
    found, (fit,), _ = calibrate_gpu(load_runs([run], "torch", ("ok",)), H100, PRESENT)
    refused = {refusal.name: refusal.why for refusal in fit.found.refused}
    assert {"launch_s", "split_s", "prologue_s", "norm", "bandwidth_fraction"} <= set(refused)
    assert "none of 18 rows depends on it" in refused["split_s"]
    bf16 = found.matmul_for("bf16")
    assert bf16 is not None
    for constant in refused:
        assert getattr(bf16, constant) == getattr(PRESENT.matmul[0], constant)
    assert bf16.efficiency == pytest.approx(0.70, rel=0.05)
    assert "kept from before: " in bf16.fitted_on


@pytest.mark.slow
@pytest.mark.parametrize("splits_k", [True, False])
def test_whether_a_library_splits_k_shows_in_its_rows(make_run: MakeRun, splits_k: bool) -> None:
    truth = PRESENT.model_copy(update={"matmul": tuple(fit.model_copy(update={"splits_k": splits_k}) for fit in PRESENT.matmul)})
    points = [matmul(m, n, k) for m in (1, 16, 128, 1024) for n in (64, 128, 1009) for k in (512, 4096, 32768)]
    run = make_run("cuda", rows=rows_of(points, on_gpu(points, truth)), environment=ON_H100)
    found, _, _ = calibrate_gpu(load_runs([run], "torch", ("ok",)), H100, PRESENT)
    bf16 = found.matmul_for("bf16")
    assert bf16 is not None
    assert bf16.splits_k == splits_k


@pytest.mark.slow
def test_hot_rows_tell_the_l2_and_cold_ones_do_not(make_run: MakeRun) -> None:
    truth = PRESENT.model_copy(update={"batched": PRESENT.batched.model_copy(update={"prologue_s": 3e-6, "l2_speedup": 2.6})})
    points = [matmul(m, n, 256, b=b) for b in (4, 8, 16) for m in (128, 512, 1000) for n in (128, 256, 1024)]
    for hot in (True, False):
        rows = rows_of(points, on_gpu(points, truth, hot), cache="hot" if hot else "cold")
        found, (fit,), _ = calibrate_gpu(load_runs([make_run("cuda", rows=rows, environment=ON_H100)], "torch", ("ok",)), H100, PRESENT)
        assert found.batched.prologue_s == pytest.approx(3e-6, rel=0.1)
        assert [refusal.name for refusal in fit.found.refused] == ([] if hot else ["l2_speedup"])
        assert found.batched.l2_speedup == pytest.approx(2.6, rel=0.15) if hot else PRESENT.batched.l2_speedup


def line(slope: float, measured: np.ndarray, twins: bool = False) -> Problem:
    """Seconds = a + b·x, or a + b where x is always 1: then only their sum can be told."""
    x = np.ones(len(measured)) if twins else np.linspace(1, 10, len(measured))
    return Problem(
        "line", {"a": 1.0, "b": slope}, lambda c, some: c["a"] + c["b"] * x[some], measured, np.arange(len(measured), dtype=np.intp)
    )


def test_constants_that_rows_feel_alike_are_refused_but_one() -> None:
    found = identify(line(1.0, np.full(40, 5.0), twins=True))
    assert found.fitted == ("a",)
    assert found.constants == {"a": pytest.approx(4.0, rel=1e-3), "b": 1.0}
    assert "cannot be separated from that of a" in found.refused[0].why


def test_an_exact_line_is_found() -> None:
    x = np.linspace(1, 10, 40)
    found = identify(line(1.0, 3.0 + 0.5 * x))
    assert found.refused == ()
    assert found.constants == {"a": pytest.approx(3.0, rel=1e-3), "b": pytest.approx(0.5, rel=1e-3)}


def test_rows_are_held_out_only_where_there_are_enough() -> None:
    assert cross_validated(line(1.0, np.full(7, 5.0)), ("a", "b")) is None
    assert cross_validated(line(1.0, 1 + np.linspace(1, 10, 8)), ("a", "b")) == pytest.approx(1 + np.linspace(1, 10, 8), rel=1e-3)


def test_quality_by_hand() -> None:
    q = quality("x", "all", np.array([1.0, 2.0, 0.5, 1.4]), np.ones(4), held_out=False)
    assert q.mape == pytest.approx((0 + 1 + 0.5 + 0.4) / 4)
    assert q.ratio == pytest.approx(1.4**0.25)
    assert q.within == 0.5
    assert q.worst in (2.0, 0.5)


@pytest.mark.slow
def test_the_command_writes_a_gpus_file(make_run: MakeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    points = [matmul(*size) for size in shapes(160)]
    run = make_run("cuda", rows=rows_of(points, on_gpu(points, planted())), environment=ON_H100)
    out = tmp_path / "h100_sxm5.yaml"
    assert main(["calibrate", str(run), "-o", str(out), "--judge", str(run)]) == 0
    printed = capsys.readouterr().out
    assert printed.splitlines()[-1] == str(out)
    assert "matmul bf16" in printed
    assert "held out" in printed
    written = Gpu.model_validate(yaml.safe_load(out.read_text(encoding="utf-8")))
    assert written.model_copy(update={"model": None, "sources": {}}) == H100.model_copy(update={"model": None, "sources": {}})
    assert written.model is not None
    fit = written.model.matmul_for("bf16")
    assert fit is not None
    assert fit.efficiency == pytest.approx(0.70, rel=0.05)
    assert "2026-11-23" in fit.fitted_on
    assert set(TILE_CONSTANTS) <= set(fit.model_dump())


@pytest.mark.slow
def test_rows_that_do_not_count_are_said(make_run: MakeRun, capsys: pytest.CaptureFixture[str]) -> None:
    points = [matmul(*size) for size in shapes(40)]
    rows = rows_of(points, on_gpu(points, PRESENT))
    noisy = [row.model_copy(update={"status": "noisy", "point": f"{row.point}-noisy", "median_s": 1.0}) for row in rows[:7]]
    triton = [row.model_copy(update={"impl": "triton", "point": f"{row.point}-triton"}) for row in rows[:5]]
    host = [row.model_copy(update={"mode": "host", "point": f"{row.point}-host", "median_s": 1.0}) for row in rows[:3]]
    run = make_run("cuda", rows=rows + noisy + triton + host, environment=ON_H100)
    assert main(["calibrate", str(run)]) == 0
    printed = capsys.readouterr().out
    assert "7 timed rows left out: noisy (--noisy)" in printed
    assert "5 timed rows left out: implementation triton (--impl)" in printed
    assert "3 timed rows left out: timed at the host's pace (mode host)" in printed


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rows", "environment", "more", "says"),
    [
        ([], ON_H100, [], "no rows to fit"),
        (None, {**ON_H100, "gpu": None, "device_name": "NVIDIA H900"}, [], "no file in configs/gpus names"),
        (None, ON_H100, ["--gpu", "h100_sxm"], "unknown GPU 'h100_sxm' (did you mean h100_sxm5?)"),
        (None, ON_H100, ["--gpu", "./h900.yaml"], "h900.yaml:1: GPU: file not found"),
        (None, ON_CPU, ["--gpu", "h100_sxm5"], "was measured on a CPU, not on h100_sxm5"),
        (None, {**ON_CPU, "cpu": {}}, [], "does not name the CPU"),
        (None, {**ON_CPU, "cpu": {"model": "x", "threads": 0}}, [], "does not name the CPU"),
        (None, ON_H100, ["--impl", "triton"], "no rows to fit (40 timed rows left out: implementation torch (--impl))"),
        (None, ON_H100, ["--judge", "nowhere"], "nowhere: no such run directory"),
        (None, ON_H100, ["-o", "missing/out.yaml"], "missing"),
    ],
)
def test_unusable_input_is_one_line_and_exit_2(
    make_run: MakeRun,
    rows: list[Row] | None,
    environment: dict[str, object],
    more: list[str],
    says: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    points = [matmul(*size) for size in shapes(40)]
    run = make_run("cuda", rows=rows_of(points, on_gpu(points, PRESENT)) if rows is None else rows, environment=environment)
    assert main(["calibrate", str(run), *more]) == 2
    captured = capsys.readouterr()
    assert len(captured.err.splitlines()) == 1
    assert captured.err.startswith("error: ")
    assert says in captured.err


@pytest.mark.slow
def test_a_devices_name_stays_a_name(make_run: MakeRun, tmp_path: Path) -> None:
    """What environment.json calls a device is shown and written, and is neither markup nor YAML."""
    points = [matmul(*size) for size in shapes(40)]
    environment = {**ON_H100, "device_name": "an [/red] H100\nboards: [mine]", "gpu": "h100_sxm5"}
    out = tmp_path / "out.yaml"
    assert (
        main(["calibrate", str(make_run("cuda", rows=rows_of(points, on_gpu(points, PRESENT)), environment=environment)), "-o", str(out)])
        == 0
    )
    assert yaml.safe_load(out.read_text(encoding="utf-8"))["boards"] == ["NVIDIA H100 80GB HBM3"]


def test_runs_of_different_devices_are_not_mixed(make_run: MakeRun, capsys: pytest.CaptureFixture[str]) -> None:
    points = [matmul(*size) for size in shapes(40)]
    rows = rows_of(points, on_gpu(points, PRESENT))
    a = make_run("cuda", size="a", rows=rows, environment=ON_H100)
    b = make_run("cuda", size="b", rows=rows, environment={**ON_H100, "device_name": "NVIDIA H200", "gpu": "h200_sxm"})
    assert main(["calibrate", str(a), str(b)]) == 2
    assert "runs on different devices: NVIDIA H100 80GB HBM3, NVIDIA H200" in capsys.readouterr().err

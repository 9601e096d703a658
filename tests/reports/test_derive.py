"""Derived columns against figures worked out by hand."""

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from benches.row import Row, new_row
from kernels.gpus import load_gpu
from kernels.registry import OPS
from reports.report import load_report

CPU = {
    "device_kind": "cpu",
    "ceilings": {"peak_flops_per_s": {"fp32": 1e11}, "bandwidth_bytes_per_s": 2e10},
}
H100 = {"device_kind": "cuda", "device_name": "NVIDIA H100 80GB HBM3", "gpu": None}


def matmul(precision: str = "bf16", impl: str = "torch", status: str = "ok", size: int = 4096, **fields: object) -> Row:
    point = OPS["matmul"].point(impl, precision, {"m": size, "n": size, "k": size}, {"layout": "nt"})
    return new_row(point, OPS["matmul"].cost(point, "cuda"), status, **fields)  # type: ignore[arg-type]


def frame_of(make_run: Callable[..., Path], rows: list[Row], environment: dict[str, object]) -> pd.DataFrame:
    return load_report(make_run(rows=rows, environment=environment)).frame


def test_a_bf16_matmul_on_an_h100(make_run: Callable[..., Path]) -> None:
    # 2·4096³ = 137,438,953,472 FLOPs; 3 · 4096² · 2 = 100,663,296 bytes; at 200 µs 687.19e12 FLOP/s and 503.3e9 B/s.
    row = frame_of(make_run, [matmul(median_s=200e-6, ci_low_s=198e-6, ci_high_s=204e-6)], H100).iloc[0]
    assert row["flops_per_s"] == pytest.approx(137_438_953_472 / 200e-6)
    assert row["mfu"] == pytest.approx(0.694486, rel=1e-5)
    assert row["peak_fraction"] == pytest.approx(0.694486, rel=1e-5)
    assert row["bytes_per_s"] == pytest.approx(503.31648e9)
    assert row["bandwidth_fraction"] == pytest.approx(0.150244, rel=1e-5)
    assert row["intensity"] == pytest.approx(4096 / 3)
    assert row["napkin_s"] == pytest.approx(138.8974e-6, rel=1e-5)
    assert row["roofline_s"] == pytest.approx(138.8974e-6, rel=1e-5)
    assert row["ci_half_width"] == pytest.approx(0.015)
    assert row["measured_over_predicted"] == pytest.approx(200e-6 / row["predicted_s"])
    assert row["bound"] == "compute"


@pytest.mark.parametrize(("precision", "peak"), [("fp32", 67e12), ("tf32", 494.7e12), ("fp16", 989.5e12), ("fp8_e4m3", 1979e12)])
def test_mfu_has_one_peak_and_peak_fraction_the_precisions_own(make_run: Callable[..., Path], precision: str, peak: float) -> None:
    row = frame_of(make_run, [matmul(precision, median_s=1e-3)], H100).iloc[0]
    assert row["mfu"] == pytest.approx(137_438_953_472e3 / 989.5e12)
    assert row["peak_fraction"] == pytest.approx(137_438_953_472e3 / peak)


def test_a_cpu_is_set_against_its_measured_ceilings_and_says_what_an_h100_would_do(make_run: Callable[..., Path]) -> None:
    rows = [matmul("fp32", size=1024, median_s=0.05), matmul("bf16", size=1024, median_s=0.05)]
    fp32, bf16 = (row for _, row in frame_of(make_run, rows, CPU).iterrows())
    assert fp32["peak_fraction"] == pytest.approx(2 * 1024**3 / 0.05 / 1e11)
    assert fp32["roofline_s"] == pytest.approx(2 * 1024**3 / 1e11)
    assert fp32["predicted_s"] == fp32["roofline_s"], "a CPU has no fitted constants"
    assert pd.isna(bf16["peak_fraction"]), "no ceiling of bf16 was measured, and none is guessed"
    assert pd.isna(bf16["predicted_s"])
    assert pd.isna(bf16["bound"])
    assert fp32["h100_predicted_s"] >= 2 * 1024**3 / 67e12
    assert 0 < bf16["h100_predicted_s"] < fp32["h100_predicted_s"]


def test_a_gpu_run_has_no_h100_columns(make_run: Callable[..., Path]) -> None:
    assert not [name for name in frame_of(make_run, [matmul(median_s=1e-3)], H100) if str(name).startswith("h100")]


def test_a_point_without_a_time_has_no_rates_but_a_prediction(make_run: Callable[..., Path]) -> None:
    row = frame_of(make_run, [matmul(status="wrong", reason="element (0, 0)")], H100).iloc[0]
    timed = ["median_s", "flops_per_s", "mfu", "peak_fraction", "bytes_per_s", "bandwidth_fraction", "measured_over_predicted"]
    assert row[timed].isna().all()
    assert row["predicted_s"] > 0
    assert row["intensity"] > 0


def test_nothing_is_guessed_for_an_unknown_board(make_run: Callable[..., Path]) -> None:
    unknown = {"device_kind": "cuda", "device_name": "NVIDIA H100 80GB HBM9"}
    row = frame_of(make_run, [matmul(median_s=1e-3)], unknown).iloc[0]
    assert row["flops_per_s"] > 0
    assert row["mfu"] > 0, "the convention's peak is no claim about the board"
    assert row[["peak_fraction", "bandwidth_fraction", "napkin_s", "roofline_s", "predicted_s", "bound"]].isna().all()


@pytest.mark.parametrize("l2_bytes", [None, 0, -1, True, "60", 52_428_800])
def test_a_run_without_an_l2_of_its_own_takes_the_files(make_run: Callable[..., Path], l2_bytes: object) -> None:
    environment = load_report(make_run("cuda", rows=[matmul(median_s=1e-3)], environment={**H100, "l2_bytes": l2_bytes})).environment
    assert environment.ceilings == load_gpu("h100_sxm5")
    assert environment.ceilings_from == "configs/gpus/h100_sxm5.yaml"


def test_the_l2_of_the_board_that_was_measured_is_what_its_page_predicts_with(make_run: Callable[..., Path]) -> None:
    notes = ["this board's L2 holds 62,914,560 bytes", 7]
    found = load_report(make_run("cuda", rows=[matmul(median_s=1e-3)], environment={**H100, "l2_bytes": 62_914_560, "notes": notes}))
    assert found.environment.ceilings is not None
    assert found.environment.ceilings.l2_bytes == 62_914_560
    assert "own L2 of 62,914,560 bytes" in found.environment.ceilings_from
    assert found.problems == notes[:1]


def test_a_row_of_an_op_that_this_version_lacks_keeps_its_row(make_run: Callable[..., Path]) -> None:
    stranger = matmul(median_s=1e-3).model_copy(update={"op": "attention", "point": "attention-torch-bf16-1"})
    assert len(frame_of(make_run, [stranger], H100)) == 1


CACHES = [
    {"name": "L2", "bytes": 2**20, "bandwidth_bytes_per_s": 8e10},
    {"name": "L3", "bytes": 2**25, "bandwidth_bytes_per_s": 4e10},
]


@pytest.mark.parametrize(
    ("size", "caches", "level", "bandwidth"),
    [
        (127, CACHES, "L2", 8e10),  # 3 · 127² · 4 = 193,548 bytes
        (1024, CACHES, "L3", 4e10),  # 12.6 MB
        (2048, CACHES, "memory", 1e10),  # 50 MB
        (1024, [], None, None),  # an earlier version's run: this may have fitted a cache
        (8192, [], "memory", 1e10),
    ],
)
def test_a_share_of_the_bandwidth_is_of_the_level_that_the_working_set_fits(
    make_run: Callable[..., Path], size: int, caches: list[dict[str, object]], level: str | None, bandwidth: float | None
) -> None:
    environment = {**CPU, "ceilings": {**CPU["ceilings"], "bandwidth_bytes_per_s": 1e10, "caches": caches}}  # type: ignore[dict-item]
    row = frame_of(make_run, [matmul("fp32", size=size, median_s=1e-3)], environment).iloc[0]
    assert (row["memory_level"] if level else pd.isna(row["memory_level"])) == (level or True)
    assert (
        row["bandwidth_fraction"] == pytest.approx(3 * size**2 * 4 / 1e-3 / bandwidth) if bandwidth else pd.isna(row["bandwidth_fraction"])
    )


def test_a_cpus_prediction_counts_the_calls_of_its_operators(make_run: Callable[..., Path]) -> None:
    environment = {**CPU, "ceilings": {**CPU["ceilings"], "call_s": 2e-6}}  # type: ignore[dict-item]
    row = frame_of(make_run, [matmul("fp32", size=8, median_s=3e-6)], environment).iloc[0]
    assert row["predicted_s"] == pytest.approx(row["roofline_s"] + 2e-6)
    assert row["bound"] == "overhead"


# One pass of 128 × 256 × 64 in bf16: 1,024 clocks of the matrix units, of which an SM has 4 tiles of 64 passes at 4096³.
LOOP = {"flops": 2 * 128 * 256 * 64, "instructions": 832, "shared_bytes": 81_920, "loaded_bytes": 0}
CONFIG = "tma 128x256x64 w8 s4"


@pytest.mark.parametrize(
    ("loops", "environment", "bound"),
    [
        ([LOOP], H100, 4 * 64 * 1024 / 1.98e9),
        ([], H100, None),
        ([LOOP | {"of_a_newer_version": 1}], H100, None),
        ([LOOP], CPU, None),
        ([LOOP], {"device_kind": "cuda", "device_name": "an unknown board", "gpu": None}, None),
    ],
)
def test_a_triton_row_is_set_against_the_bound_of_its_own_kernel(
    make_run: Callable[..., Path], loops: list[dict[str, float]], environment: dict[str, object], bound: float | None
) -> None:
    rows = [matmul(impl="triton", config=CONFIG, median_s=200e-6, loops=loops), matmul(median_s=190e-6)]
    frame = frame_of(make_run, rows, environment)
    columns = ["bound_s", "measured_over_bound", "bound_limited_by"]
    assert frame.loc[1, columns].isna().all(), "a library's kernel is not read"
    if bound is None:
        assert frame.loc[0, columns].isna().all()
    else:
        assert frame.loc[0, "bound_s"] == pytest.approx(bound, rel=2e-4)
        assert frame.loc[0, "measured_over_bound"] == pytest.approx(200e-6 / bound, rel=2e-4)
        assert frame.loc[0, "bound_limited_by"] == "matrix units"


def test_the_bound_is_that_of_the_config_that_ran(make_run: Callable[..., Path]) -> None:
    """Half the tiles' rows: 1,024 tiles are 8 an SM, with the same passes; and an einsum's products are spread evenly."""
    point = OPS["einsum"].point("triton", "bf16", {"i": 4096, "j": 4096, "k": 4096}, {"equation": "i k, k j -> i j"})
    einsum = new_row(point, OPS["einsum"].cost(point, "cuda"), "ok", median_s=200e-6, config="128x256x64 w8 s4", loops=[LOOP])
    half = matmul(impl="triton", config="128x128x64 w8 s4", median_s=200e-6, loops=[LOOP | {"flops": 2 * 128 * 128 * 64}])
    found = frame_of(make_run, [half, einsum], H100)["bound_s"].tolist()
    assert found == pytest.approx([8 * 64 * 640 / 1.98e9, 512 / 132 * 64 * 1024 / 1.98e9], rel=2e-4)  # 81,920 bytes take 640 clocks

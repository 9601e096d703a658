"""Where a point's time goes: the terms add up, and each stands for what it is named after."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benches.row import new_row
from benches.sweep.load import load_sweeps
from kernels.cost_model import predict
from kernels.gpus import load_gpu
from kernels.registry import OPS
from reports.__main__ import main
from reports.explain import TERMS
from reports.neighbours import neighbour_lines, neighbours
from reports.report import load_report

pytestmark = pytest.mark.slow
H100 = load_gpu("h100_sxm5")


def matmul(m: int, n: int, k: int) -> Any:
    return OPS["matmul"].point("torch", "bf16", {"m": m, "n": n, "k": k})


def test_terms_add_up_to_the_measured_time_on_every_point_of_a_night(make_run: Callable[..., Path]) -> None:
    points = load_sweeps(["nightly"]).points
    factors = 1 + np.random.default_rng(7).uniform(-0.3, 2, len(points))
    seconds = np.maximum(predict(points, H100).predicted_s, 1e-7) * factors
    clocks = np.random.default_rng(8).uniform(1.2e9, 1.98e9, len(points))
    rows = [
        new_row(p, OPS[p.op].cost(p, "cuda"), "ok", cache="cold", median_s=float(s), conditions={"sm_clock_hz": float(c)})
        for p, s, c in zip(points, seconds, clocks, strict=True)
    ]
    timed = load_report(make_run("simulated", "night", rows=rows)).timed
    assert len(timed) == len(points) > 900
    assert timed[list(TERMS)].notna().all(axis=None)
    np.testing.assert_allclose(timed[list(TERMS)].sum(axis=1), timed["median_s"], rtol=1e-9)
    expected = timed["predicted_s"]
    np.testing.assert_allclose(timed[["napkin_s", "tiles_s", "traffic_s", "launches_s"]].sum(axis=1), expected, rtol=1e-9, atol=1e-15)
    assert (timed[["traffic_s", "launches_s"]] >= -1e-15).all(axis=None)


@pytest.mark.parametrize(
    ("m", "n", "k", "largest"),
    [(8192, 8192, 8192, "napkin_s"), (1, 8192, 8192, "traffic_s"), (129, 129, 65537, "tiles_s"), (1, 1, 1, "launches_s")],
)
def test_the_largest_term_is_what_bounds_the_shape(make_run: Callable[..., Path], m: int, n: int, k: int, largest: str) -> None:
    point = matmul(m, n, k)
    row = new_row(point, OPS["matmul"].cost(point, "cuda"), "ok", cache="cold", median_s=float(predict([point], H100).predicted_s[0]))
    terms = load_report(make_run("cuda", "one", rows=[row])).timed.iloc[0][list(TERMS)].astype(float)
    assert terms.idxmax() == largest
    assert terms["unexplained_s"] == pytest.approx(0, abs=1e-12)


def test_a_slow_clock_is_a_term_of_its_own(make_run: Callable[..., Path]) -> None:
    point = matmul(8192, 8192, 8192)
    fields: dict[str, Any] = {"cache": "cold", "median_s": 2e-3, "conditions": {"sm_clock_hz": H100.boost_clock_hz / 1.25}}
    row = load_report(make_run("cuda", "slow", rows=[new_row(point, OPS["matmul"].cost(point, "cuda"), "ok", **fields)])).timed.iloc[0]
    assert row["clock_s"] == pytest.approx(0.25 * (row["napkin_s"] + row["tiles_s"]), rel=0.1)


def test_a_neighbour_that_fills_its_tiles_is_named() -> None:
    ragged, add = neighbours(
        [matmul(4097, 4096, 4096), OPS["elementwise"].point("torch", "fp32", {"m": 127, "n": 129}, {"function": "add"})], H100
    )
    found = {one.dim: one for one in ragged}
    assert found["m"].size in (4096, 4224, 4352)
    assert found["m"].gain > 1.02
    assert str(found["m"]).startswith(f"m = {found['m'].size} instead of 4097: ")
    assert add == []


@pytest.mark.parametrize(("m", "n", "k"), [(1, 127, 129), (129, 1009, 127), (4097, 4096, 4096), (5003, 4099, 131)])
def test_a_neighbours_gain_is_that_of_two_predictions(m: int, n: int, k: int) -> None:
    point = matmul(m, n, k)
    for one in neighbours([matmul(8192, 8192, 8192), point], H100)[1]:
        both = predict([point, matmul(**{**point.dims, one.dim: one.size})], H100)
        own, other = both.flops / both.predicted_s
        assert one.gain == pytest.approx(other / own, rel=1e-12)
        assert one.gain >= 1.02
        assert one.instead_of == point.dims[one.dim]


def test_page_and_command_name_the_same_shapes(make_run: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    point = matmul(4097, 4096, 4096)
    row = new_row(point, OPS["matmul"].cost(point, "cuda"), "ok", cache="cold", median_s=1e-3)
    run = make_run("cuda", "one", rows=[row, new_row(matmul(129, 1009, 127), OPS["matmul"].cost(point, "cuda"), "oom", "no memory")])
    lines = neighbour_lines(load_report(run).frame, H100)
    assert lines[0]
    assert lines[1] == [], "it has no time"
    assert neighbour_lines(load_report(run).frame, None) == [[], []]
    assert main(["explain", str(run), point.id]) == 0
    assert capsys.readouterr().out.splitlines()[-len(lines[0]) :] == lines[0]


def test_the_command_prints_terms_and_names_a_point_that_is_not_there(
    make_run: Callable[..., Path], capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run("cuda")
    point = load_report(run).timed["point"].iloc[0]
    assert main(["explain", str(run), point]) == 0
    printed = capsys.readouterr().out
    assert all(words.split()[0] in printed for words in TERMS.values())
    assert "100.0%  " in printed
    assert main(["explain", str(run), point + "x"]) == 2
    assert f"did you mean {point}" in capsys.readouterr().err
    untimed = load_report(run).frame.query("status == 'wrong'")["point"].iloc[0]
    assert main(["explain", str(run), untimed]) == 2
    assert "its status is wrong" in capsys.readouterr().err


def test_a_triton_point_is_set_against_the_bound_of_its_kernel(make_run: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    """4 tiles of 64 passes of 1,024 clocks at 1.98 GHz: 132.4 µs."""
    point = OPS["matmul"].point("triton", "bf16", {"m": 4096, "n": 4096, "k": 4096})
    loop = {"flops": 2 * 128 * 256 * 64, "instructions": 832, "shared_bytes": 81_920, "loaded_bytes": 0}
    fields: dict[str, Any] = {"cache": "cold", "median_s": 198.6e-6, "config": "tma 128x256x64 w8 s4", "loops": [loop]}
    rows = [
        new_row(p, OPS["matmul"].cost(p, "cuda"), "ok", **fields | more) for p, more in ((point, {}), (matmul(127, 129, 1), {"loops": []}))
    ]
    run = make_run("cuda", "one", rows=rows)
    assert main(["explain", str(run), point.id]) == 0
    line = "The compiled kernel takes at least 132.4 µs, limited by matrix units. The measured time is 1.50× this bound."
    assert line in " ".join(capsys.readouterr().out.replace("\u202f", " ").replace("\xa0", " ").split())
    assert main(["explain", str(run), rows[1].point]) == 0
    assert "compiled kernel" not in capsys.readouterr().out

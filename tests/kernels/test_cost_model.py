"""The cost model: arithmetic by hand, properties that any prediction must have, and its error on timings measured on H100s."""

from __future__ import annotations

import gc
import subprocess
import sys
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels.cost_model import MFU_PEAK_FLOPS_PER_S, Prediction, napkin_s, parts_s, predict, predict_rows, roofline_s
from kernels.cpu_model import operators
from kernels.elementwise.spec import FUNCTIONS
from kernels.gpus import Ceilings, load_gpu
from kernels.guard import ROOT
from kernels.op import Point
from kernels.parts import Contraction, Stream
from kernels.registry import OPS

H100 = load_gpu("h100_sxm5")
LEVELS = ("napkin_s", "roofline_s", "predicted_s")
RAGGED = (1, 2, 127, 128, 129, 1009, 4096)
SIZES = st.integers(1, 20_000)


def matmul(m: int, n: int, k: int, precision: str = "bf16", impl: str = "torch", **more: object) -> Point:
    options = {name: str(value) for name, value in more.items() if name in ("rhs", "layout")}
    lead = {name: value for name, value in more.items() if name not in options}
    return OPS["matmul"].point(impl, precision, {**lead, "m": m, "n": n, "k": k}, options)  # type: ignore[dict-item]


def elementwise(m: int, n: int, precision: str = "bf16", function: str = "add") -> Point:
    return OPS["elementwise"].point("torch", precision, {"m": m, "n": n}, {"function": function})


def einsum(equation: str, precision: str = "bf16", **dims: int) -> Point:
    return OPS["einsum"].point("torch", precision, dims, {"equation": equation})


def seconds(point: Point, gpu: Ceilings = H100) -> tuple[float, float, float]:
    found = predict([point], gpu)
    return tuple(float(getattr(found, level)[0]) for level in LEVELS)  # type: ignore[return-value]


def test_mfu_convention() -> None:
    assert MFU_PEAK_FLOPS_PER_S == 989.5e12 == H100.peak_flops_per_s["bf16"]


# By hand: 2·4096³ = 137,438,953,472 FLOPs; three 4096² matrices of 2 bytes are 100,663,296 bytes.
@pytest.mark.parametrize(
    ("point", "gpu", "napkin", "roofline", "bound"),
    [
        (matmul(4096, 4096, 4096), "h100_sxm5", 137438953472 / 989.5e12, 137438953472 / 989.5e12, "compute"),
        (matmul(4096, 4096, 4096, "fp8_e4m3"), "h100_sxm5", 137438953472 / 1979e12, 137438953472 / 1979e12, "compute"),
        (matmul(4096, 4096, 4096, "fp32"), "h100_sxm5", 137438953472 / 67e12, 137438953472 / 67e12, "compute"),
        # one row: 2·4096² FLOPs, and 4096² + 2·4096 elements of 2 bytes
        (matmul(1, 4096, 4096), "h100_sxm5", 33554432 / 989.5e12, 33570816 / 3.35e12, "memory"),
        (matmul(1, 4096, 4096), "h200_sxm", 33554432 / 989.5e12, 33570816 / 4.8e12, "memory"),
        (matmul(1, 4096, 4096), "a100_sxm4_80gb", 33554432 / 312e12, 33570816 / 2.039e12, "memory"),
        (matmul(64, 64, 64), "h100_sxm5", 524288 / 989.5e12, 24576 / 3.35e12, "overhead"),
        # m·n adds on the vector units whatever the precision, and three matrices of 2 bytes
        (elementwise(8192, 8192), "h100_sxm5", 67108864 / 67e12, 402653184 / 3.35e12, "memory"),
        (elementwise(8192, 8192, "fp16"), "a100_sxm4_80gb", 67108864 / 19.5e12, 402653184 / 2.039e12, "memory"),
        (einsum("i j, j k -> i k", i=4096, j=4096, k=4096), "h100_sxm5", 137438953472 / 989.5e12, 137438953472 / 989.5e12, "compute"),
    ],
)
def test_napkin_and_roofline(point: Point, gpu: str, napkin: float, roofline: float, bound: str) -> None:
    found = predict([point], load_gpu(gpu))
    assert found.napkin_s[0] == pytest.approx(napkin, rel=1e-12)
    assert found.roofline_s[0] == pytest.approx(roofline, rel=1e-12)
    assert found.bound[0] == bound


def test_levels_are_plain_functions_of_sizes() -> None:
    assert napkin_s(6 * 70e9 * 15e12, 989.5e12 * 0.5 * 1024) / 86400 == pytest.approx(143.9, abs=0.05)  # docs/cost_model.md
    assert roofline_s([1e12, 1.0], [1.0, 1e12], 1e12, 1e12).tolist() == [1.0, 1.0]


def test_a_precision_without_a_peak_is_not_guessed() -> None:
    found = predict([matmul(64, 64, 64, "fp8_e4m3"), matmul(64, 64, 64)], load_gpu("a100_sxm4_80gb"))
    assert all(np.isnan(getattr(found, level)[0]) and getattr(found, level)[1] > 0 for level in LEVELS)
    assert found.bound.tolist()[0] == ""
    assert found.flops[0] == 2 * 64**3


def test_a_cpu_has_napkin_and_roofline_by_the_same_functions() -> None:
    cpu = Ceilings(peak_flops_per_s={"fp32": 1e11}, bandwidth_bytes_per_s=2e10)
    found = predict([matmul(100, 100, 100, "fp32"), matmul(100, 100, 100), elementwise(100, 100)], cpu)
    assert found.napkin_s.tolist() == [pytest.approx(2e6 / 1e11), pytest.approx(np.nan, nan_ok=True), pytest.approx(1e4 / 1e11)]
    assert found.predicted_s[0] == found.roofline_s[0]
    assert found.bound.tolist() == ["compute", "", "memory"]


# What each op is to the calibrated level.
@pytest.mark.parametrize(
    ("point", "expected"),
    [
        (matmul(3, 5, 7), [Contraction(False, 1, 3, 5, 7, 2, 2 * (21 + 35 + 15))]),
        (matmul(3, 5, 7, b=4), [Contraction(True, 4, 3, 5, 7, 2, 4 * 2 * (21 + 35 + 15))]),
        (matmul(3, 5, 7, b=1), [Contraction(True, 1, 3, 5, 7, 2, 2 * (21 + 35 + 15))]),
        (matmul(3, 5, 7, b=4, rhs="shared"), [Contraction(False, 1, 12, 5, 7, 2, 2 * (4 * 21 + 35 + 60))]),
        (matmul(3, 5, 7, b1=2, b2=2), [Contraction(True, 4, 3, 5, 7, 2, 4 * 2 * (21 + 35 + 15))]),
        (elementwise(3, 5), [Stream(90, 15)]),
        (einsum("b s h, b t h -> b s t", b=2, s=3, t=5, h=7), [Contraction(True, 2, 3, 5, 7, 2, 2 * 2 * (21 + 35 + 15))]),
        (einsum("q h d, k h d -> h q k", q=3, k=5, h=2, d=7), [Contraction(True, 2, 3, 5, 7, 2, 2 * 2 * (21 + 35 + 15))]),
        (matmul(1, 1, 7, b=4), [Stream(4 * 2 * 15, 56)]),  # dot products
        (einsum("i, i -> ", i=7), [Stream(2 * 15, 14)]),
        (einsum("i j -> i", i=3, j=5), [Stream(2 * 18, 15)]),
        (einsum("i, j -> i j", i=3, j=5), [Stream(2 * 23, 15)]),
        (
            einsum("i j, j k, k l -> i l", i=3, j=4, k=5, l=20),
            [Contraction(False, 1, 3, 5, 4, 2, 2 * (12 + 20 + 15)), Contraction(False, 1, 20, 3, 5, 2, 2 * (100 + 15 + 60))],
        ),
    ],
)
def test_parts(point: Point, expected: list[Contraction | Stream]) -> None:
    found = OPS[point.op].parts(point, OPS[point.op].cost(point, "cuda"))
    # which operand of a step is the left one does not matter: compare with m ≤ n
    assert [_sorted(part) for part in found] == [_sorted(part) for part in expected]


def _sorted(part: Contraction | Stream) -> tuple[int, ...]:
    if isinstance(part, Stream):
        return (part.bytes, part.flops)
    return (part.batched, part.batch, *sorted((part.m, part.n)), part.k, part.element_bytes, part.bytes)


@pytest.mark.slow
@given(m=SIZES, n=SIZES, k=SIZES, precision=st.sampled_from(["bf16", "fp16", "fp32", "tf32", "fp8_e4m3", "fp8_e5m2"]))
def test_each_level_is_slower_than_the_one_before(m: int, n: int, k: int, precision: str) -> None:
    napkin, roofline, predicted = seconds(matmul(m, n, k, precision))
    assert 0 < napkin <= roofline <= predicted
    assert predicted >= H100.model.stream.launch_s  # type: ignore[union-attr]


@given(m=SIZES, n=SIZES, function=st.sampled_from(list(OPS["elementwise"].options["function"].choices)))
def test_streams_are_slower_than_the_roofline(m: int, n: int, function: str) -> None:
    entry = FUNCTIONS[function]
    to = "none" if not entry.converts else "bf16" if entry.share is None else "fp8_e4m3"
    options = {"function": function, "to": to}
    napkin, roofline, predicted = seconds(OPS["elementwise"].point("torch", "fp32", {"m": m, "n": n}, options))
    assert 0 <= napkin <= roofline <= predicted


@pytest.mark.slow
@given(m=SIZES, n=SIZES, k=SIZES, more=st.integers(1, 20_000), precision=st.sampled_from(["bf16", "fp32", "fp8_e4m3"]))
def test_a_longer_reduction_takes_no_less(m: int, n: int, k: int, more: int, precision: str) -> None:
    # two parts in a million: powers and roots round
    assert seconds(matmul(m, n, k, precision))[2] <= seconds(matmul(m, n, k + more, precision))[2] * (1 + 2e-6)


@pytest.mark.slow
@given(batch=st.integers(2, 64), m=SIZES, n=SIZES, k=SIZES)
def test_a_batch_takes_no_less_than_one_of_it(batch: int, m: int, n: int, k: int) -> None:
    assert seconds(matmul(m, n, k))[2] <= seconds(matmul(m, n, k, b=batch))[2] * (1 + 2e-6)


@pytest.mark.slow
@given(m=SIZES, n=SIZES, k=SIZES)
def test_faster_memory_is_never_slower(m: int, n: int, k: int) -> None:
    assert seconds(matmul(m, n, k), load_gpu("h200_sxm"))[2] <= seconds(matmul(m, n, k))[2] * (1 + 1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("m", RAGGED)
@pytest.mark.parametrize("n", RAGGED)
def test_ragged_shapes_cost_about_their_padded_ones(m: int, n: int) -> None:
    """A block computes its whole tile, so one more row costs at most another wave.

    It can save up to 1%: another row of blocks draws more of the memory's bandwidth than its bytes take.
    """
    here, padded = seconds(matmul(m, n, 1009))[2], seconds(matmul(m + 1, n + 1, 1009))[2]
    assert here <= padded * 1.01
    assert padded <= (3 if m == n == 1 else 2) * here  # a dot product streams, without a tile


def test_an_einsum_that_is_a_matmul_costs_what_the_matmul_does() -> None:
    assert seconds(einsum("i j, j k -> i k", i=300, j=500, k=700)) == pytest.approx(seconds(matmul(300, 700, 500)))
    batched = einsum("b s h, b t h -> b s t", b=8, s=300, t=700, h=500)
    assert seconds(batched) == pytest.approx(seconds(matmul(300, 700, 500, b=8)))


def test_a_chain_costs_the_sum_of_its_steps() -> None:
    chain = seconds(einsum("i j, j k, k l -> i l", i=30, j=40, k=50, l=2000))
    steps = seconds(matmul(30, 50, 40))[2] + seconds(matmul(30, 2000, 50))[2]
    assert chain[2] == pytest.approx(steps, rel=0.02)  # tiles are not quite alike in rows and columns


def test_a_hot_cache_helps_only_what_fits_it() -> None:
    points = [matmul(512, 512, 512, b=8), matmul(4096, 4096, 4096)]
    cold, hot = predict(points, H100), predict(points, H100, cache="hot")
    assert hot.predicted_s[0] < cold.predicted_s[0]
    assert hot.predicted_s[1] == cold.predicted_s[1]
    assert hot.roofline_s.tolist() == cold.roofline_s.tolist()


MIXED = [
    matmul(128, 256, 512),
    matmul(128, 256, 512, b=3),
    matmul(16, 32, 64, "fp8_e4m3", layout="nt"),
    elementwise(127, 129, "fp32", "gelu"),
    einsum("b s h, b t h -> b s t", b=2, s=3, t=5, h=7),
]


def _rows(points: list[Point]) -> pd.DataFrame:
    costs = [OPS[p.op].cost(p, "cuda") for p in points]
    identity = [{"op": p.op, "precision": p.precision, "dims": dict(p.dims), "options": dict(p.options)} for p in points]
    return pd.DataFrame([{**i, **vars(c)} for i, c in zip(identity, costs, strict=True)])


def assert_same(a: Prediction, b: Prediction) -> None:
    for name in vars(a):
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)


def test_rows_are_predicted_as_their_points_are() -> None:
    assert_same(predict_rows(_rows(MIXED), H100), predict(MIXED, H100))


def test_rows_as_a_table_stores_them() -> None:
    """Parquet gives every row every dim and option, absent ones as None or NaN, in an order of its own."""
    rows = _rows(MIXED)
    dims = sorted({name for d in rows["dims"] for name in d}, reverse=True)
    rows["dims"] = [{name: d.get(name, None if i % 2 else np.nan) for name in dims} for i, d in enumerate(rows["dims"])]
    options = sorted({name for o in rows["options"] for name in o})
    rows["options"] = [{name: o.get(name) for name in options} for o in rows["options"]]
    assert_same(predict_rows(rows, H100), predict(MIXED, H100))


def test_rows_of_an_op_that_is_gone_keep_their_roofline() -> None:
    rows = _rows(MIXED[:2])
    rows["op"] = ["matmul", "conv"]
    found = predict_rows(rows, H100)
    assert found.roofline_s[1] > 0
    assert found.predicted_s[0] > 0
    assert np.isnan(found.predicted_s[1])


def test_hot_rows_are_predicted_hot() -> None:
    rows = _rows([matmul(512, 512, 512, b=8)] * 2).assign(cache=["cold", "hot"])
    found = predict_rows(rows, H100)
    assert found.predicted_s[1] < found.predicted_s[0]


def test_no_points() -> None:
    assert predict([], H100).predicted_s.shape == (0,)


@pytest.mark.slow
def test_neither_torch_nor_triton_is_imported() -> None:
    code = "import sys, kernels.cost_model, benches.plan; sys.exit(bool({'torch', 'triton'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_equal_work_is_equal_whatever_implements_it_and_wherever_it_stands() -> None:
    a, b = matmul(127, 129, 131), matmul(1009, 64, 4096)
    points = [b, a, matmul(127, 129, 131, impl="triton"), b, matmul(127, 129, 131, layout="nt"), a]
    found = predict(points, H100)
    assert found.predicted_s.tolist() == [float(predict([p], H100).predicted_s[0]) for p in points]
    assert found.flops.tolist() == [2 * p.dims["m"] * p.dims["n"] * p.dims["k"] for p in points]
    assert gc.isenabled()


def test_what_does_nothing_takes_nothing() -> None:
    """A view launches no kernel, so on a GPU it is no part of a time, nor of what bounds it."""
    view, add = Stream(0, 0), Stream(90, 15)
    point = elementwise(3, 5)
    asked = [(point, [view]), (point, []), (point, [view, add]), (point, [add])]
    total, launches = parts_s(asked, H100, H100.model, H100.sm_count, np.zeros(4, bool))
    assert total[:2].tolist() == [0, 0] == launches[:2].tolist()
    assert total[2] == total[3] > 0
    assert launches[2] == launches[3] == H100.model.stream.launch_s  # type: ignore[union-attr]


def test_a_row_that_does_nothing_is_all_overhead() -> None:
    rows = _rows([elementwise(3, 5)] * 2)
    rows.loc[0, ["flops", "bytes_read", "bytes_written"]] = 0
    found = predict_rows(rows, H100)
    assert found.predicted_s[0] == found.roofline_s[0] == 0
    assert found.bound.tolist() == ["overhead", "overhead"]


def test_parts_repeat() -> None:
    point = elementwise(3, 5)
    asked = [(point, [Stream(90, 15, times=7)]), (point, [Stream(90, 15)] * 7)]
    (once, seven), launches = parts_s(asked, H100, H100.model, H100.sm_count, np.zeros(2, bool))
    assert once == pytest.approx(seven)
    assert launches[0] == pytest.approx(launches[1])


@pytest.mark.slow
@pytest.mark.parametrize("op", ["gradient", "transformer", "train_step"])
def test_operators_are_about_those_that_torch_calls(op: str) -> None:
    from torch.utils._python_dispatch import TorchDispatchMode

    from benches.devices.tensors import TensorWorkload
    from benches.sweep.load import load_sweeps

    class Counting(TorchDispatchMode):
        called = 0

        def __torch_dispatch__(self, function: Any, types: Any, arguments: Any = (), named: Any = None) -> Any:
            self.called += 1
            return function(*arguments, **(named or {}))

    points = [p for p in load_sweeps(["smoke"]).points if (p.op, p.impl, p.precision) == (op, "torch", "fp32")]
    assert points
    for point in points:
        workload = TensorWorkload(point, point, "cpu", 0)
        workload.launch()
        with Counting() as counting:
            workload.launch()
        expected = operators(point, OPS[op].parts(point, OPS[op].cost(point, "cpu")))
        assert expected / 2.2 < counting.called < 2.2 * expected, point.id

"""Pure rules of measuring, as tables: which method, the least time that physics allows, what counts as steady and as slowed."""

from __future__ import annotations

import numpy as np
import pytest

from benches.devices.base import POWER_CAP, Method, Reading
from benches.timing.method import choose, rotation
from benches.timing.physics import least_s
from benches.timing.throttle import slowed, spoiling, summarise
from benches.timing.warmup import moved
from kernels.gpus import load_gpu
from kernels.op import Cost
from kernels.registry import OPS

L2 = 52_428_800
US, MS, GB = 1e-6, 1e-3, 10**9


def cost(bytes_: int) -> Cost:
    return Cost(1, bytes_ // 2, bytes_ - bytes_ // 2, bytes_)


@pytest.mark.parametrize(
    ("estimate_s", "bytes_", "options", "expected"),
    [
        # R = ceil(3·52,428,800 / 6,291,456) + 1 = 26; launches: the least multiple of 26 that takes 4 ms.
        (5 * US, 6_291_456, {}, Method("graph", 806, 26)),
        (5.1 * US, 6_291_456, {"cache": "hot"}, Method("graph", 785, 1)),
        (1.9 * MS, GB, {}, Method("graph", 4, 2)),
        (2 * MS, GB, {}, Method("events", 1, 2)),
        (2 * US, 24_576, {}, Method("events", 1, 1, flush=True)),  # 6,401 sets are too many
        (2.1 * US, 24_576, {"cache": "hot"}, Method("graph", 1905, 1)),
        (5 * US, 6_291_456, {"rotatable": False}, Method("events", 1, 1, flush=True)),
        (5 * US, 6_291_456, {"capturable": False}, Method("events", 1, 26)),
        (20 * MS, 50 * GB, {}, Method("events", 1, 1, flush=True)),  # a second set does not fit half of 80 GB
        (0.5, GB, {"cache": "hot"}, Method("events", 1, 1)),
        (5 * US, 6_291_456, {"l2_bytes": None}, Method("wall")),
        (5 * US, 6_291_456, {"whole": True}, Method("wall")),
        # The prediction chooses, whatever noise or an event pair's overhead does to the estimate; the estimate sizes the graph.
        (2.1 * MS, GB, {"predicted_s": 1.9 * MS}, Method("graph", 2, 2)),
        (1.9 * MS, GB, {"predicted_s": 2.1 * MS}, Method("events", 1, 2)),
        (20 * MS, 6_291_456, {"predicted_s": 5 * US}, Method("events", 1, 26)),  # a graph of half a second, for a prediction that far off
    ],
)
def test_method(estimate_s: float, bytes_: int, options: dict[str, object], expected: Method) -> None:
    arguments = {"l2_bytes": L2, "free_bytes": 80 * GB, "rotatable": True, "cache": "cold", **options}
    assert choose(estimate_s, cost(bytes_), **arguments) == expected  # type: ignore[arg-type]


@pytest.mark.parametrize("bytes_", [1, 1000, L2 - 1, L2, 3 * L2, 3 * L2 + 1, 10**12])
def test_before_a_set_comes_round_again_three_l2_of_others_have_passed(bytes_: int) -> None:
    assert (rotation(cost(bytes_), L2) - 1) * bytes_ >= 3 * L2


def test_physics_of_a_product() -> None:
    # 2·4096³ / (989.5e12 · 1.98 / 1.83) = 128.37 us, more than its 100 MB at 3.35 TB/s.
    point = OPS["matmul"].point("torch", "bf16", {"m": 4096, "n": 4096, "k": 4096})
    assert least_s(point, OPS["matmul"].cost(point, "cuda"), load_gpu("h100_sxm5"), "cold") == pytest.approx(128.37e-6, rel=1e-4)


@pytest.mark.parametrize(
    ("m", "cache", "microseconds"),
    # An fp32 copy reads and writes 4·m·16384 bytes; the L2 holds 52.4 MB.
    [
        (2048, "cold", (134.218 + 134.218 - 52.429) / 3.35),
        (2048, "hot", (134.218 + 134.218 - 52.429) / 3.35),
        (512, "cold", 33.554 / 3.35),  # all read; all that it wrote may lie in the L2
        (512, "hot", (67.109 - 52.429) / 3.35),
        (256, "cold", 2 / 3 * 16.777 / 3.35),  # its 33.6 MB fit the L2, and two thirds of what it reads at least had left it
        (256, "hot", 0.0),
    ],
)
def test_physics_of_a_copy(m: int, cache: str, microseconds: float) -> None:
    point = OPS["elementwise"].point("torch", "fp32", {"m": m, "n": 16384}, {"function": "copy"})
    cost = OPS["elementwise"].cost(point, "cuda")
    without_flops = Cost(0, cost.bytes_read, cost.bytes_written, cost.memory_bytes)
    assert least_s(point, without_flops, load_gpu("h100_sxm5"), cache) == pytest.approx(microseconds * 1e-6, rel=1e-4)  # type: ignore[arg-type]


def test_a_slope_is_movement_and_noise_is_not() -> None:
    rng = np.random.default_rng(1)
    assert moved([1.0] * 8, 0.005) is None
    assert moved([1 + 0.003 * i for i in range(8)], 0.005) == pytest.approx(0.0119, abs=1e-3)
    assert moved([1 + 0.001 * i for i in range(8)], 0.005) is None
    assert sum(moved(list(rng.normal(1.0, 0.02, 8)), 0.005) is not None for _ in range(1000)) < 60


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ({}, {"thermal": 3.0}, {}),  # nothing to compare with
        ({"thermal": 3.0}, {}, {}),  # NVML failed in between
        ({"thermal": 3.0, POWER_CAP: 1.0}, {"thermal": 3.0, POWER_CAP: 1.5}, {POWER_CAP: 0.5}),
        ({"thermal": 3.0}, {"thermal": 3.25}, {"thermal": 0.25}),
    ],
)
def test_slowdowns_are_differences(before: dict[str, float], after: dict[str, float], expected: dict[str, float]) -> None:
    assert slowed(Reading(slowed_s=before), Reading(slowed_s=after)) == expected
    assert spoiling(expected) == [cause for cause in expected if cause == "thermal"]


def test_conditions_are_medians_and_what_was_not_told_is_null() -> None:
    readings = [Reading(sm_clock_hz=clock, power_w=None, reasons=(POWER_CAP,) if clock == 2 else ()) for clock in (1, 2, 9)]
    told = summarise([*readings, Reading()], {"thermal"}, counted=True)
    assert (told.sm_clock_hz, told.power_w, told.throttle_reasons) == (2, None, [POWER_CAP, "thermal"])
    assert summarise([Reading()], set(), counted=False).throttle_reasons is None
    assert summarise([Reading()], set(), counted=True).throttle_reasons == []

"""The virtual GPU does what it says, from a seed; and every point of a simulated run ends where the truth or the script says."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benches.devices.base import Method, Settings
from benches.devices.faults import VARIABLE, FaultError, fault_of, parse
from benches.devices.simulated import SimulatedDevice
from benches.devices.streamed import HOLD_MAX_S, HOLD_S, NOT_HELD, QUEUE, held_samples, hold_s
from benches.devices.virtual import EVENT_S, GRAPH_S, LAUNCH_S, Behaviour, Slowdown, VirtualGpu
from benches.row import Row
from benches.timing.measure import measure
from benches.timing.sampler import sample
from kernels.gpus import load_gpu
from kernels.guard import ROOT
from kernels.op import Cost
from kernels.registry import OPS

POINT = OPS["matmul"].point("torch", "bf16", {"m": 4096, "n": 4096, "k": 4096})
SMALL = OPS["matmul"].point("triton", "bf16", {"m": 512, "n": 512, "k": 512})
QUIET = Behaviour(noise=0.0, launch_noise=0.0, boost=0.0)
PAIR_S = LAUNCH_S + EVENT_S  # what two events add to a call
EVENTS = Method("events")


def quiet(**changes: object) -> SimulatedDevice:
    return SimulatedDevice(replace(QUIET, **changes))  # type: ignore[arg-type]


def test_the_same_seed_is_the_same_row() -> None:
    rows = [measure(POINT, SimulatedDevice(seed=seed), seed=1) for seed in (3, 3, 4)]
    assert rows[0].samples_s == rows[1].samples_s != rows[2].samples_s


@pytest.mark.parametrize("point", [POINT, SMALL], ids=["events", "graph"])
@pytest.mark.parametrize("cache", ["cold", "hot"])
def test_a_point_is_measured_at_its_truth(point, cache) -> None:  # type: ignore[no-untyped-def]
    device = SimulatedDevice()
    device.settings = replace(device.settings, cache=cache)
    row = measure(point, device, seed=1)
    assert row.status == "ok"
    assert row.median_s == pytest.approx(device.predict_s(point), rel=0.005)
    assert row.cache == cache


def test_a_set_larger_than_what_is_left_of_the_l2_is_read_again() -> None:
    device = quiet()
    for bytes_, sets, hot in [(10**6, 1, True), (10**6, 52, True), (10**6, 53, False), (60 * 10**6, 1, False), (10**6, 200, False)]:
        workload = device.workload(Cost(0, bytes_, 0, bytes_), cold_s=100e-6, hot_s=50e-6)
        device.prepare(workload, Method("events", sets=sets))
        samples = [device.take_samples(workload, EVENTS)[0].seconds for _ in range(2 * sets)]
        assert samples[-1] == pytest.approx(PAIR_S + (50e-6 if hot else 100e-6), abs=33e-9), (bytes_, sets)


def test_a_graph_of_too_few_sets_is_warm() -> None:
    """What peers got wrong: the graph holds ten of the sets only."""
    device = quiet()
    workload = device.workload(Cost(0, 10**6, 0, 10**6), cold_s=4e-6, hot_s=2e-6)
    times = []
    for sets in (10, 159):
        method = device.prepare(workload, Method("graph", 2 * sets, sets))
        times.append(device.take_samples(workload, method)[0].seconds)
    overhead_s = (GRAPH_S + EVENT_S) / 20  # of a graph of so few launches
    assert times == pytest.approx([2e-6 + overhead_s, 4e-6], rel=0.02)


def test_a_flush_makes_cold() -> None:
    device = quiet()
    workload = device.workload(Cost(0, 10**6, 0, 10**6), cold_s=100e-6, hot_s=50e-6)
    assert [
        round((device.take_samples(workload, Method("events", flush=flush))[0].seconds - PAIR_S) * 1e6) for flush in (True, False, True)
    ] == [
        100,
        50,
        100,
    ]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("behaviour", "mode", "median_s"),
    [
        # A graph is enqueued at once, whatever the host takes to capture it.
        ({"host_launch_s": 1e-3}, "graph", 30e-6),
        ({"host_launch_s": 50e-3}, "graph", 30e-6),
        ({"launches": 8192, "host_launch_s": 50e-3}, "graph", 30e-6),  # 39 calls, since recording them takes the host two seconds
        # A hold covers calls that cannot be captured, up to a tenth of a second.
        ({"capturable": False, "host_launch_s": 6e-6}, "events", 30e-6 + PAIR_S),
        ({"capturable": False, "host_launch_s": 1e-3}, "events", 30e-6 + PAIR_S),
        ({"capturable": False, "host_launch_s": 9.5e-3}, "events", 30e-6 + PAIR_S),
        ({"capturable": False, "host_launch_s": 11e-3}, "events", 30e-6 + PAIR_S),
        ({"capturable": False, "host_launch_s": 50e-3}, "events", 30e-6 + PAIR_S),
        # Beyond that, and where a call waits for the device or overflows the launch queue, calls run at the host's pace.
        ({"capturable": False, "host_launch_s": 0.2}, "host", 0.2),
        ({"capturable": False, "launches": 8192, "host_launch_s": 50e-3}, "host", 50e-3),
        ({"waits": True, "launches": 2, "host_launch_s": 2e-3}, "host", 2e-3 + 15e-6),
    ],
)
@pytest.mark.parametrize("cache", ["cold", "hot"])
def test_a_slow_host_is_never_an_error(behaviour: dict[str, Any], mode: str, median_s: float, cache: Any) -> None:
    device = quiet(**behaviour)
    device.settings = replace(device.settings, cache=cache)
    workload = device.workload(Cost(0, 10**8, 0, 10**8), cold_s=30e-6, hot_s=30e-6)
    timing = sample(device, workload, predicted_s=30e-6)
    assert (timing.status, timing.method.mode) == ("ok", mode)
    assert timing.interval.median == pytest.approx(median_s, rel=0.003)
    assert timing.launch_bound is (behaviour["host_launch_s"] > 30e-6)
    if mode == "host":
        assert timing.method.launches >= 8
        assert timing.method.launches * median_s >= 0.02


def test_the_hosts_time_is_never_in_a_sample_that_counts() -> None:
    """The host takes 1 ms a call: the first hold is too short, the next one is not."""
    device = quiet(host_launch_s=1e-3)
    workload = device.workload(Cost(0, 10**6, 0, 10**6), cold_s=30e-6, hot_s=30e-6)
    samples = [device.take_samples(workload, EVENTS)[0] for _ in range(4)]
    assert [sample.void for sample in samples] == [NOT_HELD, None, None, None]
    assert all(sample.seconds == pytest.approx(30e-6 + PAIR_S, abs=33e-9) for sample in samples[1:])
    assert samples[0].seconds > 0.5e-3


@pytest.mark.parametrize(("seconds", "least"), [(0.2e-3, 0.9), (3e-3, 0.9), (0.05, 0.95)])
def test_a_device_that_is_sampled_works_nearly_all_the_time(seconds: float, least: float) -> None:
    device = SimulatedDevice()
    workload = device.workload(Cost(0, 10**8, 0, 10**8), cold_s=seconds, hot_s=seconds)
    duty = sample(device, workload, seconds).duty
    assert duty is not None
    assert least < duty <= 1


@pytest.mark.parametrize(
    ("call_s", "each_s", "sample_s", "count", "expected_s"),
    [
        (0.0, 0.0, 0.0, 1, HOLD_S),  # nothing was seen yet
        (20e-6, 40e-6, 1e-3, 30, HOLD_S),  # the device falls behind: the hold covers the first sample
        (20e-6, 40e-6, 10e-6, 30, 1.5 * 40e-6 + 29 * (1.5 * 40e-6 - 10e-6)),  # the host falls behind: it covers them all
        (50e-3, 50e-3, 30e-6, 1, 75e-3),
    ],
)
def test_a_hold_is_half_as_long_again_as_the_host_needs(
    call_s: float, each_s: float, sample_s: float, count: int, expected_s: float
) -> None:
    assert hold_s(each_s, sample_s, count) == pytest.approx(expected_s)
    if each_s:
        assert held_samples(30, call_s, each_s, sample_s) == count


@pytest.mark.slow
@given(st.integers(1, 1000), st.floats(1e-6, 0.05), st.floats(0, 1e-3), st.floats(1e-6, 1.0))
def test_the_queue_and_the_longest_hold_take_what_is_enqueued(count: int, call_s: float, beside_s: float, sample_s: float) -> None:
    each_s = call_s + beside_s
    taken = held_samples(count, call_s, each_s, sample_s)
    assert 1 <= taken <= count
    if taken > 1:
        assert taken * (1 + 3) <= QUEUE
        assert hold_s(each_s, sample_s, taken) <= HOLD_MAX_S * (1 + 1e-9)


def test_overheads_are_those_of_the_board_that_was_measured() -> None:
    """docs/validation: two events 1.25 us, a null kernel between them 3.2, two 4.83; a graph 2.1 us and 0.96 a launch. Within 10%."""
    device = quiet()
    stream = device.stream

    def between_events(*enqueue: Callable[[], None]) -> float:
        start, end = stream.event(), stream.event()
        stream.hold(1e-3)
        start.record()
        for call in enqueue:
            call()
        end.record()
        return start.seconds_to(end)

    replay = stream.capture(stream.null, 400)
    assert between_events() == pytest.approx(1.25e-6, rel=0.1)
    assert between_events(stream.null) == pytest.approx(3.2e-6, rel=0.1)
    assert between_events(stream.null, stream.null) == pytest.approx(4.83e-6, rel=0.1)
    assert between_events(replay) == pytest.approx(385.6e-6, rel=0.01)


def test_a_chip_slows_as_it_warms_heats_and_recovers() -> None:
    gpu = VirtualGpu(load_gpu("h100_sxm5"), replace(Behaviour(), throttle_c=60.0, busy_c=70.0, heat_s=1.0), seed=1)
    cold = gpu.read()
    gpu.run(0.5)
    warm = gpu.read()
    gpu.run(3.0)
    assert cold.sm_clock_hz == pytest.approx(1.83e9 / 0.97)
    assert warm.sm_clock_hz == pytest.approx(1.83e9, rel=1e-3)
    assert gpu.read().sm_clock_hz == pytest.approx(1.83e9 / 1.4, rel=1e-3)
    gpu.rest(5.0)
    gpu.run(1e-6)
    assert gpu.read().sm_clock_hz == pytest.approx(cold.sm_clock_hz, rel=1e-3)


def settled(behaviour: Behaviour, **settings: object) -> Row:
    device = SimulatedDevice(behaviour)
    device.settings = replace(Settings(), **settings)  # type: ignore[arg-type]
    return measure(POINT, device, seed=1)


def test_lasting_heat_is_throttled_and_its_samples_are_kept() -> None:
    row = settled(replace(Behaviour(), slowdowns=(Slowdown(0.3, 1e9, 1.3),)))
    assert row.status == "throttled"
    assert row.reason == "slowed by thermal after cooling 3 times"
    assert sum(row.dropped.values()) == row.dropped["thermal"] >= 90
    assert row.median_s is not None
    assert row.conditions.throttle_reasons == ["thermal"]


def test_a_passing_spell_costs_a_block_and_not_the_point() -> None:
    begin = float(settled(Behaviour()).warmup_s or 0) + 0.1  # a few samples in
    row = settled(replace(Behaviour(), slowdowns=(Slowdown(begin, begin + 0.2, 1.3),)))
    assert row.status == "ok"
    assert row.dropped["thermal"] > 0
    assert row.median_s == pytest.approx(SimulatedDevice().predict_s(POINT), rel=0.005)


def test_the_power_cap_is_kept_and_labelled() -> None:
    row = settled(replace(Behaviour(), slowdowns=(Slowdown(0.0, 1e9, 1.1, "power cap"),)))
    assert (row.status, row.dropped, row.conditions.throttle_reasons) == ("ok", {}, ["power cap"])


@pytest.mark.parametrize("fails_at_s", [0.0, 0.57])
def test_nvml_missing_or_failing_midway_costs_conditions_only(fails_at_s: float) -> None:
    row = settled(replace(Behaviour(), nvml_fails_at_s=fails_at_s), energy=True)
    assert row.status == "ok"
    assert row.conditions.energy_j is None
    if fails_at_s == 0.0:
        assert row.conditions.sm_clock_hz is None


def test_boost_is_faster_than_sustained_and_says_what_it_is() -> None:
    boost, sustained = (settled(Behaviour(), regime=regime) for regime in ("boost", "sustained"))
    assert (boost.regime, sustained.regime) == ("boost", "sustained")
    assert boost.median_s is not None
    assert sustained.median_s is not None
    assert boost.median_s / sustained.median_s == pytest.approx(0.975, abs=0.01)


def test_energy_of_a_call() -> None:
    row = settled(Behaviour(), energy=True)
    assert row.median_s is not None
    assert row.conditions.energy_j == pytest.approx(600.0 * row.median_s, rel=0.02)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "status", "reason"),
    [
        ("oom", "oom", "scripted: out of memory"),
        ("error", "error", "RuntimeError: scripted: no kernel image"),
        ("sticky", "error", "RuntimeError: CUDA error: an illegal memory access"),
        ("lost", "error", "RuntimeError: CUDA error: GPU is lost"),
        ("wrong", "wrong", "scripted: 1 of 1 elements is off"),
        ("wrong_later", "wrong", "correct before timing, wrong after it"),
    ],
)
def test_scripted_faults_end_as_their_status(monkeypatch: pytest.MonkeyPatch, fault: str, status: str, reason: str) -> None:
    monkeypatch.setenv(VARIABLE, f"{fault}:*-4096x4096x4096")
    device = SimulatedDevice()
    row = measure(POINT, device, seed=1)
    assert row.status == status
    assert str(row.reason).startswith(reason)
    assert (row.median_s, row.samples_s) == (None, [])
    assert measure(SMALL, device, seed=1).status == ("error" if fault in ("sticky", "lost") else "ok")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "code"), [("crash", -signal.SIGSEGV), ("abort", -signal.SIGABRT), ("exit", 3), ("kill", -signal.SIGKILL)]
)
def test_scripted_deaths_are_real(fault: str, code: int) -> None:
    program = (
        "from benches.devices.simulated import SimulatedDevice; from kernels.registry import OPS;"
        "SimulatedDevice().load(OPS['matmul'].point('torch', 'bf16', {'m': 64, 'n': 64, 'k': 64}), 1)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=os.environ | {VARIABLE: f"{fault}:matmul-*"}, capture_output=True, check=False
    )
    assert done.returncode == code


def test_faults_are_read_strictly() -> None:
    faults = parse(" hang:matmul-*-64x64x64 , oom:*,")
    assert faults == [("hang", "matmul-*-64x64x64"), ("oom", "*")]
    assert fault_of("matmul-torch-bf16-64x64x64", faults) == "hang"
    assert fault_of("elementwise", faults) == "oom"
    assert fault_of("x", []) is None
    with pytest.raises(FaultError, match=r"'hangs:\*' is not fault:pattern with a fault of crash, abort"):
        parse("hangs:*")


def test_a_launch_that_waits_for_the_device_does_not_slow_the_points_after_it() -> None:
    """Its holds grow in vain; the next point starts from the shortest hold again."""
    device = SimulatedDevice()
    matmul = OPS["matmul"].point("torch", "bf16", {"m": 4096, "n": 4096, "k": 4096})
    before = device.now_s()
    sample(device, device.load(matmul, 1))
    usual = device.now_s() - before
    waiting = device.load(matmul, 1)
    launch = waiting.launch

    def launch_and_wait() -> None:
        launch()
        device.stream.synchronize()

    waiting.launch = launch_and_wait  # type: ignore[method-assign]
    assert sample(device, waiting).method.mode == "host"
    before = device.now_s()
    sample(device, device.load(matmul, 1))
    assert device.now_s() - before < 1.5 * usual


@pytest.mark.slow
def test_a_view_launches_no_kernel_and_costs_the_host_a_call() -> None:
    """Between two events there would be nothing: an estimate of zero seconds."""
    point = OPS["layout"].point("torch", "bf16", {"m": 4096, "n": 4096}, {"function": "transpose"})
    row = measure(point, SimulatedDevice(Behaviour()), seed=1)
    assert (row.status, row.mode, row.launches, row.floor_s) == ("ok", "wall", 1000, None)
    assert row.median_s == pytest.approx(Behaviour().host_launch_s, rel=0.01)

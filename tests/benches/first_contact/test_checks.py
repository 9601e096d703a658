"""The pure half of first-contact: measured values to verdicts, verdicts to an exit code and 8 KB of text."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from benches.devices import virtual
from benches.first_contact import board_facts, clock_checks, counters, faults, output, rows
from benches.first_contact.check import MAX_SUMMARY, Check, equal, exit_code, known, line, one_of, summary, within
from benches.row import Row, new_row
from kernels.gpus import load_gpu
from kernels.registry import OPS

H100 = load_gpu("h100_sxm5")


@pytest.mark.parametrize(
    ("value", "verdict"),
    [(1.0, "pass"), (2.0, "pass"), (0.999, "fail"), (2.001, "fail"), (None, "fail"), (math.nan, "fail"), (math.inf, "fail")],
)
def test_within_includes_its_limits_and_fails_what_was_not_measured(value: float | None, verdict: str) -> None:
    check = within("step", "name", value, "us", 1.0, 2.0, "why")
    assert (check.verdict, check.note) == (verdict, "" if verdict == "pass" else "why")
    json.dumps(check.value, allow_nan=False)


def test_the_other_ways_to_judge() -> None:
    assert [equal("s", "n", value, 5).verdict for value in (5, 6, None)] == ["pass", "fail", "fail"]
    assert [one_of("s", "n", value, ("ok", "noisy")).verdict for value in ("ok", "noisy", "wrong", None)] == [
        "pass",
        "pass",
        "fail",
        "fail",
    ]
    assert [known("s", "n", value).verdict for value in (0, "", None)] == ["pass", "pass", "fail"]
    assert within("s", "n", -5.0, "MiB", -math.inf, 64).expected == "at most 64"


@pytest.mark.parametrize(
    ("verdicts", "code"),
    [
        (["pass", "skipped"], 0),
        (["pass", "fail"], 1),
        (["fail", "unfinished"], 1),
        (["pass", "unfinished"], 3),
        ([], 3),
    ],
)
def test_exit_codes(verdicts: list[Any], code: int) -> None:
    assert exit_code(Check("s", "n", 1, "", "", verdict) for verdict in verdicts) == code


def test_the_summary_fits_and_begins_with_what_is_wrong() -> None:
    checks = [Check("clockwork", f"figure {i}", 1.5 + i, "us", "1 to 2", "pass") for i in range(300)]
    checks += [Check("kernels", f"point-{i}: status", "ok", "", "ok", "pass") for i in range(300)]
    checks += [Check("kernels", "matmul: status", "wrong", "", "ok", "fail", "é" * 400)]
    text = summary(checks, "first contact with a board")
    assert len(text.encode()) <= MAX_SUMMARY
    lines = text.splitlines()
    assert lines[0] == "first contact with a board"
    assert lines[1:3] == ["clockwork      300 pass", "kernels        1 fail, 300 pass"]
    assert lines[4].startswith("fail       kernels: matmul: status: wrong, expected ok: ééé")
    assert "more in summary.json" in text
    assert "point-7" not in text  # counted only
    assert lines[-1] == "not everything is as expected: 601 checks, 1 failed"


def test_a_line_is_one_line() -> None:
    assert (
        line(Check("s", "n", None, "us", "1 to 2", "fail", "a\nb\x1b[31m")) == "fail       s: n: not measured us, expected 1 to 2: a b [31m"
    )


def test_files(tmp_path: Path) -> None:
    assert output.used_already(tmp_path) is None
    assert output.read_measured(tmp_path) == {}
    output.append(tmp_path, "queue", {"depth": 1022})
    output.append(tmp_path, "host", {"null": 4e-6})
    with (tmp_path / output.CLOCKWORK).open("a") as file:
        file.write('{"name": "load", "measu')  # a kill in the middle of a line
    assert output.read_measured(tmp_path) == {"queue": {"depth": 1022}, "host": {"null": 4e-6}}
    checks = [Check("facts", "L2", 52428800, "bytes", "52428800", "pass")]
    text = output.write_summary(tmp_path, checks, "title")
    assert (tmp_path / "summary.txt").read_text() == text
    written = json.loads((tmp_path / "summary.json").read_text())
    assert [set(entry) >= {"check", "value", "unit", "expected", "verdict"} for entry in written] == [True]
    assert output.used_already(tmp_path) == "summary.json"


# What an H100 SXM5 measured on 2026-11-26 (docs/validation), in microseconds, as samples.
def samples(*microseconds: float) -> dict[str, Any]:
    return {"seconds": [us * 1e-6 for us in microseconds], "late": 0}


BOARD: dict[str, Any] = {
    "holds": [{"asked_s": s, **samples(us)} for s, us in ((0.2e-3, 206.6), (2e-3, 2038.7), (10e-3, 10181.2))],
    "events": {"empty": samples(1.25, 1.25, 1.28), "null": samples(3.2), "two_nulls": samples(4.83)},
    "graphs": [{"launches": k, **samples(us)} for k, us in ((1, 2.75), (10, 12.26), (100, 98.43), (400, 385.5), (4000, 3838.0))],
    "queue": {"depth": 1022},
    "host": {"make_and_record_event": 8e-6, "record_event": 4e-6, "null": 4e-6, "flush": 9.4e-6, "synchronize": 5.8e-6, "read": 30e-6},
    "copies": [
        {"mib": 8, "bytes": 2 * 2**23, "sets": 11, "hot": samples(5.9), "flushed": samples(8.0), "rotated": samples(9.7)},
        {"mib": 32, "bytes": 2 * 2**25, "sets": 4, "hot": samples(26.0), "flushed": samples(21.1), "rotated": samples(26.2)},
        {"mib": 1024, "bytes": 2 * 2**30, "sets": 2, "hot": samples(713.0), "flushed": samples(708.5), "rotated": samples(713.4)},
    ],
    "slow_hosts": {
        "quick": {"status": "ok", "reason": None, "mode": "events", "median_s": 28.0e-6},
        "sleeping": {"status": "noisy", "reason": "…", "mode": "events", "median_s": 28.3e-6},
        "waiting": {"status": "ok", "reason": None, "mode": "host", "median_s": 45e-6},
    },
    "load": {
        "flops": 2 * 4096**3,
        "sampled": {"status": "ok", "reason": None, "mode": "graph", "median_s": 180e-6},
        "batch_s": 200e-6,
        "sm_clock_hz": 1.455e9,
        "slowed_s": {"power cap": 1.5},
        "spoiling": [],
    },
}


def test_the_board_that_the_ranges_come_from_passes() -> None:
    checks = clock_checks.judge(BOARD)
    assert [check for check in checks if check.verdict != "pass"] == []
    assert len(checks) == 25


CHANGES: list[tuple[str, Any, set[str], str]] = [
    ("queue", {"depth": None}, {"queue: the launch that waits"}, "QUEUE"),
    ("queue", {"depth": 400}, {"queue: the launch that waits"}, "QUEUE"),
    (
        "events",
        {**BOARD["events"], "empty": samples(2.4)},
        {"events: nothing between"},
        "EVENT_S of benches/devices/virtual.py: 2.4 us is right",
    ),
    ("events", {**BOARD["events"], "null": samples()}, {"events: a null kernel between", "events: one more null kernel"}, "in time"),
    ("host", {**BOARD["host"], "read": 6e-3}, {"host: read"}, ""),
    ("holds", [{"asked_s": s, **samples(s * 1e6 / 2)} for s in (0.2e-3, 2e-3, 10e-3)], {"hold: measured over asked"}, "factor of 2.0000"),
    ("load", {**BOARD["load"], "batch_s": None}, {"product: bf16 4096³, 300 back to back"}, ""),
    ("load", {**BOARD["load"], "spoiling": ["thermal"]}, {"clock: slowed by heat or hardware"}, "seconds"),
    ("load", {"error": "RuntimeError: CUDA error"}, {"load"}, "CUDA error"),
    (
        "slow_hosts",
        {**BOARD["slow_hosts"], "waiting": {"status": "error", "reason": "NoSamples", "mode": None, "median_s": None}},
        {"host waits in a launch: status", "host waits in a launch: mode"},
        "NoSamples",
    ),
]


@pytest.mark.parametrize(("section", "found", "failing", "note"), CHANGES)
def test_what_is_otherwise_fails_its_own_check_and_names_the_constant(section: str, found: Any, failing: set[str], note: str) -> None:
    checks = [check for check in clock_checks.judge({**BOARD, section: found}) if check.verdict == "fail"]
    assert {check.check for check in checks} == failing
    assert note in checks[0].note


def test_a_section_that_was_not_reached_is_unfinished() -> None:
    checks = clock_checks.judge({name: found for name, found in BOARD.items() if name != "load"})
    assert [(check.check, check.verdict) for check in checks if check.verdict != "pass"] == [("load", "unfinished")]


def test_the_assumed_graph_latency_is_found_from_slopes() -> None:
    """1.5 us + 0.8 us a launch."""
    found = [{"launches": k, **samples(1.5 + 0.8 * k)} for k in (1, 10, 100, 400, 4000)]
    each, latency = clock_checks.judge_graphs(found)
    assert (each.value, latency.value) == (pytest.approx(0.8, abs=1e-4), pytest.approx(1.5, abs=1e-3))
    assert virtual.NULL_S * (1 - clock_checks.TOLERANCE) < 0.8e-6


FACTS: dict[str, Any] = {
    "kind": "cuda",
    "name": "NVIDIA H100 80GB HBM3",
    "gpu": "h100_sxm5",
    "l2_bytes": 52428800,
    "capability": [9, 0],
    "sm_count": 132,
    "memory_bytes": 85_017_493_504,
    "reading": {"sm_clock_hz": 1.98e9, "memory_clock_hz": 2.619e9, "power_w": 78.0, "temperature_c": 36, "reasons": []},
    "counters": ["power cap", "thermal"],
    "can_measure": True,
    "blocks": [],
}


@pytest.mark.parametrize(
    ("change", "failing"),
    [
        ({}, set()),
        ({"l2_bytes": 62914560}, {"L2"}),
        ({"sm_count": 114}, {"SMs"}),
        ({"capability": [10, 0]}, {"compute capability"}),
        ({"counters": []}, {"counters of slowdowns"}),
        ({"reading": {**FACTS["reading"], "reasons": None, "power_w": None}}, {"what holds the clock down", "power"}),
        ({"can_measure": False, "blocks": ["no compiler"]}, {"doctor: this machine can measure"}),
    ],
)
def test_facts(change: dict[str, Any], failing: set[str]) -> None:
    assert {check.check for check in board_facts.judge_facts({**FACTS, **change}, H100) if check.verdict == "fail"} == failing


def test_an_unknown_board_is_named() -> None:
    (check,) = [c for c in board_facts.judge_facts({**FACTS, "gpu": None, "name": "NVIDIA X1"}, None) if c.verdict == "fail"]
    assert "'NVIDIA X1'" in check.note


def row(status: str = "ok", **fields: Any) -> Row:
    point = OPS["matmul"].point("triton", "bf16", {"m": 2048, "n": 2048, "k": 2048})
    usual = {"mode": "graph", "sets": 7, "cache": "cold", "median_s": 30e-6, "error_over_tolerance": 0.9}
    return new_row(point, OPS["matmul"].cost(point, "cuda"), status, **{**usual, **fields})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("found", "failing"),
    [
        (row(), []),
        (row("noisy", peak_memory_bytes=25_165_824), []),
        (row("wrong", median_s=None, mode=None, error_over_tolerance=None, reason="off"), ["status"]),
        (row(error_over_tolerance=1.01), ["error over tolerance"]),
        (row(mode="events"), ["mode"]),
        (row(mode="events", sets=1), []),  # flushed
        (row(mode="host", launch_bound=True, median_s=80e-3), []),  # a host slower than a graph can be
        (row(mode="wall"), ["mode"]),
        (row(mode="wall", phases_s={"forward": 1e-3}), []),
        (row(peak_memory_bytes=25_165_824 + 33_554_432), []),  # cuBLAS's workspace
        (row(peak_memory_bytes=25_165_824 + 2 * 33_554_432, scratch_bytes=2 * 33_554_432), []),  # autograd's thread has its own
        (row(peak_memory_bytes=2 * 25_165_824, scratch_bytes=0), ["peak memory"]),
        (row(peak_memory_bytes=3 * 25_165_824), ["peak memory"]),
        (row(peak_memory_bytes=20_000_000), ["peak memory"]),
    ],
)
def test_rows(found: Row, failing: list[str]) -> None:
    checks = rows.judge_row("kernels", found, 25e-6)
    assert [check.check.split(": ")[1] for check in checks if check.verdict == "fail"] == failing


def test_what_is_not_supported_needs_a_reason() -> None:
    assert [rows.judge_row("kernels", row("unsupported", reason=why), None)[0].verdict for why in ("no fp8", None)] == ["pass", "fail"]


@pytest.mark.parametrize(
    ("name", "status", "verdict"),
    [
        ("illegal access", "error", "pass"),
        ("illegal access", "ok", "fail"),
        ("endless kernel", "timeout", "pass"),
        ("device assert", "crashed", "fail"),
        ("good point", "noisy", "pass"),
        ("good point", "error", "fail"),
    ],
)
def test_faults(name: str, status: str, verdict: str) -> None:
    assert faults.judge_row(name, row(status)).verdict == verdict


def test_memory_that_does_not_come_back() -> None:
    kept = 64 * 2**20
    assert [faults.judge_memory(5 * 10**8, 5 * 10**8 + more, kept).verdict for more in (-(10**6), 0, kept, kept + 2**20)] == [
        *["pass"] * 3,
        "fail",
    ]


def test_each_fault_has_a_point_of_its_own() -> None:
    assert [point.label for point in faults.points()] == list(faults.EXPECTED)
    assert len({point.id for point in faults.points()}) == len(faults.EXPECTED)
    assert set(faults.CUDA) == set(faults.SIMULATED) == set(faults.EXPECTED) - {faults.GOOD}


COLUMNS = ("ID", "Process ID", "Kernel Name", "Block Size", "Section Name", "Metric Name", "Metric Unit", "Metric Value")
HEADER = ",".join(f'"{name}"' for name in COLUMNS)


def ncu_line(i: int, value: str, unit: str = "byte", metric: str = "dram__bytes_read.sum") -> str:
    kernel = "void at::native::vectorized_elementwise_kernel<4, at::native::neg_kernel(at::TensorIteratorBase &)>(int, T2, T3)"
    return f'"{i}","77","{kernel}","(128, 1, 1)","Command line profiler metrics","{metric}","{unit}","{value}"'


def test_what_ncu_prints_is_read_by_column_names_and_units() -> None:
    text = "\n".join(
        [
            "==PROF== Connected to process 77 (/usr/bin/python3.12)",
            '==PROF== Profiling "vectorized_elementwise_kernel" - 0: 0%....100% - 1 pass',
            HEADER,
            ncu_line(0, "8,388,608"),
            ncu_line(1, "12.5", "Kbyte"),
            ncu_line(1, "3", "inst", "other.sum"),
            ncu_line(2, "8.4", "Mbyte"),
        ]
    )
    assert counters.parse(text) == [8388608.0, 12500.0, 8.4e6]
    with pytest.raises(ValueError, match="'sector'"):
        counters.parse("\n".join([HEADER, ncu_line(0, "1", "sector")]))
    refused = "==ERROR== ERR_NVGPUCTRPERM - The user does not have permission to access NVIDIA GPU Performance Counters"
    assert counters.parse(refused) == []
    assert counters.explain(f"noise\n{refused}\n") == refused
    assert counters.explain("") == "ncu printed nothing"


@pytest.mark.parametrize(
    ("hot", "rotated", "verdicts"),
    [
        (0.01, 1.0, ["pass", "pass"]),
        (1.0, 1.0, ["fail", "pass"]),
        (0.01, 0.1, ["pass", "fail"]),
    ],
)
def test_dram_reads(hot: float, rotated: float, verdicts: list[str]) -> None:
    read = [counters.BYTES, *[hot * counters.BYTES] * (counters.HOT - 1), *[rotated * counters.BYTES] * counters.SETS]
    assert [check.verdict for check in counters.judge(read)] == verdicts


def test_too_few_counted_launches_fail() -> None:
    assert [check.verdict for check in counters.judge([8e6])] == ["fail", "fail"]

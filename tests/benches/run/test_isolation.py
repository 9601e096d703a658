"""A bad kernel costs its point and nothing else; a bad day ends the run with a line that says what to do. The faults are real."""

from __future__ import annotations

import json
import math
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benches.row import CHECKED_ONLY, CONTEXT_LOST, INTERRUPTED, TIMED, Row, new_row
from benches.run.isolation import Isolated
from benches.run.journal import NAME, read_journal
from benches.run.resume import differences, finished, lock, repair
from benches.timing.failure import cause_of
from kernels.guard import ROOT
from kernels.registry import OPS
from studies.campaign import campaign

SIZES = range(1, 9)
NO_PAGE = ("-p", "no:reports.pytest_plugin")  # it takes two seconds, as long as the run


SWEEP = "name: eight\nsweeps:\n  - {op: matmul, impl: torch, precision: bf16, dims: {m: {range: [1, 8, 1]}, n: 512, k: 512}}\n"


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    path = tmp_path / "eight.yaml"
    path.write_text(SWEEP)
    return path


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, to be copied."""
    folder = tmp_path_factory.mktemp("whole")
    (folder / "eight.yaml").write_text(SWEEP)
    done = run("--sweep", folder / "eight.yaml", "--run-dir", folder / "run", *NO_PAGE)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "run"


def run(*arguments: str | Path, faults: str = "", **environment: str) -> subprocess.CompletedProcess[str]:
    options = ["--benchmark-only", "--device", "simulated", "-p", "no:cacheprovider", "-q", *map(str, arguments)]
    command = [sys.executable, "-m", "pytest", "benches/", *options]
    variables = {**os.environ, "MICROBENCH_FAULTS": faults, **environment}
    return subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, encoding="utf-8", timeout=300, check=False)


def by_size(run_dir: Path) -> dict[int, Row]:
    return {row.dims["m"]: row for row in read_journal(run_dir).rows}


def point(m: int) -> str:
    return f"matmul-torch-bf16-{m}x512x512"


@pytest.mark.slow
def test_each_fault_costs_its_point_and_no_other(sweep: Path, tmp_path: Path) -> None:
    planted = {1: "crash", 2: "abort", 3: "exit", 4: "hang", 5: "kill", 6: "oom", 7: "sticky"}
    faults = ",".join(f"{fault}:{point(m)}" for m, fault in planted.items())
    done = run("--sweep", sweep, "--run-dir", tmp_path / "run", "--point-timeout", "10", *NO_PAGE, faults=faults)
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout + done.stderr
    rows = by_size(tmp_path / "run")
    assert {m: row.status for m, row in rows.items()} == {
        1: "crashed",
        2: "crashed",
        3: "crashed",
        4: "timeout",
        5: "crashed",
        6: "oom",
        7: "error",
        8: rows[8].status,
    }
    assert rows[8].status in TIMED
    reasons = {m: str(row.reason) for m, row in rows.items()}
    assert reasons[1].startswith("the worker was ended by SIGSEGV; its last output: ")
    assert "ended by SIGABRT" in reasons[2]
    assert reasons[3] == "the worker exited with code 3"
    assert reasons[4] == "no result after 10 s; the worker was killed"
    assert "ended by SIGKILL" in reasons[5]
    assert "CUDA error: an illegal memory access" in reasons[7]
    assert all(row.median_s is None for m, row in rows.items() if m != 8)


@pytest.mark.slow
def test_a_lost_gpu_ends_the_run_with_what_to_do_and_the_run_goes_on_later(sweep: Path, tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    done = run("--sweep", sweep, "--run-dir", run_dir, faults=f"lost:{point(4)}")
    assert done.returncode not in (0, 1)
    output = done.stdout + done.stderr
    assert "the GPU no longer answers" in output
    assert f"--resume {shlex.quote(str(run_dir))} --retry-failed" in output
    before = by_size(run_dir)
    assert before[4].status == "error"
    assert json.loads((run_dir / "environment.json").read_text())["interrupted"] is True
    again = run("--resume", run_dir, "--retry-failed", *NO_PAGE)
    assert again.returncode == 0, again.stdout + again.stderr
    after = by_size(run_dir)
    assert set(after) == set(SIZES)
    assert all(row.status in TIMED for row in after.values())
    assert all(after[m] == row for m, row in before.items() if row.status in TIMED)


@pytest.mark.slow
def test_resume_measures_only_what_has_no_row_and_repairs_a_torn_line(whole: Path, tmp_path: Path) -> None:
    run_dir = shutil.copytree(whole, tmp_path / "run")
    lines = (run_dir / NAME).read_bytes().splitlines(keepends=True)
    (run_dir / NAME).write_bytes(b"".join(lines[:5]) + lines[5][: len(lines[5]) // 2])
    done = run("--resume", run_dir, *NO_PAGE)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "the last line was torn" in done.stdout
    after = (run_dir / NAME).read_bytes().splitlines(keepends=True)
    assert after[:5] == lines[:5]
    assert len(after) == 8
    assert set(by_size(run_dir)) == set(SIZES)


@pytest.mark.slow
def test_resume_refuses_what_changed(whole: Path, tmp_path: Path) -> None:
    run_dir = shutil.copytree(whole, tmp_path / "run")
    other = tmp_path / "other.yaml"
    other.write_text(SWEEP.replace("[1, 8, 1]", "[1, 9, 1]"))
    before = (run_dir / NAME).read_bytes()
    for arguments, what in ((["--seed", "7"], "seed: "), (["--sweep", str(other)], "the sweep")):
        refused = run("--resume", run_dir, *arguments)
        assert refused.returncode == pytest.ExitCode.USAGE_ERROR
        assert f"cannot be resumed, since this changed: {what}" in refused.stdout + refused.stderr
    assert (run_dir / NAME).read_bytes() == before


@pytest.mark.slow
def test_resume_of_nothing_is_one_line(tmp_path: Path) -> None:
    done = run("--resume", tmp_path / "absent")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "no run to resume" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_two_runs_in_one_directory(sweep: Path, tmp_path: Path) -> None:
    held, note = lock(tmp_path)
    assert note is None
    done = run("--sweep", sweep, "--run-dir", tmp_path)
    held.close()
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "another run is writing there" in done.stdout + done.stderr
    assert not (tmp_path / NAME).exists()


def test_differences_name_what_changed() -> None:
    before = {"host": "a", "versions": {"torch": "2.11", "triton": "3.6"}, "commit": "x", "os": "unimportant"}
    now = {"host": "a", "versions": {"torch": "2.13", "triton": "3.6"}, "commit": "y", "os": "other"}
    assert differences(before, now) == ["torch: 2.11 → 2.13", "commit: x → y"]


@pytest.mark.parametrize(
    ("before", "now", "changed"),
    [
        ({"cudnn": 91900}, {"cudnn": 91900}, []),
        ({"cudnn": 91900}, {"cudnn": 92000}, ["cudnn: 91900 → 92000"]),
        ({"cudnn": None}, {"cudnn": 92000}, ["cudnn: None → 92000"]),
        ({"tuned": "53af6e2e"}, {}, ["tuned: 53af6e2e → None"]),
        ({}, {"cudnn": 92000, "vbios": "96.00", "cuda_runtime": "13.0", "variables": {"CUDA_LAUNCH_BLOCKING": "1"}}, []),  # an older file
        (
            {"vbios": "96.00", "cuda_runtime": "12.8"},
            {"vbios": "97.00", "cuda_runtime": "13.0"},
            ["vbios: 96.00 → 97.00", "cuda_runtime: 12.8 → 13.0"],
        ),
        ({"variables": {}}, {"variables": {"CUDA_LAUNCH_BLOCKING": "1"}}, ["CUDA_LAUNCH_BLOCKING: not set → 1"]),
        ({"variables": {"OMP_NUM_THREADS": "4"}}, {"variables": {}}, ["OMP_NUM_THREADS: 4 → not set"]),
        ({"variables": {"CUDA_VISIBLE_DEVICES": "0"}}, {"variables": {"CUDA_VISIBLE_DEVICES": "3", "TORCH_HOME": "/tmp"}}, []),
        ({"variables": "damaged"}, {"variables": {}}, ["variables: damaged → {}"]),
    ],
)
def test_what_later_versions_record_counts_where_both_have_it(before: dict[str, Any], now: dict[str, Any], changed: list[str]) -> None:
    assert differences(before, now) == changed


@pytest.mark.parametrize(
    ("reason", "sticky"),
    [
        ("AcceleratorError: CUDA error: an illegal memory access was encountered", True),
        ("RuntimeError: Triton Error [CUDA]: an illegal memory access was encountered", True),
        ("RuntimeError: CUDA driver error: unspecified launch failure", True),
        ("RuntimeError: CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling cublasGemmEx", True),
        ("RuntimeError: captures_underway.empty() INTERNAL ASSERT FAILED at CUDACachingAllocator.cpp", True),
        ("ValueError: shapes do not match", False),
        ("CompilationError: at 3:4", False),
    ],
)
def test_errors_that_end_a_process(reason: str, sticky: bool) -> None:
    assert (cause_of(RuntimeError(reason)) == CONTEXT_LOST) == sticky


def test_rows_that_were_only_checked_are_measured_on_resume() -> None:
    op = OPS["matmul"]
    points = [op.point("torch", "bf16", {"m": m, "n": 64, "k": 64}) for m in (1, 2, 3, 4)]
    ends = (("ok", None), ("verified", CHECKED_ONLY), ("crashed", None), ("error", INTERRUPTED))
    rows = [new_row(p, op.cost(p, "cuda"), status, cause=cause) for p, (status, cause) in zip(points, ends, strict=True)]  # type: ignore[arg-type]
    assert set(finished(rows, retry=False)) == {points[0].id, points[2].id}
    assert set(finished(rows, retry=True)) == {points[0].id}


@pytest.mark.slow
def test_a_device_that_does_not_open_is_one_line_and_leaves_nothing(sweep: Path, tmp_path: Path) -> None:
    done = run("--sweep", sweep, "--run-dir", tmp_path / "run", faults="bogus")
    output = done.stdout + done.stderr
    assert done.returncode == pytest.ExitCode.USAGE_ERROR, output
    assert "MICROBENCH_FAULTS: 'bogus' is not fault:pattern" in output
    assert "Traceback" not in output
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("tail", "kept"), [(b"", b""), (b'{"point": "a', b""), (b"not a row", b"")])
def test_repair(tmp_path: Path, tail: bytes, kept: bytes) -> None:
    (tmp_path / NAME).write_bytes(b"first line\n" + tail)
    said = repair(tmp_path)
    assert (tmp_path / NAME).read_bytes() == b"first line\n" + kept
    assert (said is not None) == bool(tail)


@pytest.mark.slow
def test_the_workers_memory_is_limited(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An allocation beyond the limit is refused to the worker, and is `oom`; on the real CPU."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # each thread's stack counts
    op = OPS["elementwise"]
    opening = {"kind": "cpu", "run_dir": tmp_path, "seed": 1, "asked": {"max_call_s": math.inf}}  # on a busy machine it would be skipped
    opening["described"] = {"ceilings": {"peak_flops_per_s": {"fp32": 1e11}, "bandwidth_bytes_per_s": 1e10}}  # or they would be measured
    measurer = Isolated(opening, tmp_path / "log", limit_s=120.0, memory_bytes=1_500_000_000)
    try:
        measurer.describe()
        big = op.point("torch", "fp32", {"m": 2**15, "n": 2**14}, {"function": "copy"})
        small = op.point("torch", "fp32", {"m": 127, "n": 131}, {"function": "copy"})
        assert measurer.row_of(big, False).status == "oom"
        assert measurer.row_of(small, False).status == "verified"
    finally:
        measurer.close()


@pytest.mark.slow
def test_a_small_campaign(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("studies.campaign.POINT_TIMEOUT_S", 8.0)
    outcome = campaign(tmp_path, points=60, crashes=4, hangs=1, kills=2, seed=3)
    assert outcome.ok, outcome
    assert (outcome.statuses["crashed"], outcome.statuses["timeout"]) == (4, 1)


@pytest.mark.slow
def test_a_full_disk_ends_the_run_with_what_to_do_and_loses_no_row(sweep: Path, tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: the journal meets it in the middle of a row."""
    run_dir = tmp_path / "run"
    limit = "resource.setrlimit(resource.RLIMIT_FSIZE, (6_000, 6_000))"
    program = f"import resource, sys; {limit}; import pytest; sys.exit(pytest.main(sys.argv[1:]))"
    options = [
        "--benchmark-only",
        "--device",
        "simulated",
        "-p",
        "no:cacheprovider",
        "-q",
        "--sweep",
        str(sweep),
        "--run-dir",
        str(run_dir),
    ]
    command = [sys.executable, "-c", program, "benches/", *options]
    variables = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}  # the limit would cut compiled modules short as well
    done = subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, encoding="utf-8", timeout=300, check=False)
    output = done.stdout + done.stderr
    assert done.returncode not in (0, 1), output
    assert "rows.jsonl: cannot be written: File too large; make room and run again" in output
    assert "Traceback" not in output
    whole = [line for line in (run_dir / NAME).read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
    assert whole
    again = run("--resume", run_dir, *NO_PAGE)
    assert again.returncode == 0, again.stdout + again.stderr
    assert (run_dir / NAME).read_bytes().startswith(b"".join(whole))
    assert set(by_size(run_dir)) == set(SIZES)

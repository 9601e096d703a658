"""`pytest benches/ --gpus …` as people use it, on simulated boards: a survey of eight, a kill and its resumption, bad input."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benches.devices.node_gpus import NodeGpu
from benches.pytest_plugin import placement as placing
from benches.pytest_plugin.session import DEFAULT_SEED
from benches.row import TIMED
from benches.run.isolation import Interrupted, Isolated
from benches.run.journal import NAME, read_journal
from benches.run.order import shuffled
from benches.run.survey_file import read_survey
from benches.sweep.load import load_sweep
from kernels.guard import ROOT
from kernels.registry import OPS

SWEEP = "name: four\nsweeps:\n  - {op: matmul, impl: torch, precision: bf16, dims: {m: {range: [1, 4, 1]}, n: 512, k: 512}}\n"
H100 = [NodeGpu(i, f"GPU-{i}", "NVIDIA H100 80GB HBM3") for i in range(2)]
PLANTED = "board:3.pcie_width=8,board:3.ecc_corrected=5"
L4 = NodeGpu(2, "GPU-2", "NVIDIA L4")


def command(*arguments: str | Path) -> list[str]:
    options = ["--benchmark-only", "--device", "simulated", "-p", "no:cacheprovider", "-q", *map(str, arguments)]
    return [sys.executable, "-m", "pytest", "benches/", *options]


NO_PAGES = ("-p", "no:reports.pytest_plugin")  # each takes a second


def variables(faults: str = "") -> dict[str, str]:
    return {**os.environ, "MICROBENCH_FAULTS": faults, "OMP_NUM_THREADS": "1", "MICROBENCH_SIMULATED_GPUS": ""}


def run(*arguments: str | Path, faults: str = "") -> subprocess.CompletedProcess[str]:
    done = command(*arguments)
    return subprocess.run(done, cwd=ROOT, env=variables(faults), capture_output=True, encoding="utf-8", timeout=300, check=False)


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    path = tmp_path / "four.yaml"
    path.write_text(SWEEP, encoding="utf-8")
    return path


@pytest.mark.slow
def test_eight_gpus_in_one_session(sweep: Path, tmp_path: Path) -> None:
    done = run("--gpus", "all", "--sweep", sweep, "--run-dir", tmp_path / "run", "-k", "1x512x512 or 2x512x512", *NO_PAGES, faults=PLANTED)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout
    survey = read_survey(tmp_path / "run")
    assert [(gpu.index, gpu.status) for gpu in survey.gpus] == [(i, "finished") for i in range(8)]
    assert len({gpu.uuid for gpu in survey.gpus}) == 8
    for gpu in survey.gpus:  # of one board each, in virtual time: nothing is shared
        assert list((gpu.beside or {}).values()) == pytest.approx([1.0, 1.0], abs=0.01)
    samples = set()
    for gpu in survey.gpus:
        folder = tmp_path / "run" / gpu.directory
        rows = read_journal(folder).rows
        assert sorted(row.dims["m"] for row in rows) == [1, 2]
        assert {(row.gpu_index, row.device_uuid) for row in rows} == {(gpu.index, gpu.uuid)}
        environment = json.loads((folder / "environment.json").read_text(encoding="utf-8"))
        assert environment["device_uuid"] == gpu.uuid
        facts = [(environment["board"][moment]["pcie_width"], environment["board"][moment]["ecc_corrected"]) for moment in ("start", "end")]
        assert facts == ([(8, 0), (8, 5)] if gpu.index == 3 else [(16, 0), (16, 0)])
        samples |= {(row.point, *row.samples_s) for row in rows}
    assert len(samples) == 8 * 2  # each board has noise of its own


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["survey", "shard"])
def test_after_a_kill_each_point_and_gpu_is_once_in_the_end(mode: str, sweep: Path, tmp_path: Path) -> None:
    """A point that hangs holds the run while it is killed."""
    run_dir = tmp_path / "run"
    started = subprocess.Popen(
        command("--gpus", "0,1", "--mode", mode, "--sweep", sweep, "--run-dir", run_dir),
        cwd=ROOT,
        env=variables("hang:matmul-torch-bf16-2x512x512"),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline and not any(path.stat().st_size for path in run_dir.rglob(NAME)):
            time.sleep(0.1)
    finally:
        started.send_signal(signal.SIGKILL)
        started.wait()
    done = run("--resume", run_dir, *(() if mode == "survey" else NO_PAGES))
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [json.loads(line) for path in run_dir.rglob(NAME) for line in path.read_text(encoding="utf-8").splitlines()]
    if mode == "survey":
        assert Counter((line["dims"]["m"], line["gpu_index"]) for line in lines) == {(m, gpu): 1 for m in (1, 2, 3, 4) for gpu in (0, 1)}
        survey = read_survey(run_dir)
        assert {gpu.status for gpu in survey.gpus} == {"finished"}
        *_, page, pages, verdict = done.stdout.splitlines()
        assert page == f"report: {run_dir / 'report.html'}"
        assert pages == f"of each GPU: {run_dir}/*/report.html"
        assert all((run_dir / gpu.directory / "report.html").is_file() for gpu in survey.gpus)
        assert verdict == f"survey: python -m reports survey {shlex.quote(str(run_dir))}"
        assert "which of 2 GPUs is slow cannot be judged" in done.stdout
        alone = run("--resume", run_dir / survey.gpus[1].directory, *NO_PAGES)  # a GPU's directory is an ordinary run
        assert (alone.returncode, "4 passed" in alone.stdout) == (0, True), alone.stdout + alone.stderr
    else:
        assert Counter(line["dims"]["m"] for line in lines) == {1: 1, 2: 1, 3: 1, 4: 1}
        assert {line["gpu_index"] for line in lines} <= {0, 1}


@pytest.mark.slow
def test_the_first_failure_cancels_what_is_scheduled(sweep: Path, tmp_path: Path) -> None:
    first, *others = shuffled([point.id for point in load_sweep(sweep).points], DEFAULT_SEED)
    faults = ",".join([f"wrong:{first}", *(f"hang:{other}" for other in others)])
    start = time.monotonic()
    done = run("-x", "--gpus", "0,1", "--sweep", sweep, "--run-dir", tmp_path / "run", *NO_PAGES, faults=faults)
    assert done.returncode in (1, 2), done.stdout + done.stderr
    assert time.monotonic() - start < 250  # a point that hangs is given up after 300 s
    rows = [row for path in (tmp_path / "run").rglob(NAME) for row in read_journal(path.parent).rows]
    assert [(row.point, row.status) for row in rows] == [(first, "wrong")] * 2


@pytest.mark.slow
def test_a_wait_is_ended_from_another_thread(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The worker of the point is replaced, and measures the next one."""
    monkeypatch.setenv("MICROBENCH_FAULTS", "hang:*-1x512x512")
    one, two = (OPS["matmul"].point("torch", "bf16", {"m": m, "n": 512, "k": 512}) for m in (1, 2))
    measurer = Isolated({"kind": "simulated", "run_dir": tmp_path, "seed": 1, "asked": {}}, tmp_path / "log", limit_s=120.0)
    try:
        measurer.describe()
        threading.Timer(0.5, measurer.interrupt, (one.id, "enough")).start()
        with pytest.raises(Interrupted) as raised:
            measurer.row_of(one, True)
        assert (raised.value.row.point, raised.value.row.reason) == (one.id, "enough")
        assert measurer.row_of(two, True).status in TIMED
    finally:
        measurer.close()


def place(monkeypatch: pytest.MonkeyPatch, options: dict[str, Any], **more: Any) -> placing.Placement:
    monkeypatch.setattr(placing, "node_gpus", lambda kind: (*H100, L4))
    given = {"--gpus": None, "--mode": None, "--isolation": "process"} | options
    how = {"kind": "cuda", "before": {}, "shard": None} | more
    return placing.placement(SimpleNamespace(getoption=given.get), **how)  # type: ignore[arg-type]


BEFORE = {"mode": "survey", "gpus": [{"uuid": "GPU-1"}, {"uuid": "GPU-2"}]}


@pytest.mark.parametrize(
    ("options", "more", "mode", "indices"),
    [
        ({}, {}, None, []),
        ({"--gpus": "all"}, {}, "survey", [0, 1, 2]),
        ({"--gpus": "1"}, {}, "shard", [1]),
        ({"--gpus": "1", "--mode": "survey"}, {}, "survey", [1]),
        ({"--gpus": "0,1", "--mode": "shard"}, {}, "shard", [0, 1]),
        ({"--gpus": "0,1"}, {"shard": "1/4"}, "shard", [0, 1]),
        ({}, {"before": BEFORE}, "survey", [1, 2]),
        ({"--gpus": "1"}, {"before": BEFORE}, "survey", [1]),
    ],
)
def test_where_points_go(
    options: dict[str, Any], more: dict[str, Any], mode: str | None, indices: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = place(monkeypatch, options, **more)
    assert (found.mode, [gpu.index for gpu in found.gpus]) == (mode, indices)


@pytest.mark.parametrize(
    ("options", "more", "says"),
    [
        ({"--gpus": "7"}, {}, "--gpus 7: '7' is not a GPU here; choose from 0 to 2"),
        ({"--gpus": "0,0"}, {}, "is named twice"),
        ({"--mode": "shard"}, {}, "name them, as with --gpus all"),
        (
            {"--gpus": "0,2", "--mode": "shard"},
            {},
            "of several models (NVIDIA H100 80GB HBM3, NVIDIA L4): name those of one, or use --mode survey",
        ),
        ({"--gpus": "0"}, {"kind": "cpu"}, "the device is the CPU: leave --gpus out"),
        ({"--gpus": "0", "--isolation": "none"}, {}, "leave one of them out"),
        ({"--gpus": "0,1", "--mode": "survey"}, {"shard": "1/4"}, "where every GPU measures every point"),
        (
            {},
            {"before": {"mode": "shard", "gpus": [{"uuid": "GPU-9"}]}},
            "the GPUs of the run to resume, where --gpus names no others: 'GPU-9' is not a GPU here",
        ),
        ({"--gpus": ""}, {"before": BEFORE}, "--gpus : '' is not a GPU here"),
        ({"--mode": "shard"}, {"before": BEFORE}, "continues with --mode survey: leave --mode out"),
    ],
)
def test_what_cannot_be_placed_is_a_line(options: dict[str, Any], more: dict[str, Any], says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(pytest.UsageError) as raised:
        place(monkeypatch, options, **more)
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.slow
def test_bad_input_is_a_usage_error_before_anything_is_written(sweep: Path, tmp_path: Path) -> None:
    for arguments in (["--gpus", "0,9"], ["--shard", "5/4"]):
        done = run(*arguments, "--sweep", sweep, "--run-dir", tmp_path / "run")
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
        assert (done.returncode, len(lines)) == (pytest.ExitCode.USAGE_ERROR, 1), done.stdout + done.stderr
        assert not (tmp_path / "run").exists()

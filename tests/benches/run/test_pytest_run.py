"""`pytest benches/ --benchmark-only` as people use it, on the simulated device: exit codes, selections, interruptions, exact replay."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benches.run.journal import read_journal
from benches.sweep.load import load_sweep
from kernels.guard import ROOT
from reports.__main__ import main as reports

pytestmark = pytest.mark.slow

SWEEP = """
name: small
sweeps:
  - op: matmul
    impl: [torch, triton]
    precision: [bf16, fp8_e4m3]
    layout: [nt]
    dims: {m: [127, 129], n: [16, 1024], k: 512}
  - op: matmul
    precision: fp8_e4m3
    impl: torch
    dims: {m: 64, n: 64, k: 64}
  - op: elementwise
    impl: torch
    function: [add, gelu]
    precision: [fp32]
    dims: {m: 127, n: 131}
"""


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(SWEEP, encoding="utf-8")
    return path


def command(*arguments: str | Path, device: str = "simulated") -> list[str]:
    return [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--benchmark-only", "--device", device, *map(str, arguments)]


def run(*arguments: str | Path, device: str = "simulated") -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments, device=device), cwd=ROOT, capture_output=True, encoding="utf-8", timeout=300, check=False)


def test_rows_report_and_exact_replay(sweep: Path, tmp_path: Path) -> None:
    run_dir, exported = tmp_path / "run", tmp_path / "out.json"
    done = run("benches/", "--sweep", sweep, "--run-dir", run_dir, f"--benchmark-json={exported}")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines()[-1] == f"report: {run_dir / 'report.html'}"
    rows = {row.point: row for row in read_journal(run_dir).rows}
    assert set(rows) == {point.id for point in load_sweep(sweep).points}
    unsupported = [row for row in rows.values() if row.status == "unsupported"]
    assert [row.point for row in unsupported] == ["matmul-torch-fp8_e4m3-64x64x64"]
    assert "layout nt" in str(unsupported[0].reason)
    benchmarks = json.loads(exported.read_text(encoding="utf-8"))["benchmarks"]
    timed = {row.point: row.samples_s for row in rows.values() if row.status == "ok"}
    assert {b["params"]["point"]: b["stats"]["data"] for b in benchmarks} == timed  # equal to the bit
    assert {b["options"]["timer"] for b in benchmarks} == {"ReplayClock"}
    for name in ("environment.json", "sweep.yaml", "rows.parquet", "rows.csv", "report.html"):
        assert (run_dir / name).stat().st_size > 0
    environment = json.loads((run_dir / "environment.json").read_text(encoding="utf-8"))
    assert environment["device_kind"] == "simulated"
    assert environment["interrupted"] is False
    assert "simulated" in (run_dir / "report.html").read_text(encoding="utf-8").lower()
    assert [p.id for p in load_sweep(run_dir / "sweep.yaml").points] == [p.id for p in load_sweep(sweep).points]


@pytest.mark.parametrize(
    ("selection", "count"),
    [
        (["benches/", "-k", "bf16 and triton"], 4),
        (["benches/", "-m", "matmul"], 17),
        (["benches/test_points.py", "-m", "fp32 and torch"], 2),
        (["benches/", "-m", "einsum"], 0),
        (["benches/test_points.py::test_point[matmul-triton-bf16-127x1024x512-nt]"], 1),
    ],
)
def test_selection(sweep: Path, selection: list[str], count: int) -> None:
    done = run(*selection, "--sweep", sweep, "--collect-only", "-q")
    assert sum("::test_" in line for line in done.stdout.splitlines()) == count, done.stdout


def test_a_former_file_of_an_op_is_a_usage_error(sweep: Path, tmp_path: Path) -> None:
    """`--sweep=`: pytest takes an existing path behind an option that it does not know yet for its root, and would not find the suite."""
    done = run("benches/test_matmul.py", f"--sweep={sweep}", f"--run-dir={tmp_path / 'run'}")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line]
    assert len(lines) == 1, lines
    assert lines[0].endswith("use -m matmul")
    assert not (tmp_path / "run").exists()


def test_mistakes_in_a_sweep_are_a_usage_error(tmp_path: Path) -> None:
    bad = tmp_path / "bad.yaml"
    entries = ("{op: matmull, precision: bf16, dims: {m: 1, n: 1, k: 1}}", "{op: matmul, precision: b16, dims: {m: -1, n: 1, k: 1}}")
    bad.write_text("name: bad\nsweeps:\n" + "".join(f"  - {entry}\n" for entry in entries), encoding="utf-8")
    done = run("benches/", "--sweep", bad)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    lines = [line for line in done.stderr.splitlines() if "bad.yaml:" in line]
    assert len(lines) == 3
    assert "did you mean matmul" in lines[0]


def test_a_run_directory_is_not_overwritten(sweep: Path, tmp_path: Path) -> None:
    arguments = ("benches/", "-m", "elementwise", "--sweep", sweep, "--run-dir", tmp_path / "run", "-p", "no:reports.pytest_plugin")
    assert run(*arguments).returncode == 0
    before = (tmp_path / "run" / "rows.jsonl").read_bytes()
    again = run(*arguments)
    assert again.returncode == pytest.ExitCode.USAGE_ERROR
    assert "already holds a run" in again.stdout + again.stderr
    assert (tmp_path / "run" / "rows.jsonl").read_bytes() == before


def test_an_unwritable_run_directory_is_one_line(sweep: Path) -> None:
    done = run("benches/", "--sweep", sweep, "--run-dir", "/proc/nowhere")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    assert "/proc/nowhere: cannot be written" in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


def big_sweep(tmp_path: Path) -> Path:
    path = tmp_path / "big.yaml"
    path.write_text(
        "name: big\nsweeps:\n  - {op: matmul, impl: torch, precision: bf16, dims: {m: {range: [1, 3000, 1]}, n: 512, k: 512}}\n",
        encoding="utf-8",
    )
    return path


# A background job of a shell, as these tests may be, ignores Ctrl-C, and so would its children.
HEARING_CTRL_C = "import signal, sys, pytest; signal.signal(signal.SIGINT, signal.default_int_handler); sys.exit(pytest.main(sys.argv[1:]))"


def start(tmp_path: Path) -> tuple[subprocess.Popen[str], Path]:
    """A long simulated run, and its journal once it has rows."""
    run_dir = tmp_path / "run"
    arguments = command("benches/", "--sweep", big_sweep(tmp_path), "--run-dir", run_dir, "-q")[3:]
    process = subprocess.Popen([sys.executable, "-c", HEARING_CTRL_C, *arguments], cwd=ROOT, encoding="utf-8", stdout=subprocess.PIPE)
    deadline = time.monotonic() + 120
    while not ((run_dir / "rows.jsonl").exists() and (run_dir / "rows.jsonl").stat().st_size > 5000):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return process, run_dir


def test_ctrl_c_keeps_every_row_and_writes_the_report(tmp_path: Path) -> None:
    process, run_dir = start(tmp_path)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == pytest.ExitCode.INTERRUPTED
    assert output.splitlines()[-1] == f"report: {run_dir / 'report.html'}"
    contents = read_journal(run_dir)
    assert contents.problems == []
    assert 1 < len(contents.rows) < 3000
    assert json.loads((run_dir / "environment.json").read_text(encoding="utf-8"))["interrupted"] is True


def test_sigkill_at_a_random_moment_loses_no_finished_point(tmp_path: Path) -> None:
    process, run_dir = start(tmp_path)
    seed = int.from_bytes(os.urandom(4))
    time.sleep(random.Random(seed).uniform(0, 0.7))
    seen = (run_dir / "rows.jsonl").read_bytes()  # what was finished just before the kill
    process.kill()
    process.communicate()
    after = (run_dir / "rows.jsonl").read_bytes()
    assert after.startswith(seen), f"seed {seed}"
    contents = read_journal(run_dir)
    assert len(contents.rows) >= seen.count(b"\n"), f"seed {seed}"
    assert len(contents.problems) <= 1, f"seed {seed}"
    assert reports(["html", str(run_dir)]) == 0


def test_wrong_kernels_fail_and_the_session_goes_on(sweep: Path, tmp_path: Path) -> None:
    """A planted fault in one implementation, on the real CPU: its points are `wrong` and have no time; others are measured."""
    plugin = tmp_path / "planted_fault.py"
    plugin.write_text(
        "from dataclasses import replace\n"
        "from benches.devices import cpu\n"
        "from kernels.elementwise.functions import FUNCTIONS\n"
        "from kernels.gpus import Ceilings\n"
        "def all_but_the_last_row(out, x, y):\n    out[:-1].copy_((x + y)[:-1])\n    return out\n"
        "FUNCTIONS['add'] = replace(FUNCTIONS['add'], eager=all_but_the_last_row)\n"
        "measured = Ceilings(peak_flops_per_s={'fp32': 1e11}, bandwidth_bytes_per_s=2e10)\n"  # in place of ten seconds of measuring
        "cpu.measure_ceilings = lambda: measured\n",
        encoding="utf-8",
    )
    options = ("--isolation", "none", "-p", "planted_fault")  # a worker would not load the plugin
    arguments = command("benches/", "-m", "elementwise", "--sweep", sweep, "--run-dir", tmp_path / "run", *options, device="cpu")
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    done = subprocess.run(arguments, cwd=ROOT, env=environment, capture_output=True, encoding="utf-8", timeout=300, check=False)
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout + done.stderr
    rows = {row.function: row for row in read_journal(tmp_path / "run").rows}
    assert rows["add"].status == "wrong"
    assert "131 of 16637 elements are off" in str(rows["add"].reason)
    assert rows["add"].median_s is None
    assert rows["add"].samples_s == []
    assert rows["gelu"].status in ("ok", "noisy")
    assert rows["gelu"].median_s is not None

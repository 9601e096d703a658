"""Other plug-ins in the session: what they raise costs a point at most, what they do at the end loses no page, and points are never
measured side by side. On the simulated device."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from benches.row import INTERRUPTED, TIMED, new_row
from benches.run import environment
from benches.run.errors import file_name, keep_text
from benches.run.journal import read_journal
from kernels.guard import ROOT
from kernels.registry import OPS

SWEEP = "name: three\nsweeps:\n  - {op: matmul, impl: torch, precision: bf16, dims: {m: {range: [2, 4, 1]}, n: 512, k: 512}}\n"
HANGING = "matmul-torch-bf16-3x512x512"
IMPATIENT = """
import signal, pytest

def ring(number, frame):
    raise {error}

@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    signal.signal(signal.SIGALRM, ring)
    if "{point}" in item.name:
        signal.alarm(1)
    try:
        return (yield)
    finally:
        signal.alarm(0)
"""
SKIPPING = f"""
import pytest

def pytest_runtest_setup(item):
    if "{HANGING}" in item.name:
        pytest.skip("quarantined")
"""


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    path = tmp_path / "three.yaml"
    path.write_text(SWEEP, encoding="utf-8")
    return path


NO_PAGE = ("-p", "no:reports.pytest_plugin")  # it takes two seconds, as long as the run


def run(tmp_path: Path, *arguments: str | Path, faults: str = "") -> subprocess.CompletedProcess[str]:
    options = ["--benchmark-only", "--device", "simulated", "-p", "no:cacheprovider", *map(str, arguments)]
    path = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    variables = {**os.environ, "MICROBENCH_FAULTS": faults, "PYTHONPATH": path}
    command = [sys.executable, "-m", "pytest", "benches/", *options]
    return subprocess.run(command, cwd=ROOT, env=variables, capture_output=True, encoding="utf-8", timeout=300, check=False)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("error", "exit_code"),
    [
        ("pytest.fail.Exception('took too long')", pytest.ExitCode.TESTS_FAILED),  # as pytest-timeout does
        ("TimeoutError()", pytest.ExitCode.TESTS_FAILED),
    ],
)
def test_what_a_plug_in_raises_costs_one_point(sweep: Path, tmp_path: Path, error: str, exit_code: int) -> None:
    (tmp_path / "impatient.py").write_text(IMPATIENT.format(error=error, point=HANGING), encoding="utf-8")
    done = run(tmp_path, "-p", "impatient", "--sweep", sweep, "--run-dir", tmp_path / "run", *NO_PAGE, faults=f"hang:{HANGING}")
    assert done.returncode == exit_code, done.stdout + done.stderr
    rows = {row.point: row for row in read_journal(tmp_path / "run").rows}
    assert len(rows) == 3
    lost = rows.pop(HANGING)
    assert (lost.status, str(lost.reason).split(":")[0]) == (
        "error",
        error.split("(", maxsplit=1)[0].replace("pytest.fail.Exception", "Failed").replace("pytest.skip.Exception", "Skipped"),
    )
    assert {row.status for row in rows.values()} <= set(TIMED)
    assert environment.read(tmp_path / "run")["interrupted"] is False


@pytest.mark.slow
@pytest.mark.parametrize("error", ["SystemExit(3)", "pytest.exit.Exception('enough')"])
def test_what_ends_the_session_leaves_a_row_and_a_resumed_run_measures_the_point(sweep: Path, tmp_path: Path, error: str) -> None:
    (tmp_path / "impatient.py").write_text(IMPATIENT.format(error=error, point=HANGING), encoding="utf-8")
    done = run(tmp_path, "-p", "impatient", "--sweep", sweep, "--run-dir", tmp_path / "run", faults=f"hang:{HANGING}")
    assert done.returncode not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED), done.stdout + done.stderr
    (lost,) = (row for row in read_journal(tmp_path / "run").rows if row.point == HANGING)
    assert (lost.status, lost.cause) == ("error", INTERRUPTED)
    assert environment.read(tmp_path / "run")["interrupted"] is True
    again = run(tmp_path, "--resume", tmp_path / "run", *NO_PAGE)
    assert again.returncode == pytest.ExitCode.OK, again.stdout + again.stderr
    assert {row.status for row in read_journal(tmp_path / "run").rows} <= set(TIMED)


@pytest.mark.slow
def test_a_plug_in_that_fails_at_the_end_costs_neither_the_page_nor_how_the_run_ended(sweep: Path, tmp_path: Path) -> None:
    (tmp_path / "clumsy.py").write_text(
        "import pytest\n@pytest.hookimpl(tryfirst=True)\ndef pytest_sessionfinish():\n    raise OSError('read-only')\n", encoding="utf-8"
    )
    done = run(tmp_path, "-p", "clumsy", "--sweep", sweep, "--run-dir", tmp_path / "run", "--benchmark-json", tmp_path / "no" / "such.json")
    assert done.returncode != 0
    assert (tmp_path / "run" / "report.html").stat().st_size > 0
    assert environment.read(tmp_path / "run")["finished_utc"]


@pytest.mark.slow
def test_whole_errors_are_kept_in_a_file_of_their_point(sweep: Path, tmp_path: Path) -> None:
    crashing = HANGING.replace("3x", "4x")
    run(tmp_path, "--sweep", sweep, "--run-dir", tmp_path / "run", *NO_PAGE, faults=f"error:{HANGING},crash:{crashing}")
    rows = {row.point: row for row in read_journal(tmp_path / "run").rows}
    raised, crashed = (tmp_path / "run" / str(rows[name].error_file) for name in (HANGING, crashing))
    assert raised.name == f"{HANGING}.txt"
    assert "Traceback" in raised.read_text(encoding="utf-8")
    assert "RuntimeError: scripted: no kernel image" in raised.read_text(encoding="utf-8")
    assert "Segmentation fault" in crashed.read_text(encoding="utf-8")
    assert all(row.error_file is None for name, row in rows.items() if name not in (HANGING, crashing))


@pytest.mark.slow
def test_points_that_another_plug_in_skips_fail_the_session(sweep: Path, tmp_path: Path) -> None:
    (tmp_path / "skipper.py").write_text(SKIPPING, encoding="utf-8")
    done = run(tmp_path, "-p", "skipper", "-k", "bf16  and torch", "--sweep", sweep, "--run-dir", tmp_path / "run", *NO_PAGE)
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout + done.stderr
    assert f"error: 1 selected point has no row: {HANGING}\n" in done.stdout
    assert len(read_journal(tmp_path / "run").rows) == 2
    assert environment.read(tmp_path / "run")["narrowed_by"] == "-k 'bf16 and torch'"


@pytest.mark.slow
def test_points_are_not_measured_side_by_side(sweep: Path, tmp_path: Path) -> None:
    done = run(tmp_path, "-n", "2", "--sweep", sweep, "--run-dir", tmp_path / "run")
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    lines = [line for line in (done.stdout + done.stderr).splitlines() if line]
    assert lines == ["ERROR: --numprocesses 2: points are measured one after the other, in one process: leave --numprocesses out"]
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_session_without_a_terminal_reporter_or_capturing_measures(sweep: Path, tmp_path: Path) -> None:
    done = run(tmp_path, "-p", "no:terminal", "-p", "no:capture", "--sweep", sweep, "--run-dir", tmp_path / "run")
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(read_journal(tmp_path / "run").rows) == 3


@pytest.mark.git
def test_only_tracked_changes_make_a_checkout_dirty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*arguments: str) -> None:
        own = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1"}
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments]
        subprocess.run(command, cwd=tmp_path, env=os.environ | own, check=True, capture_output=True)

    git("init")
    (tmp_path / "kernel.py").write_text("1\n", encoding="utf-8")
    git("add", "kernel.py")
    git("commit", "-m", "one")
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    (tmp_path / ".coverage").write_text("", encoding="utf-8")
    (tmp_path / "junit.xml").write_text("", encoding="utf-8")
    assert environment.collect({}, {})["dirty"] is False
    (tmp_path / "kernel.py").write_text("2\n", encoding="utf-8")
    assert environment.collect({}, {})["dirty"] is True


@pytest.mark.parametrize(
    ("point_id", "expected"),
    [
        ("matmul-torch-bf16-3x512x512", "matmul-torch-bf16-3x512x512.txt"),
        ("einsum-b.h:w.c", "einsum-b.h_w.c-"),
        ("../../etc/passwd", ".._.._etc_passwd-"),
        ("x" * 400, "x" * 150 + "-"),
        ("µs", "_s-"),
    ],
)
def test_a_point_names_its_file(point_id: str, expected: str) -> None:
    name = file_name(point_id)
    assert name.startswith(expected)
    assert "/" not in name
    assert len(name.encode()) <= 255
    assert file_name(point_id + " ") != name


def test_where_nothing_can_be_written_the_row_has_a_line_only(tmp_path: Path) -> None:
    point = OPS["matmul"].point("torch", "bf16", {"m": 1, "n": 1, "k": 1})
    (tmp_path / "errors").write_text("a file in the way", encoding="utf-8")
    assert keep_text(tmp_path, point, "text") is None
    assert json.loads(new_row(point, OPS["matmul"].cost(point, "cuda"), "error", error_file=None).model_dump_json())["error_file"] is None

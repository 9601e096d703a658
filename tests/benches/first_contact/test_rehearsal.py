"""first-contact on the simulated device: everything is as expected, and each planted lie fails the check that should see it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benches.devices import faults
from benches.devices.faults import LIES, WRONG_KERNEL, FaultError
from benches.devices.simulated import SimulatedDevice
from benches.first_contact import clock_checks, clockwork, rows, steps
from benches.first_contact.check import Check
from benches.first_contact.steps import QUICK
from benches.run.journal import read_journal
from benches.timing.measure import measure
from kernels.guard import ROOT

pytestmark = pytest.mark.slow

SEED = 20260101
SEEN_BY = {
    "l2": "L2: 32 MiB copy rotated over hot",
    "hold": "hold: measured over asked",
    "clock": "clock: slowed by heat or hardware",
    "flush": "flush: 8 MiB copy flushed over hot",
    "kernel": f"{WRONG_KERNEL}: status",
}
# What a bare GPU node lacks of what the suite asks for elsewhere.
LACKING = ("pandas", "pytest", "plotly", "duckdb", "scipy", "pyarrow", "itables", "ruptures", "pytest_benchmark")


def simulated() -> SimulatedDevice:
    device = SimulatedDevice()
    device.settings = replace(device.settings, **QUICK)
    return device


def checks_of_clockwork() -> list[Check]:
    return clock_checks.judge(json.loads(json.dumps(dict(clockwork.sections(simulated(), SEED)))))


def checks_of_kernels() -> list[Check]:
    device = simulated()
    found = []
    for point in steps.kernel_points(lambda point: point.impl != "torch_compile"):
        found += rows.judge_row("kernels", measure(point, device, SEED), device.predict_s(point))
    return found


@pytest.mark.parametrize("lie", [None, *LIES])
def test_each_lie_fails_exactly_the_check_that_should_see_it(lie: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(faults.VARIABLE, f"lie:{lie}" if lie else "")
    checks = checks_of_clockwork() + checks_of_kernels()
    assert [check.check for check in checks if check.verdict == "fail"] == ([SEEN_BY[lie]] if lie else [])
    assert not [check for check in checks if check.verdict == "unfinished"]


def test_lies_are_parsed_beside_the_faults_of_points() -> None:
    parsed = faults.parse("lie:l2,hang:matmul-*,lie:kernel,lie:hold")
    assert faults.lies(parsed) == {"l2", "hold"}
    assert faults.fault_of("matmul-torch-bf16-1x1x1", parsed) == "hang"
    assert faults.fault_of(WRONG_KERNEL, faults.parse("lie:kernel")) == "wrong"
    assert faults.fault_of("l2", parsed) is None
    with pytest.raises(FaultError, match="'cache' is not a fault of the simulated board; choose l2, hold, clock, flush, kernel"):
        faults.parse("lie:cache")


def test_the_wrong_kernel_is_one_that_is_measured() -> None:
    assert WRONG_KERNEL in {point.id for point in steps.kernel_points(lambda point: True)}


def first_contact(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benches", "first-contact", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", env={**os.environ, **environment}, check=False)


def verdicts(folder: Path) -> dict[str, Any]:
    return {f"{entry['step']}: {entry['check']}": entry["verdict"] for entry in json.loads((folder / "summary.json").read_text())}


def test_a_bare_node_can_run_all_of_it(tmp_path: Path) -> None:
    """In all of its processes nothing is imported that only a report needs."""
    (tmp_path / "sitecustomize.py").write_text(
        "import sys\n"
        "class Missing:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.split('.')[0] in {LACKING!r}:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Missing())\n",
        encoding="utf-8",
    )
    out = tmp_path / "out"
    ran = [step.name for step in steps.STEPS if step.name != "compile"]  # kernels of every op and precision, which takes a minute
    chosen = [option for name in ran for option in ("--step", name)]
    done = first_contact("--device", "simulated", "--out", str(out), "--budget", "3000", *chosen, PYTHONPATH=str(tmp_path))  # however busy
    assert (done.returncode, done.stderr) == (0, "")
    assert "first contact with simulated NVIDIA H100 80GB HBM3" in done.stdout
    assert done.stdout.endswith((out / "summary.txt").read_text())
    assert {path.name for path in out.iterdir()} == {
        *("summary.txt", "summary.json", "rows.jsonl", "environment.json", "doctor.json", "worker.log", "clockwork.jsonl")
    }
    found = verdicts(out)
    assert set(ran) <= {name.split(":")[0] for name in found}
    assert set(found.values()) == {"pass", "skipped"}
    assert (out / "worker.log").read_text() == ""
    environment = json.loads((out / "environment.json").read_text())
    assert (environment["device_kind"], environment["interrupted"], environment["exit_code"]) == ("simulated", False, 0)


def test_a_fault_costs_its_point_and_a_lie_is_exit_code_1(tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = first_contact(
        "--device", "simulated", "--out", str(out), "--step", "faults", "--step", "kernels", MICROBENCH_FAULTS="lie:kernel"
    )
    assert done.returncode == 1
    found = verdicts(out)
    assert [name for name, verdict in found.items() if verdict == "fail"] == [f"kernels: {WRONG_KERNEL}: status"]
    assert [found[f"faults: {name}"] for name in ("illegal access", "endless kernel", "device assert", "good point")] == ["pass"] * 4


@pytest.mark.parametrize("later_s", [0.0, 0.3])  # between two points, and while one is measured
def test_what_was_found_before_the_command_is_ended_is_kept(tmp_path: Path, later_s: float) -> None:
    out = tmp_path / "out"
    rows = out / "rows.jsonl"
    command = [sys.executable, "-m", "benches", "first-contact", "--device", "simulated", "--out", str(out), "--step", "kernels"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        while process.poll() is None and not (rows.exists() and rows.stat().st_size):
            time.sleep(0.01)
        time.sleep(later_s)
        process.send_signal(signal.SIGTERM)
        process.communicate()
    assert process.returncode == 3
    assert len(read_journal(out).rows) > 0
    assert verdicts(out)["summary: run"] == "unfinished"
    assert json.loads((out / "environment.json").read_text())["interrupted"] is True


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--budget", "10"), "error: --budget 10: needs at least 60 seconds\n"),
        (("--budget", "nan"), "error: --budget nan: needs at least 60 seconds\n"),
    ],
)
def test_bad_options_are_exit_code_2(arguments: tuple[str, ...], message: str, tmp_path: Path) -> None:
    done = first_contact("--device", "simulated", "--out", str(tmp_path / "out"), *arguments)
    assert (done.returncode, done.stderr) == (2, message)


def test_a_folder_in_use_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text("kept")
    done = first_contact("--device", "simulated", "--out", str(tmp_path))
    assert done.returncode == 2
    assert "rows.jsonl of an earlier first contact is already there; name an empty folder" in done.stderr
    assert (tmp_path / "rows.jsonl").read_text() == "kept"

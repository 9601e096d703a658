"""The command: exit codes, JSON, 80 columns; and the self-test's choice of points and verdicts."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from benches.__main__ import main
from benches.devices import faults
from benches.doctor import probe, selftest
from benches.doctor.doctor_command import summary
from benches.doctor.findings_text import show
from benches.doctor.machine_facts import DiskFacts, Facts, Finding, GpuFacts, HostFacts, NvidiaFacts
from benches.doctor.rules import judge
from benches.doctor.selftest import SEED, VERDICTS, Check, points, run
from benches.run.bench import Bench
from benches.run.isolation import InProcess, Isolated
from kernels.guard import ROOT
from kernels.op import Language
from kernels.precisions import PRECISIONS
from kernels.registry import OPS, impl_of
from kernels.support import Platform

BLOCKED = Facts(disk=DiskFacts("runs", "Read-only file system"))
WARNED = Facts(host=HostFacts(governor="powersave"))


@pytest.mark.parametrize(("facts", "code"), [(Facts(), 0), (WARNED, 0), (BLOCKED, 1)])
def test_exit_code(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str], facts: Facts, code: int) -> None:
    monkeypatch.setattr(probe, "probe", lambda runs: facts)
    assert main(["doctor", "--json", str(tmp_path / "d.json")]) == code
    found = json.loads((tmp_path / "d.json").read_text(encoding="utf-8"))
    assert found["can_measure"] == (code == 0)
    assert found["facts"]["disk"]["error"] == facts.disk.error
    assert [finding["key"] for finding in found["findings"]] == [finding.key for finding in judge(facts)]
    assert f"This machine {'can' if code == 0 else 'cannot'} measure" in capsys.readouterr().out


def test_bad_usage(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    monkeypatch.setattr(probe, "probe", lambda runs: Facts())
    with pytest.raises(SystemExit, match="2"):
        main(["doctor", "--nonsense"])
    assert main(["doctor", "--json", str(tmp_path / "absent" / "d.json")]) == 2
    assert "cannot write" in capsys.readouterr().err


@pytest.mark.slow
def test_as_a_command(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benches", "doctor", "--run-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode in (0, 1)
    assert done.stderr == ""
    assert "\x1b" not in done.stdout
    assert str(tmp_path) in done.stdout


@pytest.mark.parametrize("terminal", [True, False])
def test_readable_at_80_columns(terminal: bool) -> None:
    out = io.StringIO()
    console = Console(file=out, width=80, force_terminal=terminal, color_system=None)
    gpu = GpuFacts(0, name="NVIDIA [b]H900[/b]", persistence=False, mig=True, mig_slices=("1g.10gb",) * 7)
    findings = judge(replace(BLOCKED, nvidia=NvidiaFacts(driver="575", gpus=(gpu,))))
    show(findings, console)
    text = out.getvalue()
    if terminal:
        assert max(map(len, text.splitlines())) <= 80
    else:
        assert len(text.splitlines()) == len(findings) + 1, "one line a finding for grep"
    assert "[b]H900[/b]" in text, "a board's name is no markup"
    assert "sudo nvidia-smi -i 0 -pm 1" in " ".join(text.split())


def test_what_blocks_comes_last() -> None:
    out = io.StringIO()
    show([Finding("blocks", "a", "x", "bad"), Finding("ok", "b", "y", "good")], Console(file=out, width=80))
    assert [line.split()[0] for line in out.getvalue().splitlines()] == ["ok", "blocks", "This"]


H100, CPU = Platform("cuda", (9, 0)), Platform("cpu")


@pytest.mark.slow
@pytest.mark.parametrize("gpu", [True, False])
def test_the_self_test_meets_everything_once(gpu: bool) -> None:
    def platform(language: Language) -> Platform:
        return H100 if gpu else replace(CPU, interpreted=language == "triton")

    chosen = points(platform)
    for op in OPS.values():
        pairs = {(point.impl, point.precision) for point in chosen if point.op == op.name}
        impls = [impl.name for impl in op.impls.values() if not impl.on_request]
        assert pairs == {(impl, precision) for impl in impls for precision in PRECISIONS}
        for impl in impls:
            options = [tuple(point.options.items()) for point in chosen if (point.op, point.impl) == (op.name, impl)]
            for name, option in op.options.items():
                met = {dict(one)[name] for one in options}
                assert name == "data" or met >= set(option.choices) - {"tf32"}, f"{op.name} {impl} {name}"
    assert len({point.id for point in chosen}) == len(chosen)
    assert len(chosen) < 60 * len(OPS), "under five minutes at some two seconds each"
    able = [point for point in chosen if impl_of(point).unsupported(point, platform(impl_of(point).language)) is None]
    assert len(able) > 0.75 * len(chosen)


@pytest.mark.slow
def test_the_self_test_on_a_device_without_tensors(tmp_path: Path) -> None:
    """The simulated device passes whatever it can hold, so this shows the plumbing alone."""
    told: list[Check] = []
    checks = run(InProcess(Bench("simulated", tmp_path, SEED, {})), told.append)
    assert told == checks
    assert {check.verdict for check in checks} == {"pass", "unsupported"}
    assert all(check.detail for check in checks)
    assert summary(checks)[-1].startswith(f"{len(checks)} points in ")


@pytest.mark.slow
def test_an_error_that_lasts_costs_one_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One point makes a CUDA error after which every call of its process fails."""
    monkeypatch.setenv(faults.VARIABLE, "sticky:matmul-torch-fp16-*")
    example = OPS["matmul"].point("torch", "bf16", {"m": 64, "n": 64, "k": 64}, {"layout": "nt"})
    monkeypatch.setattr(selftest, "shipped_examples", lambda: {"matmul": [example]})
    measurer = Isolated({"kind": "simulated", "run_dir": tmp_path, "seed": SEED, "asked": {}}, tmp_path / "worker.log", 60.0)
    try:
        checks = run(measurer, lambda check: None)
    finally:
        measurer.close()
    assert [check.precision for check in checks if check.verdict == "fail"] == ["fp16"]
    assert len(checks) == len(PRECISIONS) * sum(not impl.on_request for impl in OPS["matmul"].impls.values())


def test_whatever_is_neither_right_nor_unsupported_fails() -> None:
    from typing import get_args

    from benches.row import Status

    passing = {status for status in get_args(Status) if VERDICTS.get(status, "fail") != "fail"}
    assert passing == {"ok", "verified", "unsupported"}


def test_a_failed_check_is_exit_1(monkeypatch: pytest.MonkeyPatch) -> None:
    from benches.doctor import doctor_command

    monkeypatch.setattr(probe, "probe", lambda runs: Facts())
    for verdict, code in (("pass", 0), ("unsupported", 0), ("fail", 1)):
        check = Check("matmul-x", "matmul", "torch", "bf16", verdict, "", 0.1)
        monkeypatch.setattr(doctor_command, "selftest", lambda facts, console, imports, check=check: [check])
        assert main(["doctor", "--selftest"]) == code
    monkeypatch.setattr(doctor_command, "selftest", lambda facts, console, imports: [])
    assert main(["doctor", "--selftest"]) == 1

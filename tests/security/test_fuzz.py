"""A few seconds of `python -m studies.fuzz`, always the same inputs."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from studies.fuzz.__main__ import TARGETS, Result, Target, fuzz, fuzz_alone, inputs, main

COUNTS = {"sweep": 120, "journal": 120, "environment": 200, "page": 100}


@pytest.mark.slow
@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_bad_files_end_in_a_result_or_in_lines(target: Target) -> None:
    result = fuzz_alone(target.name, COUNTS[target.name], seed=20261123)
    assert result.faults == [], result.line()
    assert len(result.outcomes) > 1 or target.name == "page", "inputs that all end alike test nothing"


def test_an_input_can_be_made_again() -> None:
    target = TARGETS[0]
    first = {number: data for number, data, _ in inputs(target, 20, 7)}
    assert {number: data for number, data, _ in inputs(target, 20, 7)} == first
    assert len(set(first.values())) > 10


def broken(path: Path) -> tuple[str, list[str]]:
    data = (path / "x").read_bytes()
    if data == b"raise":
        raise KeyError("nt")
    return "read", ["two\nlines"] if data == b"lines" else []


@pytest.mark.parametrize(("data", "fault"), [(b"raise", "KeyError: 'nt' (test"), (b"lines", "a problem that is no line"), (b"good", "")])
def test_faults_are_seen(data: bytes, fault: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("studies.fuzz.__main__.gettempdir", lambda: str(tmp_path))
    result: Result = fuzz(Target("x", lambda rng: data, "x", broken), 1, seed=1)
    assert len(result.faults) == bool(fault)
    assert all(fault.split(" (", maxsplit=1)[0] in found for found in result.faults)
    assert [path.read_bytes() for path in tmp_path.iterdir()] == [data] * bool(fault)


def test_a_slow_input_is_a_fault(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("studies.fuzz.__main__.gettempdir", lambda: str(tmp_path))
    slow = Target("slow", lambda rng: b"", "x", lambda folder: ("read", [str(sum(range(200_000)))]), limit_s=0.0)
    assert "took 0.0" in fuzz(slow, 1, seed=1).faults[0]


@pytest.mark.memory
@pytest.mark.slow
def test_memory_that_the_process_held_before_is_not_the_readers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("studies.fuzz.__main__.gettempdir", lambda: str(tmp_path))
    held = bytearray(b"x") * 600_000_000  # every page of it is touched
    greedy = Target("greedy", lambda rng: b"", "x", lambda folder: (str(len(bytearray(b"x") * 600_000_000)), []), limit_s=60)
    modest = Target("modest", lambda rng: b"", "x", lambda folder: ("read", []), limit_s=60)
    assert fuzz(modest, 2, seed=1).faults == []
    assert "MB" in fuzz(greedy, 1, seed=1).faults[0]
    assert fuzz_alone("environment", 2, seed=1).peak_bytes < len(held)


@pytest.mark.slow
def test_the_command_prints_a_line_a_reader(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--count", "3", "--only", "environment"]) == 0
    assert capsys.readouterr().out.startswith("environment: 3 inputs, 0 faults (")


def test_generators_need_nothing_but_their_seed() -> None:
    for target in TARGETS[:3]:
        assert target.make(Random(3)) == target.make(Random(3))

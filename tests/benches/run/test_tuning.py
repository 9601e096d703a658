"""Tuning on the simulated device, whose configs differ by known factors; the file of choices; and what is wrong with a file."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benches.devices.simulated import SimulatedDevice, slowness
from benches.run import tuned_file, tuning
from benches.run.environment import read
from benches.run.journal import read_journal
from benches.run.tuned_file import EMPTY, Origin, chosen, read_tuned, usable, with_choice, write_tuned
from benches.timing.measure import measure
from kernels.fingerprint import digest
from kernels.matmul import choice
from kernels.matmul.spec import OP
from kernels.op import Dims, Point
from tests.benches.run.test_pytest_run import run

HERE = Origin("NVIDIA H100 80GB HBM3", "3.7.1", "v2:0123456789abcdef")
SMS = 132


def point(precision: str, dims: Dims, **options: str) -> Point:
    return OP.point("triton", precision, dims, options)


P = point("bf16", {"m": 127, "n": 129, "k": 131}, layout="nt")
Q = point("fp32", {"m": 512, "n": 1024, "k": 4096})


@pytest.fixture(autouse=True)
def by_the_rule() -> Iterator[None]:
    yield
    choice.use({})


@pytest.mark.parametrize(
    ("times_s", "expected"),
    [
        ({"a": 2.0, "b": 1.0, "c": 1.25}, ("b", "c", 0.25)),
        ({"a": 1.0}, ("a", None, None)),
        ({"b": 1.0, "a": 1.0}, ("a", "b", 0.0)),
    ],
)
def test_the_fastest_is_chosen(times_s: dict[str, float], expected: tuple[Any, ...]) -> None:
    found = chosen(choice.case_of(P), HERE, times_s)
    assert (found.choice, found.runner_up, found.margin) == expected
    assert (found.case, found.origin, found.times_s) == (choice.case_of(P), HERE, times_s)


def test_a_later_choice_replaces_the_one_of_its_case_and_origin(tmp_path: Path) -> None:
    elsewhere = Origin("NVIDIA H200", HERE.triton, HERE.source)
    first, other = chosen(choice.case_of(P), HERE, {"a": 1.0}), chosen(choice.case_of(Q), HERE, {"a": 1.0})
    foreign = chosen(choice.case_of(P), elsewhere, {"a": 1.0})
    again = chosen(choice.case_of(P), HERE, {"b": 1.0})
    file = EMPTY
    for one in (first, other, foreign, again):
        file = with_choice(file, one)
    assert file.choices == [other, foreign, again]
    write_tuned(tmp_path / "tuned.json", file)
    assert read_tuned(tmp_path / "tuned.json") == file


@pytest.mark.parametrize(
    ("origin", "left_out"),
    [
        (HERE, 0),
        (Origin("NVIDIA H200", HERE.triton, HERE.source), 2),
        (Origin(HERE.gpu, "3.6.0", HERE.source), 2),
        (Origin(HERE.gpu, HERE.triton, "v2:fedcba9876543210"), 2),
    ],
)
def test_choices_of_another_gpu_triton_or_source_are_left_out_with_one_note(origin: Origin, left_out: int) -> None:
    file = with_choice(with_choice(EMPTY, chosen(choice.case_of(P), HERE, {"a": 1.0})), chosen(choice.case_of(Q), HERE, {"a": 1.0}))
    found, notes = usable(file, origin)
    assert len(found) == 2 - left_out
    assert len(notes) == bool(left_out)
    assert all(f"{left_out} of 2 choices are not used: made on {HERE}; here is {origin}" in note for note in notes)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "EOF"),
        ("[]", "not a file that --tune wrote"),
        ("{}", "not a file that --tune wrote: tuned_version"),
        ('{"tuned_version": 2, "choices": []}', "version 2, and this suite reads version 1"),
        ('{"tuned_version": 1, "choices": [{"gpu": 3}]}', "not a file that --tune wrote: choices.0.gpu"),
        ('{"tuned_version": 1, "choices": [NaN]}', "expected"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_line(text: str, problem: str, tmp_path: Path) -> None:
    path = tmp_path / "tuned.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=problem) as caught:
        read_tuned(path)
    assert "\n" not in str(caught.value)


CASES = [
    P,
    Q,
    point("bf16", {"m": 4096, "n": 4096, "k": 4096}, layout="nt"),
    point("fp8_e4m3", {"m": 1, "n": 4096, "k": 4099}, layout="nt", scaling="row"),
    point("fp16", {"b": 3, "m": 264, "n": 512, "k": 128}, layout="tn", kernel="tma"),
]


@pytest.mark.slow
@pytest.mark.parametrize("p", CASES, ids=lambda p: p.id)
def test_the_best_is_found_and_found_again(p: Point) -> None:
    """The truth is the simulated device's own order; seeds are those of three processes of a run."""
    best = min(choice.candidates(p, SMS), key=lambda config: slowness(p, config, SMS))
    for seed in (1, 2, 3):
        device = SimulatedDevice(seed=seed)
        settings = device.settings
        found = tuning.tune(p, device, 7, lambda *_: None)
        assert found is not None
        assert found.choice == str(best)
        assert found.times_s.keys() == {str(config) for config in choice.candidates(p, SMS)}
        assert device.settings == settings
        row = measure(p, device, 7)
        assert (row.config, row.config_origin) == (str(choice.rule(p, SMS)), "rule")  # nothing is picked up implicitly
        assert tuning.apply(with_choice(EMPTY, found), tuning.here(device)) == []
        row = measure(p, device, 7)
        assert (row.config, row.config_origin) == (str(best), "tuned")
        choice.use({})


def test_simulated_configs_differ_and_the_rules_takes_the_predicted_time() -> None:
    for p in CASES:
        factors = {str(config): slowness(p, config, SMS) for config in choice.candidates(p, SMS)}
        assert len(set(factors.values())) == len(factors)
        assert factors[str(choice.rule(p, SMS))] == 1.0
        assert min(factors.values()) > 0.95


def test_a_refused_config_is_left_out_and_named(capsys: pytest.CaptureFixture[str]) -> None:
    best = str(min(choice.candidates(P, SMS), key=lambda config: slowness(P, config, SMS)))
    found = tuning.tune(P, SimulatedDevice(), 7, lambda point, config, gpu: "spills registers" if str(config) == best else None)
    assert found is not None
    assert best not in found.times_s
    assert f"{P.id}: {best} is left out: spills registers" in capsys.readouterr().err
    assert tuning.tune(P, SimulatedDevice(), 7, lambda *_: "spills") is None


SWEEP = """
name: small
sweeps:
  - op: matmul
    impl: triton
    precision: bf16
    layout: nt
    points: [{m: 127, n: 129, k: 131}]
"""


@pytest.mark.parametrize(
    ("p", "described", "reason"),
    [
        (P, False, "no file of configs/gpus describes an unknown board"),
        (OP.point("triton", "bf16", {"m": 128, "n": 129, "k": 131}, {"kernel": "tma"}), True, "bulk copies need rows"),
    ],
)
def test_a_point_that_cannot_be_tuned_is_named_with_the_reason(
    p: Point, described: bool, reason: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    device = SimulatedDevice()
    if not described:
        monkeypatch.setattr(SimulatedDevice, "describe", lambda self: {"device_name": "an unknown board"})
        monkeypatch.setattr(tuning, "refuse", lambda point, device: None)
        device.gpu = None  # type: ignore[assignment]
    assert tuning.tune(p, device, 1, lambda *_: pytest.fail("nothing is compiled")) is None
    assert f"tuning {p.id}: no config is timed: {reason}" in capsys.readouterr().err


@pytest.mark.slow
def test_a_run_that_tunes_and_one_that_uses_it(tmp_path: Path) -> None:
    """With the compiler, whose code `inspect` judges; then the same file with another GPU's choice."""
    sweep, tuned = tmp_path / "small.yaml", tmp_path / "tuned.json"
    sweep.write_text(SWEEP, encoding="utf-8")
    options = ("benches/", "--sweep", sweep, "--no-inspect", "-q", "-p", "no:reports.pytest_plugin")
    done = run(*options, "--run-dir", tmp_path / "a", "--tune", tuned)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"tuned: {tuned} has choices for 1 of the run's 1 cases of Triton's matmul" in done.stdout
    (found,) = read_tuned(tuned).choices
    assert found.choice == str(min(choice.candidates(P, SMS), key=lambda config: slowness(P, config, SMS)))
    assert len(found.times_s) == 2
    write_tuned(tuned, tuned_file.TunedFile(tuned_version=1, choices=[found, found.model_copy(update={"gpu": "NVIDIA H200"})]))
    done = run(*options, "--run-dir", tmp_path / "b", "--tuned", tuned)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("1 of 2 choices are not used: made on NVIDIA H200") == 1
    rows = [read_journal(tmp_path / name).rows[0] for name in "ab"]
    assert [(row.config, row.config_origin) for row in rows] == [("64x64x32 w4 s4", "rule"), (found.choice, "tuned")]
    assert "tuned" not in read(tmp_path / "a")
    assert read(tmp_path / "b")["tuned"] == digest(tuned.read_bytes())
    assert (tmp_path / "b" / tuned_file.NAME).read_bytes() == tuned.read_bytes()


@pytest.mark.slow
def test_a_bad_file_is_a_usage_error(tmp_path: Path) -> None:
    sweep, tuned = tmp_path / "small.yaml", tmp_path / "tuned.json"
    sweep.write_text(SWEEP, encoding="utf-8")
    tuned.write_text(json.dumps({"tuned_version": 1, "choices": [{}]}), encoding="utf-8")
    done = run("benches/", "--sweep", sweep, "--run-dir", tmp_path / "run", "--tuned", tuned)
    assert done.returncode == pytest.ExitCode.USAGE_ERROR
    lines = [line for line in (done.stdout + done.stderr).splitlines() if "--tuned" in line]
    assert lines == [f"ERROR: --tuned {tuned}: not a file that --tune wrote: choices.0.gpu: Field required"]
    assert not (tmp_path / "run").exists()

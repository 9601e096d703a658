"""What `--tune` and `--tuned` are refused for, before anything is measured."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from benches.pytest_plugin.tuning import Tuning, begin, ended, tuning_of
from benches.run.run import Request, RunError
from benches.run.tuned_file import EMPTY, NAME, read_tuned, write_tuned
from kernels.matmul.spec import OP


def config(**options: Path | None) -> pytest.Config:
    given: dict[str, Any] = {"--tune": None, "--tuned": None} | {f"--{name}": value for name, value in options.items()}
    return cast("pytest.Config", SimpleNamespace(getoption=given.get))


@pytest.mark.parametrize(
    ("options", "kind", "gpus", "problem"),
    [
        (("tune", "tuned"), "simulated", 0, "leave one of them out"),
        (("tune",), "cpu", 0, "not timed on a CPU"),
        (("tuned",), "cpu", 0, "not timed on a CPU"),
        (("tune",), "simulated", 2, "name one with --gpus"),
        (("tuned",), "simulated", 0, "cannot be read"),
    ],
)
def test_what_is_refused(options: tuple[str, ...], kind: str, gpus: int, problem: str, tmp_path: Path) -> None:
    with pytest.raises(pytest.UsageError, match=problem) as caught:
        tuning_of(config(**dict.fromkeys(options, tmp_path / "tuned.json")), kind, gpus)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("option", ["tune", "tuned"])
def test_a_file_of_something_else_stays_as_it_is(option: str, tmp_path: Path) -> None:
    path = tmp_path / "notes.json"
    path.write_text('{"mine": 1}', encoding="utf-8")
    with pytest.raises(pytest.UsageError, match=f"--{option} .*not a file that --tune wrote"):
        tuning_of(config(**{option: path}), "simulated", 0)
    assert path.read_text(encoding="utf-8") == '{"mine": 1}'


def test_without_either_nothing_is_tuned() -> None:
    assert tuning_of(config(), "cpu", 0) == Tuning()


def test_a_resumed_run_goes_on_with_its_own_choices(tmp_path: Path) -> None:
    assert tuning_of(config(), "simulated", 0, tmp_path) == Tuning()
    write_tuned(tmp_path / NAME, EMPTY)
    found = tuning_of(config(), "simulated", 2, tmp_path)
    assert found == Tuning(tuned=EMPTY, text=(tmp_path / NAME).read_text(encoding="utf-8"))
    assert found == tuning_of(config(tuned=tmp_path / NAME), "simulated", 2)


def test_the_hash_is_of_the_files_text() -> None:
    recorded = [Request("", [], 1, {}, tuned=text).recorded().get("tuned") for text in ("{}", "{}", "{ }", None)]
    assert recorded[0] == recorded[1] == hashlib.sha256(b"{}").hexdigest()[:16]
    assert recorded[2] != recorded[0]
    assert recorded[3] is None


def test_a_file_that_cannot_be_written_ends_the_run_at_its_start(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="cannot be written"):
        begin(tmp_path / "missing" / "tuned.json")
    begin(tmp_path / "tuned.json")
    assert read_tuned(tmp_path / "tuned.json") == EMPTY


def test_the_last_line_counts_cases(tmp_path: Path) -> None:
    path, square = tmp_path / "tuned.json", {"m": 64, "n": 64, "k": 64}
    write_tuned(path, EMPTY)
    points = [OP.point(impl, "bf16", square, {"data": data}) for impl in ("torch", "triton") for data in ("normal", "zeros")]
    assert (
        ended(path, points)
        == f"tuned: {path} has choices for 0 of the run's 1 cases of Triton's matmul; worker.log has the reasons for the others"
    )

"""What a run records of its machine, held to docs/environment.md."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from benches.devices.simulated import SimulatedDevice
from benches.run import environment
from benches.run.run import Request, default_run_dir
from kernels.guard import ROOT

DOCUMENTED = set(
    re.findall(
        r"`(\w+)`",
        " ".join(
            line.split("|")[1] for line in (ROOT / "docs" / "environment.md").read_text(encoding="utf-8").splitlines() if line[:3] == "| `"
        ),
    )
)
LATE = {"finished_utc", "resumed_utc", "interrupted"}  # a run's end, or its resumption, adds these


def collected() -> dict[str, object]:
    request = Request("", ["smoke"], 1, {"max_call_s": 1.0})
    return environment.collect(SimulatedDevice().describe(), request.recorded())


def test_every_field_is_documented() -> None:
    assert set(collected()) - DOCUMENTED == set()
    assert LATE | set(environment.LATER) <= DOCUMENTED


DUBIOUS = "fatal: detected dubious ownership in repository at '/srv/suite'\nTo add an exception, call:\n\n\tgit config --global …\n"
ON_ONE_LINE = "detected dubious ownership in repository at '/srv/suite' To add an exception, call: git config --global …"


@pytest.mark.parametrize(
    ("script", "repository", "expected"),
    [
        ("echo abc", True, ("abc", None)),
        ("cat <<'EOF' >&2\n" + DUBIOUS + "EOF\nexit 128", True, (None, f"the commit is not known, since git failed: fatal: {ON_ONE_LINE}")),
        ("echo 'fatal: not a git repository' >&2; exit 128", False, (None, None)),  # an archive
    ],
)
def test_why_git_does_not_tell_the_commit_is_noted(
    script: str, repository: bool, expected: tuple[str | None, str | None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "git").write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
    (tmp_path / "bin" / "git").chmod(0o755)
    if repository:
        (tmp_path / "suite" / ".git").mkdir(parents=True)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setattr(environment, "ROOT", tmp_path / "suite" if repository else tmp_path / "bin")
    assert environment.commit() == expected
    found = environment.collect({"notes": ["no NVML"]}, {})
    assert (found["commit"], found["notes"]) == (expected[0], ["no NVML", *filter(None, expected[1:])])
    assert default_run_dir().name.endswith("-abc" if expected[0] else "-nocommit")
    assert "notes" not in environment.collect({}, {}) or expected[1]


def test_without_git_that_is_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".git").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(environment, "ROOT", tmp_path)
    assert environment.commit() == (None, "the commit is not known, since git failed: [Errno 2] No such file or directory: 'git'")


def test_the_variables_are_those_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    monkeypatch.setenv("TORCH_HUB_TOKEN", "abc")
    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE", raising=False)
    found = collected()["variables"]
    assert isinstance(found, dict)
    assert found["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert "NVIDIA_TF32_OVERRIDE" not in found
    assert "abc" not in json.dumps(found)

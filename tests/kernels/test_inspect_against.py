"""What counts as worse between two commits' kernels, and how it is shown."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from kernels import inspect_against
from kernels.inspect_against import RefError, as_markdown, changes, records_at, summary

BEFORE: dict[str, Any] = {
    "id": "matmul-triton-bf16-nt",
    "status": "pass",
    "registers": 185,
    "spills": 0,
    "blocks_per_sm": 2,
    "bound": 0.9,
    "loop": {"others_each": 23.5},
}


@pytest.mark.parametrize(
    ("change", "figure", "worse"),
    [
        ({"status": "fail"}, "verdict", True),
        ({"status": "unsupported"}, "verdict", False),
        ({"spills": 4}, "spills", True),
        ({"blocks_per_sm": 1}, "blocks an SM", True),
        ({"blocks_per_sm": 3}, "blocks an SM", False),
        ({"loop": {"others_each": 24.01}}, "others for each matrix instruction", True),
        ({"loop": {"others_each": 24.0}}, "others for each matrix instruction", False),
        ({"loop": {"others_each": 12.0}}, "others for each matrix instruction", False),
        ({"bound": 0.879}, "bound", True),
        ({"bound": 0.881}, "bound", False),
        ({"registers": 255}, "registers", False),
    ],
)
def test_what_is_worse(change: dict[str, Any], figure: str, worse: bool) -> None:
    (found,) = changes([BEFORE], [BEFORE | change])
    assert (found.figure, found.worse) == (figure, worse)


@pytest.mark.parametrize("absent", [{"loop": None}, {"bound": None}, {"spills": None, "registers": None}])
def test_figures_that_one_commit_does_not_record_are_not_compared(absent: dict[str, Any]) -> None:
    assert changes([BEFORE | absent], [BEFORE]) == []
    assert changes([{k: v for k, v in BEFORE.items() if k not in absent}], [BEFORE]) == []


def test_new_and_removed_kernels_are_named_and_worse_ones_come_first() -> None:
    old, new = BEFORE | {"id": "old"}, BEFORE | {"id": "n|w", "status": "fail"}
    found = changes([old, BEFORE], [BEFORE | {"spills": 2}, new])
    assert [(c.kernel, c.worse) for c in found] == [("matmul-triton-bf16-nt", True), ("old", False), ("n|w", False)]
    assert summary("main", found, 1) == "against main: 1 kernel compared, 3 differ, 1 became worse"
    assert as_markdown("main", found, 1).splitlines()[4] == "| worse | matmul-triton-bf16-nt | spills | 0 | 2 |"
    assert len(as_markdown("main", found, 1).splitlines()[6].replace("\\|", "").split("|")) == 7


@pytest.mark.git
def test_a_commit_that_is_not_there_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    monkeypatch.setattr(inspect_against, "ROOT", tmp_path)
    with pytest.raises(RefError, match=r"^--against no-such-ref: git cannot check it out: .*no-such-ref[^\n]*$"):
        records_at("no-such-ref", [])


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        # As git says it of a checkout that is another user's.
        (
            "printf \"fatal: detected dubious ownership in '/x'\\nTo add it:\\n\\tgit config --global\" >&2",
            "fatal: detected dubious ownership",
        ),
        ("echo no space left >&2", "no space left"),
        (None, "git cannot be run: No such file or directory"),
    ],
)
def test_what_git_says_is_one_line(script: str | None, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if script is not None:
        (tmp_path / "git").write_text(f"#!/bin/sh\n{script}\nexit 128\n", encoding="utf-8")
        (tmp_path / "git").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RefError, match=rf"^--against HEAD: [^\n]*{reason}[^\n]*$"):
        records_at("HEAD", [])

"""Thresholds and accepted changes: what is read, and a line for each mistake."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from kernels.registry import OPS
from kernels.strict_yaml.problems import SweepError
from reports.verdict.accepted import load_accepted, which
from reports.verdict.thresholds import FOLDER, load_thresholds

GOOD = "default: 0.02\nthresholds: {matmul: 0.03}\nnode: 0.01\nnight_starts_utc: 0\n"
ENTRY = "accepted:\n  - {point: matmul-*, since: 2026-11-20, change: slower, why: bounds}\n"


def mistakes(text: str, load: object, tmp_path: Path) -> list[str]:
    file = tmp_path / "file.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(SweepError) as error:
        load(file)  # type: ignore[operator]
    return [problem.removeprefix(f"{file}:") for problem in error.value.problems]


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_thresholds_are_read(path: Path) -> None:
    thresholds = load_thresholds(path)
    assert all(0.005 <= thresholds.of(op) <= 0.05 for op in [*OPS, "of another suite"])


def test_an_op_has_its_own_threshold_or_the_default(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(GOOD, encoding="utf-8")
    thresholds = load_thresholds(tmp_path / "mine.yaml")
    assert (thresholds.of("matmul"), thresholds.of("einsum"), thresholds.night_starts_utc) == (0.03, 0.02, 0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "1: verdicts file: the file is empty"),
        ("[1]", "1: verdicts file: the file must hold a mapping of keys, not a list"),
        (GOOD.replace("node", "noed"), "3: noed: unknown key in a verdicts file (did you mean node?)"),
        (GOOD.replace("node: 0.01\n", ""), "1: node: missing"),
        (GOOD.replace("0.02", "2"), "1: default: '2' is too large: at most 1"),
        (GOOD.replace("0.02", "2%"), "1: default: '2%' is not a number (write it as 70e9, 0.5 or 1024)"),
        (GOOD.replace("matmul", "matmull"), "2: thresholds.matmull: unknown op (did you mean matmul?)"),
        (GOOD.replace("{matmul: 0.03}", "0.03"), "2: thresholds: needs a mapping of ops, not '0.03'"),
        (GOOD.replace("utc: 0", "utc: 24"), "4: night_starts_utc: '24' is too large: at most 23"),
    ],
)
def test_a_mistake_in_thresholds_is_a_line(text: str, said: str, tmp_path: Path) -> None:
    assert said in mistakes(text, load_thresholds, tmp_path)


@pytest.mark.parametrize(
    ("point", "first", "change", "covered"),
    [
        ("matmul-torch-bf16", date(2026, 11, 20), "slower", True),
        ("matmul-torch-bf16", date(2026, 11, 23), "slower", True),
        ("matmul-torch-bf16", date(2026, 11, 24), "slower", False),
        ("matmul-torch-bf16", date(2026, 11, 20), "faster", False),
        ("einsum-torch-bf16", date(2026, 11, 20), "slower", False),
    ],
)
def test_an_entry_covers_its_points_around_its_night(point: str, first: date, change: str, covered: bool, tmp_path: Path) -> None:
    (tmp_path / "accepted.yaml").write_text(ENTRY, encoding="utf-8")
    found = which(load_accepted(tmp_path / "accepted.yaml"), point, first, change)
    assert (found.why if found else None) == ("bounds" if covered else None)


def test_an_entry_without_a_change_covers_any(tmp_path: Path) -> None:
    (tmp_path / "accepted.yaml").write_text(ENTRY.replace("change: slower, ", ""), encoding="utf-8")
    (entry,) = load_accepted(tmp_path / "accepted.yaml")
    assert all(entry.covers("matmul-x", date(2026, 11, 20), change) for change in ("slower", "faster", "wrong"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("acepted: []\n", "1: acepted: unknown key in a file of accepted changes (did you mean accepted?)"),
        ("acepted: []\n", "1: accepted: missing"),
        ("accepted: all\n", "1: accepted: needs a list of changes, not 'all'"),
        ("accepted:\n  - all\n", "2: accepted: needs point, since and why, not 'all'"),
        (ENTRY.replace(", why: bounds", ""), "2: why: missing"),
        (ENTRY.replace("2026-11-20", "yesterday"), "2: since: 'yesterday' is not a date (write 2026-11-20)"),
        (ENTRY.replace("slower", "slowr"), "2: change: unknown change 'slowr' (did you mean slower?)"),
        (ENTRY.replace("point", "piont"), "2: piont: unknown key in an accepted change (did you mean point?)"),
    ],
)
def test_a_mistake_in_accepted_changes_is_a_line(text: str, said: str, tmp_path: Path) -> None:
    assert said in mistakes(text, load_accepted, tmp_path)


def test_every_mistake_is_told_at_once(tmp_path: Path) -> None:
    text = "accepted:\n  - {point: x, since: 3, change: wrng}\n  - 4\n"
    assert len(mistakes(text, load_accepted, tmp_path)) == 4


def test_a_file_that_is_not_there_is_a_line(tmp_path: Path) -> None:
    with pytest.raises(SweepError, match="file not found"):
        load_accepted(tmp_path / "none.yaml")

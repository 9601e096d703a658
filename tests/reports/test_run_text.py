"""The summary of a run on the terminal, and when it takes the place of pytest-benchmark's tables."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from benches.run.journal import read_journal
from reports.pytest_plugin import asks_for_tables
from reports.report import load_report
from reports.run_text import WIDTH, run_text
from reports.units import cut


@pytest.mark.parametrize(
    ("text", "width", "expected"),
    [
        ("matmul", 6, "matmul"),
        ("matmul-torch-bf16-128x128x129", 11, "matmu…8x129"),
        ("matmul-torch-bf16-128x128x129", 12, "matmul…8x129"),
        ("abcdefgh", 1, "…"),
        ("", 5, ""),
    ],
)
def test_a_name_is_cut_in_the_middle(text: str, width: int, expected: str) -> None:
    assert cut(text, width) == expected


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["benches/", "--benchmark-only"], False),
        (["--benchmark-json=out.json", "--benchmark-autosave"], False),
        (["--benchmark-columns=min,max"], True),
        (["--benchmark-sort", "mean"], True),
        (["--benchmark-group-by=group"], True),
        (["--benchmark-name=long"], True),
        (["--benchmark-verbose"], True),
        (["--benchmark-compare"], True),
        (["--benchmark-compare=0001"], True),
        (["--benchmark-compare-fail=mean:5%"], True),
        (["--benchmark-histogram"], True),
        (["-k", "benchmark-sort"], False),
    ],
)
def test_the_tables_of_pytest_benchmark_are_shown_where_an_option_is_about_them(arguments: list[str], expected: bool) -> None:
    assert asks_for_tables(arguments) is expected


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "share", "other"), [("cpu", "peak", "MFU"), ("cuda", "MFU", "peak"), ("simulated", "MFU", "peak")])
def test_a_run_fits_80_columns_and_shows_every_timed_family(make_run: Callable[..., Path], kind: str, share: str, other: str) -> None:
    report = load_report(make_run(kind))
    text = run_text(report)
    assert max(map(len, text.splitlines())) <= WIDTH
    head = "".join(text.splitlines()[:2])
    assert share in head
    assert other not in head
    for (op, impl, precision), rows in report.timed.groupby(["op", "impl", "precision"]):
        total = ((report.frame[["op", "impl", "precision"]] == [op, impl, precision]).all(axis=1)).sum()
        assert re.search(rf"^{op}\s+{impl}\s+{precision}\s+{len(rows)}/{total} ", text, re.MULTILINE)
    assert ("SIMULATED" in text) == (kind == "simulated")
    assert "\x1b" not in text
    for status, count in report.frame["status"].value_counts().items():
        assert f"{count} {status}" in " ".join(text.split())


@pytest.mark.slow
def test_failures_come_with_their_reasons(make_run: Callable[..., Path]) -> None:
    text = run_text(load_report(make_run("cuda")))
    assert "element (17, 4): 3.25 against 2.87, tolerance 0.02" in text
    assert "median 1.1 µs is below 2.4 µs" in text


@pytest.mark.slow
def test_a_hostile_reason_is_text(make_run: Callable[..., Path]) -> None:
    rows = [r.model_copy(update={"reason": "[red]x[/nope]\x1b[31m\n"}) for r in read_journal(make_run("cuda")).rows]
    text = run_text(load_report(make_run("cuda", "hostile", rows=rows)))
    assert "[red]x[/nope]" in text
    assert "\x1b" not in text


@pytest.mark.slow
def test_one_point_is_not_points(make_run: Callable[..., Path]) -> None:
    rows = [next(r for r in read_journal(make_run("cuda")).rows if r.status == "ok")]
    assert "1 point: 1 ok" in run_text(load_report(make_run("cuda", "single", rows=rows))).splitlines()

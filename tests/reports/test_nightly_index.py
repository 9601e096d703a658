"""The index of a history: which runs it lists and links, and what it keeps of each night. Pure parts; the browser has its own tests."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from reports.history.store import open_history
from reports.nightly import index, index_page
from reports.nightly.model import NodeShift, Verdict
from reports.nightly.nights import night_from
from reports.page import relative
from tests.reports.nights import FIRST, NIGHTS, POINTS, Night, last_night
from tests.reports.test_nightly_page import bundle


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Night:
    return last_night(tmp_path_factory.mktemp("nightly"))


def verdict_of(night: Night) -> Verdict:
    return night.judged.verdict


@pytest.mark.slow
def test_the_index_lists_every_run_newest_first_and_links_what_is_there(night: Night) -> None:
    page = Path(verdict_of(night).run_dir) / "nightly.html"
    page.parent.mkdir(exist_ok=True)
    page.write_text("a page", encoding="utf-8")
    index.keep(night.history, verdict_of(night), page)
    database = open_history(night.history).database
    out = index_page.write_index(night.history, database, night_from(12), verdict_of(night))
    rows = json.loads(bundle(out.read_text(encoding="utf-8"), "data"))["rows"]["values"]
    assert len(rows["point"]) == 2 * NIGHTS
    assert rows["point"][0] == verdict_of(night).run
    assert rows["started_utc"] == sorted(rows["started_utc"], reverse=True)
    assert rows["status"] == ["regressed", *["not judged"] * (2 * NIGHTS - 1)]
    assert rows["headline"][0] == verdict_of(night).headline
    assert (out.parent / rows["nightly"][0]).resolve() == page.resolve()
    assert rows["nightly"][1:] == [None] * (2 * NIGHTS - 1)
    assert rows["points"][0] == POINTS - 1, "sentinels are no points"
    assert rows["night"][0] == f"{FIRST:%Y-%m}-{FIRST.day + NIGHTS - 1}"


def test_what_was_kept_is_read_leniently_and_forgotten_when_pruned(night: Night, tmp_path: Path) -> None:
    index.keep(tmp_path, verdict_of(night), None)
    (tmp_path / "verdicts" / "torn.json").write_text('{"run": "x"', encoding="utf-8")
    kept, problems = index.read_kept(tmp_path)
    assert list(kept) == [verdict_of(night).run]
    assert kept[verdict_of(night).run].exit_code == 1
    assert len(problems) == 1
    assert problems[0].startswith("verdicts/torn.json cannot be read")
    index.forget(tmp_path, [verdict_of(night).run, "never-judged"])
    assert index.read_kept(tmp_path)[0] == {}


def test_shifts_of_other_nights_verdicts_stand_beside_tonights() -> None:
    old = index.Kept(run="a", night="2026-01-01", exit_code=0, headline="", shifts=[index.Shift(gpu="g", ratio=1.01, series=9)])
    told = index.shifts([old], [NodeShift("g", "2026-01-02", 1.0, 9), NodeShift("g", "2026-01-01", 1.02, 10)])
    assert told == [NodeShift("g", "2026-01-01", 1.02, 10), NodeShift("g", "2026-01-02", 1.0, 9)]


@pytest.mark.parametrize(
    ("path", "folder", "address"),
    [
        ("a/h/x.html", "a/h", "x.html"),
        ("a/runs/r 1#/x.html", "a/h", "../runs/r%201%23/x.html"),
        ("a/javascript:y/x.html", "a", "javascript%3Ay/x.html"),
    ],
)
def test_addresses_are_relative_and_no_scheme(tmp_path: Path, path: str, folder: str, address: str) -> None:
    assert relative(tmp_path / path, tmp_path / folder) == address

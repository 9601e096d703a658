"""What the night's page and the index show: series, levels, packed arrays, the fleet, links. Pure parts; the browser has its own tests."""

from __future__ import annotations

import base64
import gzip
import html as escaping
import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from reports.__main__ import main
from reports.nightly.model import NodeShift
from reports.nightly.night_charts import shift_chart
from reports.nightly.night_page import html
from reports.nightly.nights import sentinel_moves
from reports.nightly.series import series_frame
from reports.nightly.trends import by_gpu_rows, levels
from reports.nightly.words import change_line, change_words, rerun_command
from reports.survey.fleet_history import against_fleet
from tests.reports.nights import BETTER, GONE, NIGHTS, POINTS, SLOW, STEP_NIGHT, Night, last_night, names

HOSTILE = "</script><img src=x onerror=alert(1)>&\"'"


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Night:
    return last_night(tmp_path_factory.mktemp("nightly"))


def bundle(page: str, name: str) -> bytes:
    packed = re.search(rf'<script type="application/gzip;base64" id="{name}">([^<]*)</script>', page)
    assert packed
    return gzip.decompress(base64.b64decode(packed[1]))


def visible(page: str) -> str:
    """What a reader without the bundles sees, entities read."""
    return escaping.unescape(re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL))


def row_of(night: Night, point: str) -> int:
    return int(np.flatnonzero(night.judged.nights.series["point"] == point)[0])


@pytest.mark.slow
def test_the_planted_steps_are_what_the_night_confirms(night: Night) -> None:
    confirmed = {change.point: change for change in night.judged.verdict.confirmed}
    assert set(confirmed) == {names()[SLOW], names()[BETTER]}
    assert confirmed[names()[SLOW]].ratio == pytest.approx(1.08, abs=0.01)
    assert confirmed[names()[BETTER]].ratio == pytest.approx(0.92, abs=0.01)


def test_a_line_a_series_with_its_status_and_where_it_stands(night: Night) -> None:
    frame = series_frame(night.judged).set_index("point")
    assert len(frame) == POINTS - 1, "the vanished one has no time tonight"
    assert frame["status"].value_counts().to_dict() == {"steady": POINTS - 3, "slower": 1, "faster": 1}
    slow = frame.loc[names()[SLOW]]
    assert slow["change"] == pytest.approx(1.08, abs=0.01)
    assert slow["since"] == night.judged.nights.nights[STEP_NIGHT]
    assert slow["level_s"] == pytest.approx(1e-5 * (1 + SLOW) * 1.01, rel=0.015), "before the step; two GPUs, one 2% slower"
    assert slow["tonight_s"] == pytest.approx(1.08 * slow["level_s"], rel=0.015)
    assert "configuration changed: 128x128 → 64x64" in slow["reason"]
    assert slow["shape"] == "130×129×131"
    assert frame["nights"].eq(NIGHTS).all()
    assert frame.loc[frame["status"] == "steady", "change"].isna().all()


@pytest.mark.slow
def test_a_short_history_is_said_to_be_too_short(tmp_path: Path) -> None:
    judged = last_night(tmp_path, nights=4).judged
    frame = series_frame(judged)
    assert frame["status"].eq("too few nights").all()
    assert frame["tonight_s"].notna().all()
    assert "There are too few nights to judge any series yet." in html(judged)


def test_accepted_earlier_and_unusual_series_are_told_apart(night: Night) -> None:
    verdict = night.judged.verdict
    slow, fast = (next(c for c in verdict.changes if c.point == names()[i]) for i in (SLOW, BETTER))
    changes = (replace(slow, accepted="checks its bounds now"), replace(fast, tonight=False))
    frame = series_frame(replace(night.judged, verdict=replace(verdict, changes=changes))).set_index("point")
    assert frame.loc[names()[SLOW], "status"] == "accepted"
    assert frame.loc[names()[SLOW], "reason"].startswith("accepted: checks its bounds now; ")
    assert frame.loc[names()[BETTER], "status"] == "faster earlier"


def test_levels_are_the_medians_on_each_side_of_a_step(night: Night) -> None:
    row = row_of(night, names()[SLOW])
    values = night.judged.shifted.values[row]
    before, after = levels(night.judged)[row]
    assert (before.first, before.last, after.first, after.last) == (0, STEP_NIGHT - 1, STEP_NIGHT, NIGHTS - 1)
    assert before.log_s == pytest.approx(np.median(values[:STEP_NIGHT]))
    assert after.log_s == pytest.approx(np.median(values[STEP_NIGHT:]))
    assert after.half / before.half == pytest.approx(np.sqrt(STEP_NIGHT / (NIGHTS - STEP_NIGHT))), "the same noise, fewer nights"
    (steady,) = levels(night.judged)[row_of(night, names()[0])]
    assert (steady.first, steady.last) == (0, NIGHTS - 1)


def test_arrays_are_packed_as_the_script_reads_them(night: Night) -> None:
    page = html(night.judged)
    found = night.judged.nights
    values = np.frombuffer(bundle(page, "values"), "<f4").reshape(len(found.series), NIGHTS)
    np.testing.assert_allclose(values, night.judged.shifted.values, rtol=1e-6)
    told = json.loads(bundle(page, "trends"))
    rows = told["byGpu"]
    by_gpu = np.frombuffer(bundle(page, "by-gpu"), "<f4").reshape(len(rows), NIGHTS, 2)
    np.testing.assert_allclose(by_gpu, found.times[rows], rtol=1e-6)
    assert told["nights"] == found.nights
    assert told["changes"][str(row_of(night, names()[SLOW]))] == [{"first": STEP_NIGHT, "direction": "slower", "text": _percent(night)}]
    data = json.loads(bundle(page, "data"))
    assert data["rows"]["values"]["point"] == found.series["point"].tolist(), "rows and arrays share their order"


def _percent(night: Night) -> str:
    return f"{next(c for c in night.judged.verdict.changes if c.point == names()[SLOW]).ratio - 1:+.1%}"


def test_times_by_gpu_are_cut_where_they_would_not_fit_and_changes_come_first(night: Night, monkeypatch: pytest.MonkeyPatch) -> None:
    changed = [change.series for change in night.judged.verdict.changes]
    monkeypatch.setattr("reports.nightly.trends.BY_GPU", 3 * NIGHTS * 2)
    rows = by_gpu_rows(night.judged)
    assert rows[:2] == changed
    assert len(rows) == 3


@pytest.mark.slow
def test_one_gpu_needs_no_times_of_its_own(tmp_path: Path) -> None:
    judged = last_night(tmp_path, gpus=1).judged
    assert by_gpu_rows(judged) == []
    assert "The node, night by night" in html(judged)


def test_the_page_says_the_verdict_in_the_sentences_of_the_terminal(night: Night) -> None:
    verdict = night.judged.verdict
    text = visible(html(night.judged, night.gpus, [("the run", "report.html")]))
    assert f'<h1 class="verdict bad">{verdict.headline}</h1>' in text
    for change in verdict.confirmed:
        assert change_line(change) == f"{change.point}  {change_words(change)}"
        assert change_words(change) in text
        assert rerun_command(change.point, verdict.run_dir) in text
    assert f"git log {'a' * 10}..{'b' * 10}" in text
    assert "vanished (was ok)" in text
    assert f">{names()[GONE]}</span>" in text, "no link: the table has no such series"
    assert '<a href="report.html">the run</a>' in text
    assert "SIMULATED" not in text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "tone", "said"),
    [
        ({"changes": (), "statuses": (), "suspect": ()}, "good", "No change was found."),
        ({"changes": (), "statuses": (), "suspect": ("throttled",)}, "caution", '<p class="banner problem" role="note">throttled</p>'),
        ({"simulated": True}, "bad", "<strong>SIMULATED</strong>"),
        ({"environment": ("driver: 570 → 580",)}, "bad", "<div>driver: 570 → 580</div>"),
        ({"notes": ("No run in the 2 nights before this one.",)}, "bad", "No run in the 2 nights before this one."),
    ],
)
def test_tone_banner_and_notes_follow_the_verdict(night: Night, change: dict[str, Any], tone: str, said: str) -> None:
    text = visible(html(replace(night.judged, verdict=replace(night.judged.verdict, **change))))
    assert f'<h1 class="verdict {tone}">' in text
    assert said in text


def test_beyond_twenty_cards_changes_are_a_click_away(night: Night) -> None:
    verdict = night.judged.verdict
    slow = next(change for change in verdict.changes if change.direction == "slower")
    many = replace(night.judged, verdict=replace(verdict, changes=tuple(replace(slow, series=i, point=f"p{i}") for i in range(23))))
    page = html(many)
    assert len(re.findall(r'<article class="card bad"', page)) == 20
    assert "3 more, each with a chart" in page
    assert all(f'href="#point=p{i}"' in page for i in range(23))


@pytest.mark.slow
def test_hostile_names_stay_text(tmp_path: Path) -> None:
    night = last_night(tmp_path, [f"{HOSTILE}{name}" for name in names()])
    page = html(night.judged, night.gpus)
    assert "<img" not in page
    assert page.count("</script>") == page.count("<script")


def test_against_the_fleet_counts_only_what_two_gpus_timed() -> None:
    tonight = np.log([[1.0, 1.1, 1.0], [2.0, 2.2, np.nan], [5.0, np.nan, np.nan]])
    middle = np.log([1.0, np.sqrt(2.0 * 2.2)])
    expected = np.exp([np.median([0 - middle[0], np.log(2.0) - middle[1]]), np.median([np.log(1.1), np.log(2.2) - middle[1]]), 0.0])
    np.testing.assert_allclose(against_fleet(tonight), expected)
    assert np.isnan(against_fleet(np.zeros((3, 1)))).all()


def test_the_fleet_has_conditions_shift_and_sentinels_of_tonight(night: Night) -> None:
    first, second = night.gpus
    assert (first.gpu, second.gpu) == ("GPU-0", "GPU-1")
    assert (first.host, first.timed, first.nights, first.throttled) == ("node-17", POINTS - 1, NIGHTS, 0)
    assert (first.duty, second.duty) == (0.6, 0.9)
    assert (first.temperature_c, second.temperature_c, first.sm_clock_hz, first.power_w) == (60.0, 61.0, 1.755e9, 640.0)
    assert second.against_fleet / first.against_fleet == pytest.approx(1.02, abs=0.003)
    ((name, seconds, ratio),) = first.sentinels
    assert (name, seconds) == ("copy 1024 MiB", pytest.approx(6.9e-4 * 1.02))
    assert ratio == pytest.approx(1.02)


def test_a_sentinel_of_the_first_night_has_nothing_to_be_set_against() -> None:
    told = pd.DataFrame({"night": ["a"], "gpu": ["g"], "name": ["copy"], "seconds": [2.0]})
    ((name, seconds, ratio),) = sentinel_moves(told, "a")["g"]
    assert (name, seconds) == ("copy", 2.0)
    assert np.isnan(ratio)


@pytest.mark.parametrize(("gpus", "kind"), [(1, "scatter"), (8, "scatter"), (9, "heatmap"), (40, "heatmap")])
def test_many_gpus_make_a_heat_map(gpus: int, kind: str) -> None:
    shifts = [NodeShift(f"GPU-{i:02}", f"2026-10-0{n}", 1 + 0.001 * i, 50) for i in range(gpus) for n in (1, 2)]
    chart = shift_chart(shifts)
    traces = chart.views[0].figure.data
    assert {trace.type for trace in traces} == {kind}
    assert len(traces) == (gpus if kind == "scatter" else 1)
    assert f"the largest is {0.001 * (gpus - 1):+.1%}" in chart.alt


@pytest.mark.slow
def test_the_command_writes_both_pages_and_names_the_nights_last(
    make_run: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, history = make_run("cuda"), tmp_path / "history"
    assert main(["nightly", str(run), "--history", str(history)]) == 0, "a first night confirms nothing"
    assert capsys.readouterr().out.strip().split("\n")[-1] == str(run / "nightly.html")
    assert "No verdict yet" in visible((run / "nightly.html").read_text(encoding="utf-8"))
    rows = json.loads(bundle((history / "index.html").read_text(encoding="utf-8"), "data"))["rows"]["values"]
    assert (rows["status"], [(history / href).resolve() for href in rows["nightly"]]) == (["fine"], [(run / "nightly.html").resolve()])


@pytest.mark.slow
def test_the_page_goes_where_it_is_asked_for_and_webhook_text_stays_alone(
    make_run: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, history, out = make_run("cuda"), tmp_path / "history", tmp_path / "mine.html"
    assert main(["nightly", str(run), "--history", str(history), "-o", str(out), "--webhook-text"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"page: {out}"
    assert 'href="history/index.html"' in out.read_text(encoding="utf-8")
    assert not (run / "nightly.html").exists()
    assert main(["nightly", str(run), "--history", str(history), "-o", str(tmp_path / "gone" / "mine.html")]) == 2
    assert "gone: no such directory" in capsys.readouterr().err


@pytest.mark.slow
def test_a_verdict_stands_where_its_page_cannot_be_written(
    make_run: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, taken = make_run("cuda"), tmp_path / "taken"
    taken.mkdir()
    assert main(["nightly", str(run), "--history", str(tmp_path / "history"), "-o", str(taken)]) == 2
    told = capsys.readouterr()
    assert "No verdict yet" in told.out
    assert "error: the page (-o names another place) was not written: " in told.err

"""The page of a survey: what it says, the map, the spread, links, size. Pure parts; the browser looks at the end."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benches.run.survey_file import read_survey
from reports.__main__ import main
from reports.survey import survey_sections as sections
from reports.survey.judge import judge
from reports.survey.shown import Shown, names, shown
from reports.survey.survey_charts import WIDTH, distribution, swarm
from reports.survey.survey_page import html, needs_a_look
from reports.survey.survey_run import read_run
from reports.survey.thresholds import load_thresholds
from tests.reports.surveys import Planted, make_survey, uuid_of

SLOW = Planted({"all": 1.06}, {"pcie_width": 8}, clock=0.94)
PLACES = "host,gpu,rack,slot,owner\n" + "".join(f"node-{i:03d},,R{10 - i},{i},lab\n" for i in range(9))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Shown:
    """40 GPUs on five hosts; GPU 3 of node-002 is slow, the last one is lost."""
    folder = tmp_path_factory.mktemp("survey")
    run = make_survey(folder / "run", gpus=40, count=12, planted={19: SLOW}, lost=[39])
    (folder / "hosts.csv").write_text(PLACES, encoding="utf-8")
    read = read_run(run, folder / "hosts.csv")
    return shown(read, judge(read.rows, load_thresholds(), read.boards))


def test_each_gpu_has_its_state_its_place_and_what_differs(made: Shown) -> None:
    gpus = made.gpus.set_index("point")
    assert list(made.gpus["gpu"]) == [uuid_of(i) for i in range(40)]
    slow = gpus.loc["node-002 GPU 3"]
    assert (slow["status"], slow["rack"], slow["slot"], slow["owner"]) == ("slow", "R8", "2", "lab")
    assert slow["slower"] == pytest.approx(1.06, rel=0.02)
    assert re.fullmatch(r"SM clock 1,6\d\d MHz under load; the others 1,75\d MHz · PCIe x8 instead of x16", slow["reason"])
    assert gpus.loc["node-004 GPU 7", "status"] == "unusable"
    assert gpus.loc["node-004 GPU 7", "reason"] == "CUDA error: GPU is lost"
    assert gpus.loc["node-000 GPU 0", "status"] == "fine"
    assert needs_a_look(made.judged) == {uuid_of(19), uuid_of(39)}


@pytest.mark.slow
def test_the_answer_is_the_title_and_nothing_is_loaded(made: Shown, tmp_path: Path) -> None:
    text = html(made, tmp_path)
    title = re.search(r'<h1 class="verdict bad">(.*)</h1>', text)
    assert title is not None
    assert title[1].startswith("1 of 40 GPUs is slow: node-002 GPU\xa03, ")
    assert not re.findall(r'(?:src|href)="(?![#$])[^"]*"', text)
    assert "node-002 GPU 3" in text
    assert "SIMULATED" in text


@pytest.mark.slow
@pytest.mark.parametrize("nasty", ["<script>alert(1)</script>", '"><img src=x>'])
def test_names_stay_text(made: Shown, tmp_path: Path, nasty: str) -> None:
    gpus = made.gpus.assign(rack=nasty, point=nasty + made.gpus["point"])
    text = html(Shown(made.run, made.judged, gpus, made.differs), tmp_path)
    assert nasty not in text


def test_the_map_is_in_the_order_of_racks_and_slots(made: Shown) -> None:
    racks = sections._racks(made)
    assert [name for name, _ in racks] == ["R6", "R7", "R8", "R9", "R10"]  # by number
    ((_, [host]),) = [pair for pair in racks if pair[0] == "R8"]
    assert [cell["status"] for cell in host["cells"]] == ["fine"] * 3 + ["slow"] + ["fine"] * 4  # type: ignore[attr-defined]
    assert [name for name, _ in host["labels"]] == ["GPU 3"]  # type: ignore[attr-defined]


def test_without_an_inventory_the_map_is_by_host(made: Shown) -> None:
    bare = Shown(made.run, made.judged, made.gpus.drop(columns=["rack", "slot"]), made.differs)
    ((rack, hosts),) = sections._racks(bare)
    assert rack == ""
    assert [host["name"] for host in hosts] == [f"node-{i:03d}" for i in range(5)]
    assert "by host and index" in sections.layout(bare).lead


@pytest.mark.parametrize(
    ("slower", "step", "colour"),
    [
        (0.98, 0.01, "faster"),
        (0.99, 0.01, "faster"),
        (1.0, 0.01, "same"),
        (1.0099, 0.01, "same"),
        (1.015, 0.01, "slower1"),
        (1.03, 0.01, "slower2"),
        (1.05, 0.01, "slower3"),
        (1.04, 0.05, "same"),
        (float("nan"), 0.01, "none"),
    ],
)
def test_the_colour_of_a_cell(slower: float, step: float, colour: str) -> None:
    assert sections.tone(slower, step) == colour


@pytest.mark.parametrize(
    ("values", "ordered"),
    [(["n10", "n9", "n1"], ["n1", "n9", "n10"]), (["b1", "a2", ""], ["", "a2", "b1"]), (["U7", "7", "u7a"], ["7", "U7", "u7a"])],
)
def test_names_are_ordered_by_their_numbers(values: list[str], ordered: list[str]) -> None:
    assert sorted(values, key=sections.natural) == ordered


@pytest.mark.parametrize("count", [0, 1, 2, 127, 1024])
def test_marks_of_a_strip_stay_in_it_and_apart(count: int) -> None:
    values = pd.Series(np.random.default_rng(3).normal(1.0, 0.01, count))
    x = swarm(values)
    assert len(x) == count
    assert np.all(np.abs(x) <= WIDTH + 1e-9)
    assert len({(round(float(a), 6), float(b)) for a, b in zip(x, values, strict=True)}) == count


def test_missing_values_have_a_place_in_a_strip_too() -> None:
    assert list(swarm(pd.Series([np.nan, 1.0, np.nan]))) == [0.0, 0.0, 0.0]


def test_the_spread_shows_every_gpu_by_family_and_every_point(made: Shown) -> None:
    chart = distribution(made)
    families, points = chart.views
    marks = [trace for trace in families.figure.data if trace.customdata is not None]
    assert {trace.name for trace in marks} == {"slow", "fine"}
    assert sum(len(trace.customdata) for trace in marks) == 39 * (1 + 3)  # of all points, and of three families
    slow = next(trace for trace in points.figure.data if trace.name == "slow")
    assert set(slow.customdata) == {19}
    assert len(slow.x) == 12
    assert np.median(slow.y) == pytest.approx(6.0, abs=1.5)
    assert "the slowest is node-002 GPU 3" in chart.alt


@pytest.mark.slow
def test_columns_of_the_inventory_may_be_called_as_the_page_s_own(tmp_path: Path) -> None:
    names_of = ["slower", "status", "worst", "group", "point", "sm_clock_hz", "page", "driver", "owner"]
    path = tmp_path / "hosts.csv"
    path.write_text(f"host,gpu,rack,slot,{','.join(names_of)}\nnode-000,,A,1,{','.join('abcdefghi')}\n", encoding="utf-8")
    run = read_run(make_survey(tmp_path / "run", gpus=4, count=3), path)
    made = shown(run, judge(run.rows, load_thresholds(), run.boards))
    assert made.gpus["slower"].tolist() == pytest.approx([1.0] * 4, abs=0.03)
    assert made.gpus["driver"].tolist() == ["575.57.08"] * 4
    for name, value in zip(names_of, "abcdefghi", strict=True):
        assert made.gpus[name if name == "owner" else f"{name} (inventory)"].tolist() == [value] * 4
    assert "Every GPU" in html(made, tmp_path)


def test_two_gpus_of_an_index_have_names_of_their_own() -> None:
    boards = pd.DataFrame({"host": ["a", "a", "b"], "index": [0, 0, 0], "gpu": ["GPU-11111111-x", "GPU-22222222-y", "GPU-3"]})
    assert names(boards) == ["a GPU 0 (GPU-11111111)", "a GPU 0 (GPU-22222222)", "b GPU 0"]


@pytest.mark.slow
@pytest.mark.parametrize(("gpus", "lost"), [(1, []), (2, []), (3, [0, 1, 2]), (3, [])])
def test_a_survey_in_which_little_can_be_judged_has_a_page(tmp_path: Path, gpus: int, lost: list[int]) -> None:
    run = read_run(make_survey(tmp_path / "run", gpus=gpus, count=3, lost=lost))
    text = html(shown(run, judge(run.rows, load_thresholds(), run.boards)), tmp_path)
    assert "Every GPU" in text


@pytest.mark.slow
def test_html_makes_the_survey_s_page_with_links_to_its_gpus(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_survey(tmp_path / "run", gpus=3, count=3)
    assert main(["html", str(run)]) == 0
    made = capsys.readouterr().out.splitlines()
    assert made == [str(run / gpu.directory / "report.html") for gpu in read_survey(run).gpus] + [str(run / "report.html")]
    found = read_run(run)
    pages = shown(found, judge(found.rows, load_thresholds(), found.boards))
    assert sections.page_of(pages, 2, run) == f"{read_survey(run).gpus[2].directory}/report.html"
    assert sections.page_of(pages, 2, tmp_path) == f"run/{read_survey(run).gpus[2].directory}/report.html"

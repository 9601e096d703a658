"""The page of a survey in a browser: no error, a cell of the map opens its GPU, and nothing is wider than the screen."""

from __future__ import annotations

from pathlib import Path

import pytest

from reports.survey.judge import judge
from reports.survey.shown import shown
from reports.survey.survey_page import html
from reports.survey.survey_run import read_run
from reports.survey.thresholds import load_thresholds
from tests.reports.devtools import chromium
from tests.reports.surveys import Planted, make_survey

pytestmark = [pytest.mark.browser, pytest.mark.slow]
HOSTS = 128
TITLE = "document.getElementById('detail-title').textContent"


def test_a_thousand_gpus_in_a_browser(tmp_path: Path) -> None:
    planted = {19: Planted({"all": 1.06}, {"pcie_width": 8}, clock=0.94)}
    made = make_survey(tmp_path / "run", gpus=8 * HOSTS, count=3, planted=planted)
    places = "".join(f"node-{i:03d},,R{i // 16},{i % 16}\n" for i in range(HOSTS))
    (tmp_path / "hosts.csv").write_text("host,gpu,rack,slot\n" + places, encoding="utf-8")
    run = read_run(made, tmp_path / "hosts.csv")
    page = tmp_path / "page.html"
    page.write_text(html(shown(run, judge(run.rows, load_thresholds(), run.boards)), tmp_path), encoding="utf-8")
    with chromium(tmp_path / "profile") as tab:
        for width, dark in ((1300, False), (390, True)):
            tab.width(width, dark)
            tab.open(page.as_uri())
            assert tab.run("document.documentElement.dataset.ready") == "yes"
            assert tab.run("document.documentElement.scrollWidth") <= width
            assert tab.run("document.querySelectorAll('.racks a.cell').length") == 8 * HOSTS
            assert tab.run("document.querySelectorAll('.plot .main-svg').length") > 0
        tab.run("[...document.querySelectorAll('.racks a.cell.marked')].find(cell => cell.textContent === '▲').click()")
        tab.until("document.getElementById('detail').open")
        assert tab.run(TITLE) == "node-002 GPU 3"
        assert "PCIe x8 instead of x16" in tab.run("document.getElementById('detail-body').textContent")
        tab.run("document.getElementById('detail').close()")
        tab.run("document.querySelector('.chip[data-status=slow]').click()")
        assert tab.run("document.querySelectorAll('#table tbody tr').length") == 1
        assert len(tab.pdf()) > 10_000

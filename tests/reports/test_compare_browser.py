"""The page of a comparison in headless Chromium, from file://."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from reports.__main__ import main
from tests.reports.chromium import opened
from tests.reports.test_compare import both, rerun, rows_of

pytestmark = [pytest.mark.browser, pytest.mark.slow]


def test_the_chart_is_drawn_the_table_ordered_and_a_link_opens_its_point(tmp_path: Path) -> None:
    rows = rows_of()
    a, b = both(tmp_path, rows, rerun(rows[1:], slower=lambda row: 1.1 if row.impl == "triton" else 1.0))
    assert main(["compare", str(a), str(b)]) == 0
    dom, log = opened(b / "compare-a.html", tmp_path / "profile")
    assert 'data-ready="yes"' in dom
    assert len(re.findall(r'class="[^"]*svg-container', dom)) == 1
    assert dom.count("errorbar") > 50
    verdicts = re.findall(r'<span class="status \w+"><span aria-hidden="true">.</span> ([\w ]+)</span>', dom.split('id="table"')[1])
    assert verdicts[0] == "only in A"
    assert re.search(r'id="failed"[^>]*hidden', dom)
    assert not re.search(r"CONSOLE.*(error|refused|violates)", log, re.IGNORECASE), log
    point = rows[20].point
    dom, _ = opened(b / "compare-a.html", tmp_path / "profile", f"#point={point}")
    assert re.search(r'<dialog id="detail"[^>]*\bopen\b', dom)
    assert re.search(rf'<h3 id="detail-title">{point}</h3>', dom)

"""The page in headless Chromium, from file://."""

import re
import shlex
from collections.abc import Callable
from html import escape
from pathlib import Path

import pytest

from reports.build import build_report
from tests.reports.chromium import opened

pytestmark = [pytest.mark.browser, pytest.mark.slow]


@pytest.mark.parametrize("kind", ["cpu", "cuda"])
def test_charts_are_drawn_and_the_table_is_filled(made_page: Callable[[str], Path], tmp_path: Path, kind: str) -> None:
    dom, log = opened(made_page(kind), tmp_path / "profile")
    assert 'data-ready="yes"' in dom
    charts = dom.count('class="chart"')
    assert charts >= 3
    assert len(re.findall(r'class="[^"]*svg-container', dom)) == charts
    assert "scatterlayer" in dom
    assert "heatmaplayer" in dom
    assert dom.count('<tr data-row="') == 25, "a page of the table"
    assert re.search(r'id="failed"[^>]*hidden', dom)
    assert not re.search(r"CONSOLE.*(error|refused|violates)", log, re.IGNORECASE), log
    assert not re.findall(r"""(?:src|href)=["']https?:""", dom)


def test_a_link_opens_its_point(made_page: Callable[[str], Path], tmp_path: Path) -> None:
    page = made_page("cuda")
    dom, _ = opened(page, tmp_path / "profile", "#point=matmul-torch-bf16-256x1024x1024-nt")
    assert re.search(r'<dialog id="detail"[^>]*\bopen\b', dom)
    assert re.search(r'<h3 id="detail-title">matmul-torch-bf16-256x1024x1024-nt</h3>', dom)


def test_hostile_names_do_not_run(make_run: Callable[..., Path], tmp_path: Path) -> None:
    from benches.run.journal import read_journal

    hostile = "<img src=x onerror=\"document.documentElement.dataset.owned='yes'\">"
    rows = [
        r.model_copy(update={"reason": hostile, "label": hostile, "point": f"{hostile}{i}"})
        for i, r in enumerate(read_journal(make_run("cpu")).rows)
    ]
    dom, _ = opened(build_report(make_run("cpu", "hostile", rows=rows)), tmp_path / "profile")
    assert 'data-ready="yes"' in dom
    assert "data-owned" not in dom


def test_filters_live_in_the_address(made_page: Callable[[str], Path], tmp_path: Path) -> None:
    page = made_page("cuda")
    dom, log = opened(page, tmp_path / "profile", "#filters?status=noisy&status=nothing&op=matmul&precision=none&search=bf16")
    assert 'data-ready="yes"' in dom
    assert re.search(r'aria-pressed="true" data-status="noisy"', dom)
    assert dom.count('aria-pressed="true" data-status=') == 1
    shown = re.findall(r'<a class="point" title="([^"]*)"', dom[dom.index('<table id="table"') : dom.index("</dialog>")])
    assert shown
    assert all(name.startswith("matmul-") and "bf16" in name for name in shown)
    assert not re.search(r"CONSOLE.*(error|refused|violates)", log, re.IGNORECASE), log


def test_a_point_has_its_command_and_where_its_time_goes(made_page: Callable[[str], Path], tmp_path: Path) -> None:
    point = "matmul-torch-bf16-256x1024x1024-nt"
    page = made_page("cuda")
    dom, _ = opened(page, tmp_path / "profile", f"#point={point}")
    options = escape(f"--benchmark-only --sweep {shlex.quote(f'{page.parent}/sweep.yaml')} --device cuda", quote=False)
    assert f'data-text="pytest &quot;benches/test_points.py::test_point[{point}]&quot; {options}"' in dom
    assert "Where the time goes" in dom
    widths = [float(found) for found in re.findall(r'<span class="\w+_s" style="width:\s?([\d.]+)%', dom)]
    assert sum(widths) == pytest.approx(100, abs=0.01)

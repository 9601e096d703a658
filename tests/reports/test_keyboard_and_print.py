"""A run's page in Chromium by keyboard, clipboard and on paper."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from benches.run.journal import read_journal
from reports.build import build_report
from tests.reports.conftest import fake_rows, sweep
from tests.reports.devtools import Tab, chromium

pytestmark = [pytest.mark.browser, pytest.mark.slow]
TITLE = "document.getElementById('detail').open && document.getElementById('detail-title').textContent"
SHOWN = "[...document.querySelectorAll('#table a.point')].map(link => link.title)"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Tab]:
    with chromium(tmp_path_factory.mktemp("profile")) as tab:
        tab.command("Browser.grantPermissions", permissions=["clipboardReadWrite", "clipboardSanitizedWrite"])
        yield tab


@pytest.fixture
def tab(browser: Tab) -> Tab:
    browser.renew()
    return browser


def test_points_open_close_and_follow_by_keys(made_page: Callable[[str], Path], tab: Tab) -> None:
    tab.open(made_page("cuda").as_uri())
    first, second, *_ = tab.run(SHOWN)
    tab.run("document.querySelector('#table a.point').focus()")
    tab.press("Enter")
    tab.until(TITLE)
    assert tab.run(TITLE) == first
    tab.press("ArrowRight")
    tab.until(f"({TITLE}) === {json.dumps(second)}")
    assert tab.run("decodeURIComponent(location.hash)") == f"#point={second}"
    tab.press("ArrowLeft")
    tab.until(f"({TITLE}) === {json.dumps(first)}")
    tab.press("ArrowLeft")
    assert tab.run(TITLE) == first, "there is none before it"
    tab.press("Escape")
    tab.until("!document.getElementById('detail').open")
    assert "#point=" not in tab.run("location.hash")
    tab.press("/")
    assert tab.run("document.activeElement.id") == "search"
    assert tab.run("document.activeElement.value") == ""


# Two seconds later the button has its own text again, which a busy machine may see first.
NOTE_TEXTS = (
    "new MutationObserver(found => shown.push(found[0].target.textContent)).observe(document.getElementById('command'), {childList: true})"
)


def test_commands_and_rows_reach_the_clipboard(made_page: Callable[[str], Path], tab: Tab) -> None:
    page = made_page("cuda")
    point = "matmul-torch-bf16-256x1024x1024-nt"
    tab.open(f"{page.as_uri()}?again#point={point}")
    tab.until(TITLE)
    tab.run(f"globalThis.shown = []; {NOTE_TEXTS}; document.getElementById('command').focus()")
    tab.press("Enter")
    tab.until("shown.includes('Copied')")
    sweep = shlex.quote(f"{page.parent}/sweep.yaml")
    expected = f'pytest "benches/test_points.py::test_point[{point}]" --benchmark-only --sweep {sweep} --device cuda'
    assert tab.run("navigator.clipboard.readText()") == expected
    tab.press("Escape")
    tab.run("document.querySelector('#filters .chip[data-status=wrong]').click()")
    tab.run("document.getElementById('copy').click()")
    tab.until("document.getElementById('told').textContent")
    heading, *lines = tab.run("navigator.clipboard.readText()").splitlines()
    wrong = [row.point for row in read_journal(page.parent).rows if row.status == "wrong"]
    assert [dict(zip(heading.split(","), line.split(","), strict=False))["point"] for line in lines] == wrong


def test_paper_is_light_and_nothing_on_it_is_cut_or_closed(make_run: Callable[..., Path], tab: Tab) -> None:
    rows = fake_rows(sweep("small"), "cpu")
    tab.width(1440, dark=True)
    tab.open(build_report(make_run("cpu", "paper", rows=rows)).as_uri())
    assert tab.run("document.documentElement.dataset.theme") == "dark"
    assert tab.run("document.querySelectorAll('details:not([open])').length") > 0
    tab.command("Emulation.setEmulatedMedia", media="print", features=[{"name": "prefers-color-scheme", "value": "dark"}])
    tab.run("dispatchEvent(new Event('beforeprint'))")
    tab.command("Emulation.setDeviceMetricsOverride", width=1032, height=703, deviceScaleFactor=1, mobile=False)  # A4 within its margins
    assert tab.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert tab.run("document.querySelectorAll('details:not([open])').length") == 0
    every = "[...document.querySelectorAll('table, .plot, .facts, dl')].filter(e => e.checkVisibility())"
    assert tab.run(f"{every}.filter(e => e.getBoundingClientRect().right > 1033).map(e => e.id || e.className)") == []
    assert tab.run("[...document.querySelectorAll('.scroll')].filter(e => e.scrollHeight > e.clientHeight + 1).length") == 0
    tab.until("[...document.querySelectorAll('.plot')].every(e => e.getBoundingClientRect().height <= 511)")
    assert tab.run("document.querySelectorAll('#table tbody tr').length") == len(rows)
    tab.run("dispatchEvent(new Event('afterprint'))")
    assert tab.run("document.documentElement.dataset.theme") == "dark"
    assert tab.run("document.querySelectorAll('details[open]').length") == 0
    assert len(re.findall(rb"/Type\s*/Page\b", tab.pdf())) > 3

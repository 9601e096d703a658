"""The page of a night, and the index of a history, in headless Chromium from file://."""

from __future__ import annotations

import html as escaping
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from reports.history.store import open_history
from reports.nightly import index, index_page
from reports.nightly.night_page import Around, write_page
from reports.nightly.nights import night_from
from tests.reports.chromium import opened
from tests.reports.nights import BETTER, NIGHTS, POINTS, SLOW, Night, last_night, names

pytestmark = [pytest.mark.browser, pytest.mark.slow]
DARK = ("--blink-settings=preferredColorScheme=0",)
# Runs once the page is ready; what PROBE returns ends up on the outermost root element, so that a frame can be as narrow as a phone.
RUNNER = """<script type="module">
const ready = () => document.documentElement.dataset.ready ? Promise.resolve() : new Promise(done => setTimeout(done, 50)).then(ready);
await ready();
const wait = ms => new Promise(done => setTimeout(done, ms));
const found = JSON.stringify(await (async () => { PROBE })());
if (parent === window) document.documentElement.dataset.probe = found; else parent.postMessage(found, "*");
</script>"""
FRAME = """<!doctype html><body style="margin:0"><iframe src="{name}" style="border:0;width:{width}px;height:900px"></iframe>
<script>addEventListener("message", event => {{ document.documentElement.dataset.probe = event.data; }});</script>"""


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Night:
    return last_night(tmp_path_factory.mktemp("nightly"))


@pytest.fixture(scope="module")
def page(night: Night) -> Path:
    out = night.history.parent / "nightly.html"
    write_page(night.judged, night.gpus, out, Around())
    return out


def probed(page: Path, folder: Path, script: str, width: int | None = None, flags: tuple[str, ...] = ()) -> Any:
    """What `script`, the body of an async function, returns in the page; `width`: of a frame around it, px."""
    copy = folder / "probed.html"
    copy.write_text(page.read_text(encoding="utf-8").replace("</body>", RUNNER.replace("PROBE", script) + "</body>"), encoding="utf-8")
    if width is not None:
        frame = folder / "frame.html"
        frame.write_text(FRAME.format(name=copy.name, width=width), encoding="utf-8")
        flags = (*flags, f"--window-size={max(width, 500)},900")
        copy = frame
    found = None
    for attempt in range(3):  # the browser's virtual time may run out while the page still unpacks itself in real time
        dom, log = opened(copy, folder / f"profile{attempt}", flags=flags)
        found = re.search(r'<html[^>]* data-probe="([^"]*)"', dom)
        if found:
            break
    assert found, log
    return json.loads(escaping.unescape(found[1]))


def test_cards_charts_table_and_sparklines_are_drawn_without_an_error(page: Path, tmp_path: Path) -> None:
    dom, log = opened(page, tmp_path / "profile")
    assert 'data-ready="yes"' in dom
    cards, charts = dom.count('class="card '), dom.count('class="chart"')
    assert (cards, charts) == (2, 1)
    assert len(re.findall(r'class="[^"]*svg-container', dom)) == cards + charts
    assert dom.count('<tr data-row="') == POINTS - 1
    assert len(re.findall(r'<svg class="spark \w+"[^>]*>.*?<path d="M[\d. L]{100,}"', dom)) == POINTS - 1, "a line through every night"
    assert re.search(r'id="failed"[^>]*hidden', dom)
    assert not re.search(r"CONSOLE.*(error|refused|violates)", log, re.IGNORECASE), log
    assert not re.findall(r"""(?:src|href)=["']https?:""", dom)


def test_a_cards_chart_shows_points_levels_bands_and_the_step(page: Path, tmp_path: Path) -> None:
    script = """const plot = document.querySelector(".card.bad .plot");
    return { modes: plot.data.map(t => t.mode), nights: plot.data.at(-1).x.length, shapes: plot.layout.shapes.length,
             text: plot.layout.annotations[0].text, ratio: plot.data.filter(t => t.mode === "lines").map(t => t.y[0]) };"""
    found = probed(page, tmp_path, script)
    assert found["modes"] == ["none", "lines", "none", "lines", "markers", "markers", "markers"], "two levels; two GPUs; without shift"
    assert (found["nights"], found["shapes"]) == (NIGHTS, 1)
    assert found["ratio"][1] / found["ratio"][0] == pytest.approx(1.08, abs=0.01)
    assert re.fullmatch(r"\+[78]\.\d%", found["text"])


def test_a_link_opens_its_series_with_its_chart(page: Path, tmp_path: Path) -> None:
    dom, log = opened(page, tmp_path / "profile", f"#point={names()[SLOW]}")
    assert re.search(r'<dialog id="detail"[^>]*\bopen\b', dom)
    body = dom.split('<div id="detail-body">')[1].split("</dialog>")[0]
    assert "svg-container" in body
    assert "as measured on GPU-1" in body
    assert "likeliest cause: kernel code" in body
    assert not re.search(r"CONSOLE.*(error|refused|violates)", log, re.IGNORECASE), log


def test_sorting_filtering_searching_and_csv(page: Path, tmp_path: Path) -> None:
    script = """const rows = () => [...document.querySelectorAll("#table tbody tr[data-row] .point")].map(a => a.textContent);
    const head = name => [...document.querySelectorAll("#table thead th")].find(th => th.textContent.includes(name));
    const first = rows()[0];
    head("Tonight/level").click(); await wait(50);
    const least = rows()[0];
    document.querySelector('.chip[data-status="faster"]').click(); await wait(50);
    const faster = rows();
    document.querySelector('.chip[data-status="faster"]').click();
    const impl = document.querySelector('select[data-column="impl"]');
    impl.value = "torch"; impl.dispatchEvent(new Event("change")); await wait(50);
    const torch = rows();
    impl.value = ""; impl.dispatchEvent(new Event("change"));
    const search = document.getElementById("search");
    search.value = "130x129"; search.dispatchEvent(new Event("input")); await wait(50);
    let saved = null;
    URL.createObjectURL = blob => { saved = blob; return "blob:none"; };
    HTMLAnchorElement.prototype.click = () => {};
    document.getElementById("download").click();
    return { first, least, faster, torch, searched: rows(), csv: await saved.text() };"""
    found = probed(page, tmp_path, script)
    assert found["first"] == names()[SLOW], "what deserves attention first"
    assert found["least"] == found["faster"][0] == names()[BETTER]
    assert len(found["faster"]) == 1
    assert len(found["torch"]) == len([n for i, n in enumerate(names()) if "torch" in n and i != 11])
    assert found["searched"] == [names()[SLOW]]
    header, line = found["csv"].strip().split("\n")
    assert header.startswith("status,point,nights,change,since,ratio,")
    assert line.startswith(f"slower,{names()[SLOW]},{NIGHTS},1.0")


def test_the_dialog_gives_its_nights_as_csv(page: Path, tmp_path: Path) -> None:
    script = f"""location.hash = "#point={names()[SLOW]}"; await wait(200);
    return document.querySelector("#detail-body .copy").dataset.text;"""
    lines = probed(page, tmp_path, script).strip().split("\n")
    assert lines[0] == "night,median_s without shift,measured_s GPU-0,measured_s GPU-1"
    assert len(lines) == NIGHTS + 1
    last = lines[-1].split(",")
    assert float(last[3]) / float(last[2]) == pytest.approx(1.02, abs=0.02)


@pytest.mark.parametrize("width", [375, 2560])
def test_nothing_is_wider_than_the_window(page: Path, tmp_path: Path, width: int) -> None:
    script = """document.querySelectorAll("details").forEach(d => { d.open = true; });
    for (const plot of document.querySelectorAll(".plot")) {
      plot.scrollIntoView(); // a chart is drawn as a reader comes near
      while (!plot.querySelector("svg")) await new Promise(requestAnimationFrame); // virtual time would run out between timers
    }
    const root = document.documentElement;
    return { inner: innerWidth, over: root.scrollWidth - root.clientWidth,
             plots: [...document.querySelectorAll(".plot")].map(p => p.querySelector("svg").clientWidth - p.clientWidth) };"""
    found = probed(page, tmp_path, script, width)
    assert found["inner"] == width
    assert found["over"] == 0
    assert max(found["plots"]) <= 1


def test_dark_follows_the_system_and_the_button(page: Path, tmp_path: Path) -> None:
    script = """const colour = () => getComputedStyle(document.body).backgroundColor, root = document.documentElement;
    const before = [root.dataset.theme, colour()];
    document.getElementById("theme").click();
    return [before, [root.dataset.theme, colour()]];"""
    dark, light = probed(page, tmp_path, script, flags=DARK)
    assert dark == ["dark", "rgb(18, 22, 27)"]
    assert light == ["light", "rgb(255, 255, 255)"]


def test_a_keyboard_reaches_what_a_mouse_does_and_pictures_have_words(page: Path, tmp_path: Path) -> None:
    script = """const named = e => (e.getAttribute("aria-label") ?? e.textContent).trim().length > 0 || e.labels?.length > 0;
    const reached = [...document.querySelectorAll("a[href], button, select, input, summary, [tabindex='0']")];
    return { unnamed: reached.filter(e => !named(e)).map(e => e.outerHTML.slice(0, 80)),
             pictures: [...document.querySelectorAll(".plot")].map(p => [p.getAttribute("role"), p.getAttribute("aria-label")]),
             headless: [...document.querySelectorAll("table")].filter(t => !t.querySelector("thead th")).length };"""
    found = probed(page, tmp_path, script)
    assert found["unnamed"] == []
    assert found["headless"] == 0
    assert all(role == "img" and len(label) > 30 for role, label in found["pictures"])


def test_hostile_names_do_not_run(tmp_path: Path) -> None:
    hostile = "<img src=x onerror=\"document.documentElement.dataset.owned='yes'\">"
    night = last_night(tmp_path, [f"{hostile}{name}" for name in names()])
    gpus = [replace(gpu, host=hostile) for gpu in night.gpus]
    verdict = replace(night.judged.verdict, device_name=hostile, notes=(hostile,), suspect=(hostile,))
    out = tmp_path / "nightly.html"
    write_page(replace(night.judged, verdict=verdict), gpus, out, Around())
    script = """document.querySelector("#table .point").click(); await wait(200);
    return [document.getElementById("detail-title").textContent, document.documentElement.dataset.owned ?? "no"];"""
    title, owned = probed(out, tmp_path, script)
    assert title.startswith("<img src=x")
    assert owned == "no"


def test_the_index_links_the_nights(night: Night, page: Path, tmp_path: Path) -> None:
    index.keep(night.history, night.judged.verdict, page)
    out = index_page.write_index(night.history, open_history(night.history).database, night_from(12), night.judged.verdict)
    dom, log = opened(out, tmp_path / "profile")
    assert 'data-ready="yes"' in dom
    assert not re.search(r"CONSOLE.*(error|refused|violates)", log, re.IGNORECASE), log
    assert len(re.findall(r'class="[^"]*svg-container', dom)) == 1
    body = dom.split('id="table"')[1]
    assert body.count('<tr data-row="') == 25, "a page of the table"
    assert '<a href="../nightly.html">verdict</a>' in body.split("</tr>")[1]
    nights = re.findall(r'<td class="c-night[^"]*">([\d-]+)</td>', body)
    assert len(nights) == 25
    assert nights == sorted(nights, reverse=True)

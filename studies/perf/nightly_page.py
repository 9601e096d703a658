"""The page of a night with 10,000 series of 60 nights: seconds to write, bytes, seconds until headless Chromium has drawn it."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from reports.history.store import open_history
from reports.nightly.fleet import fleet
from reports.nightly.night_page import Around, write_page
from reports.nightly.night_verdict import judge
from reports.nightly.nights import night_from
from reports.verdict.thresholds import load_thresholds
from studies.histories.large import fill, run_id

SERIES, NIGHTS = 10_000, 60
ROUNDS = 3
FLAGS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update")


def opening_s(page: Path, browser: str) -> float:
    """Wall time of the browser until the page's script is through, less that of an empty page: the least of a few, on a shared machine."""
    empty = page.with_name("empty.html")
    empty.write_text('<!doctype html><html data-ready="yes"><title>empty</title></html>', encoding="utf-8")
    waits = [(_wall_s(page, browser), _wall_s(empty, browser)) for _ in range(ROUNDS)]
    return min(full for full, _ in waits) - min(bare for _, bare in waits)


def _wall_s(page: Path, browser: str) -> float:
    """Virtual time jumps over waits, and leaves computing as long as it is. Raises RuntimeError where the page was not drawn."""
    with tempfile.TemporaryDirectory() as profile:
        command = [browser, *FLAGS, f"--user-data-dir={profile}", "--virtual-time-budget=60000", "--dump-dom", page.as_uri()]
        start = time.perf_counter()
        done = subprocess.run(command, capture_output=True, encoding="utf-8", check=True, timeout=300)
        seconds = time.perf_counter() - start
    if 'data-ready="yes"' not in done.stdout:
        raise RuntimeError(f"{page.name} was not drawn: {done.stderr[-300:]}")
    return seconds


def figures() -> list[tuple[str, float, float, str]]:
    """Raises RuntimeError without a browser: the page's opening is half of what is asked."""
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        raise RuntimeError("no chromium, chromium-browser or google-chrome on the PATH")
    with tempfile.TemporaryDirectory() as name:
        history, out, thresholds = Path(name) / "history", Path(name) / "nightly.html", load_thresholds()
        fill(history, NIGHTS, SERIES)
        opened, calendar = open_history(history), night_from(thresholds.night_starts_utc)
        judged = judge(opened.database, run_id(NIGHTS - 1), thresholds)
        gpus = fleet(opened.database, judged, calendar)
        start = time.perf_counter()
        write_page(judged, gpus, out, Around())
        writing = time.perf_counter() - start
        size, opening = out.stat().st_size / 1e6, opening_s(out, browser)
    what = f"a night's page, {SERIES:,} series × {NIGHTS} nights"
    return [(what, writing, 10.0, "s"), (what, size, 10.0, "MB"), (f"{what}, opened", opening, 3.0, "s")]

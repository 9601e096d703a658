"""How much time reading a survey, its verdict and its page take, by the number of GPUs."""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from multiprocessing import get_context
from pathlib import Path

from benches.run.journal import NAME as JOURNAL
from reports.survey.families import ALL
from reports.survey.survey_run import read_run
from reports.survey.survey_verdict import judge_survey
from tests.reports.surveys import Planted, make_survey

SIZES, POINTS = (16, 128, 1024), 500
SAMPLES = 156  # of a row, for 2.5 kB
SLOW_OF, SLOWER = 128, 1.05  # one GPU of so many is slow, at least one
MOST_VERDICT_S, MOST_PAGE_S, MOST_PAGE_BYTES = 10.0, 20.0, 20e6


@dataclass(frozen=True)
class Reading:
    """Seconds of CPU time, all threads together. journals_s: the first reading, which writes survey.parquet. verdict_s: reading that file
    and judging. page_s: writing the page after that."""

    gpus: int
    points: int
    journal_bytes: int
    journals_s: float
    verdict_s: float
    page_s: float
    page_bytes: int
    memory_bytes: int


def reading(gpus: int, points: int = POINTS) -> Reading:
    """Writes a survey into a temporary folder, reads and judges it, and makes its page. The memory is the most that the process has had."""
    with tempfile.TemporaryDirectory(prefix="fleet-reading-") as folder:
        slow = {gpu: Planted({ALL: SLOWER}) for gpu in range(0, gpus, SLOW_OF)}
        run, out = make_survey(Path(folder, "run"), gpus, points, slow, samples=SAMPLES), Path(folder, "survey.html")
        size = sum(path.stat().st_size for path in run.rglob(JOURNAL))
        times = [time.process_time()]
        read_run(run)
        times.append(time.process_time())
        verdict = judge_survey(run)
        times.append(time.process_time())
        from reports.survey.survey_page import write_page  # Plotly's import is a part of what a page takes

        write_page(verdict.run, verdict.judged, out)
        times.append(time.process_time())
        journals_s, verdict_s, page_s = (after - before for before, after in pairwise(times))
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        return Reading(gpus, points, size, journals_s, verdict_s, page_s, out.stat().st_size, memory)


def readings(sizes: Sequence[int] = SIZES) -> Iterator[Reading]:
    """Measures each size in a process of its own, so that the memory is that of one."""
    for gpus in sizes:
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            yield pool.submit(reading, gpus).result()


def reading_table(found: Sequence[Reading]) -> list[str]:
    """Returns the lines of a Markdown table."""
    lines = [
        "| GPUs | rows | journals, MB | reading the journals, s | verdict from the file, s | page, s | page, MB | memory, MB |",
        "|" + "---:|" * 8,
    ]
    for one in found:
        seconds = f"{one.journals_s:.1f} | {one.verdict_s:.1f} | {one.page_s:.1f}"
        sizes = f"{one.page_bytes / 1e6:.1f} | {one.memory_bytes / 1e6:,.0f}"
        lines.append(f"| {one.gpus:,} | {one.gpus * one.points:,} | {one.journal_bytes / 1e6:,.0f} | {seconds} | {sizes} |")
    return lines


def missed_by_reading(found: Sequence[Reading]) -> list[str]:
    """What is not reached, a line each: a verdict or a page, both from survey.parquet, that takes too long, or a page that is too large."""
    lines = []
    for one in found:
        if one.verdict_s > MOST_VERDICT_S:
            lines.append(f"{one.gpus:,} GPUs: the verdict takes {one.verdict_s:.1f} s, of {MOST_VERDICT_S:.0f} s")
        if one.verdict_s + one.page_s > MOST_PAGE_S:
            lines.append(f"{one.gpus:,} GPUs: verdict and page take {one.verdict_s + one.page_s:.1f} s, of {MOST_PAGE_S:.0f} s")
        if one.page_bytes > MOST_PAGE_BYTES:
            lines.append(f"{one.gpus:,} GPUs: the page has {one.page_bytes / 1e6:.1f} MB, of {MOST_PAGE_BYTES / 1e6:.0f} MB")
    return lines

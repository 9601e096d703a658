"""The table of what was found, as text and as docs/disturbances.md."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from benches.devices.busy import WAITING
from benches.devices.cpu import cpu_model
from kernels.guard import ROOT
from studies.disturbances.trial import FAR, LEAST, Found

PAGE = ROOT / "docs" / "disturbances.md"
REACH = 0.05  # of the ok rows may be off

INTRODUCTION = f"""# Other work on the CPU while points are timed

What is a status `ok` worth on a machine that others use as well? Repeat it, on an idle machine, with

    python -m studies.disturbances --write

It measures the same points in fresh workers, some quiet and some with other work beside them, alternately. A row that ends `ok` is **off**
if its median lies more than {FAR - 1:.0%} beyond the quiet runs' own: above the longest or below the shortest median of those that ended
`ok` (at least {LEAST}). At most {REACH:.0%} of the `ok` rows may be off.

A row is **disturbed** (status `noisy`, `cause` disturbed) where the threads that were timed were ready to run but not running for more than
{WAITING:.0%} of the time in which samples were taken (the kernel's run-queue delay, by thread, without what switches take), where a
hypervisor took as much of it, or where other processes kept so many cores busy that none was left for a thread. Where the kernel does not
count delays, preemptions take their place; on other systems only busy cores are seen.

A point's samples are spread over at least 0.3 s (`min_span_s` in `benches/devices/cpu.py`), so that a burst of some tens of milliseconds
reaches few of them; longer work beside them moves the last third of the samples away from the first, and the row is `noisy` for that.

What is not seen: work on other cores that takes memory bandwidth, a shared cache or clock from these, and neighbours of a virtual machine
whose host does not report stolen time.
"""
COLUMNS = ("other work", "rows", "ok", "disturbed", "otherwise noisy", "off among ok", "share")


def table(found: Sequence[Found]) -> list[str]:
    lines = [f"| {' | '.join(COLUMNS)} |", "|---|" + "---:|" * (len(COLUMNS) - 1)]
    for one in found:
        cells = [one.name, one.rows, one.ok, one.disturbed, one.noisy, len(one.off), f"{one.share:.1%}"]
        lines.append(f"| {' | '.join(map(str, cells))} |")
    return lines


def spread_line(spread: tuple[float, float, float], runs: int) -> str:
    middle, most, largest = (f"{ratio:.2f}×" for ratio in spread)
    return (
        f"Between the {runs} quiet runs a point's longest median is {middle} its shortest (the median point), {most} (the 95th "
        f"percentile), {largest} (the largest): a row's interval covers one run, and does not include this."
    )


def off_lines(found: Sequence[Found]) -> list[str]:
    return [f"- {one.name}: {point} {far:.2f}×" for one in found for point, far in one.off]


def write_page(found: Sequence[Found], spread: tuple[float, float, float], quiet: int, each: int, sweep: str, threads: int) -> Path:
    """docs/disturbances.md, whole."""
    made = f"Made {datetime.now(UTC):%Y-%m-%d} on {cpu_model()} with {threads} threads, Python {platform.python_version()}, "
    made += f"torch {version('torch')}: half of PyTorch's fp32 points of sweep {sweep}, {quiet} quiet runs and {each} of each other kind."
    off = ["", "Off:", "", *off_lines(found)] if off_lines(found) else []
    PAGE.write_text(
        "\n".join([INTRODUCTION, "## Found", "", *table(found), "", spread_line(spread, quiet), *off, "", made, ""]), encoding="utf-8"
    )
    return PAGE

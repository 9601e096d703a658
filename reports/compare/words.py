"""What terminal and page say about a comparison, in words."""

from __future__ import annotations

import math
from collections.abc import Iterator

from kernels.listed import and_more, first_of
from reports.compare.comparison import JUDGED, Comparison
from reports.compare.noise import CPU, MOST_PRIOR, PRIOR_PAIRS, TAIL_DF
from reports.compare.pair_verdicts import FALSE_DISCOVERY, LEVEL
from reports.compare.pairing import MIN_SAMPLES
from reports.compare.side import Side
from reports.report import BETWEEN_CPU_RUNS
from reports.section import Remark
from reports.units import show

FAMILIES = 6  # named in a remark
SHARE = 0.5  # of the pairs called, from which the run as a whole moved rather than its points


def run_line(of: Side) -> str:
    """Device, versions, commit, time: what a reader tells runs apart by."""
    env = of.environment
    versions = env.fields.get("versions")
    torch = f"torch {versions['torch']}" if isinstance(versions, dict) and versions.get("torch") else "torch version not known"
    commit = f"commit {env.text('commit')[:10]}" + (" with uncommitted changes" if env.fields.get("dirty") else "")
    names = ", ".join(report.run_dir.resolve().name for report in of.reports)
    first = of.reports[0].environment.text("started_utc")
    began = f"started {first}" if len(of.reports) == 1 else f"{len(of.reports)} runs, the first started {first}"
    return " · ".join([names, env.text("device_name"), torch, commit, began, f"{len(of.frame):,} points"])


def count_line(found: Comparison) -> str:
    """61 pairs: 2 slower, 1 faster, 18 unclear, 40 the same."""
    counts = found.counts()
    parts = [f"{counts[verdict]:,} {'the same' if verdict == 'same' else verdict}" for verdict in JUDGED if verdict in counts]
    total = sum(counts.get(verdict, 0) for verdict in JUDGED)
    others = [f"{count:,} {verdict}" for verdict, count in counts.items() if verdict not in JUDGED]
    pairs = (
        f"{total:,} pair{'' if total == 1 else 's'}: {', '.join(parts)}" if total else "no pair: no point was timed in both in the same way"
    )
    return f"{pairs}; without a ratio: {', '.join(others)}" if others else pairs


def remarks(found: Comparison) -> list[Remark]:
    """What stands out, worst first."""
    changed = [*_changes(found), *_called(found), *_families(found), *_whole_run(found)]
    return [*changed, *(Remark("neutral", f"{line}.") for line in (one_run_line(found), count_line(found)) if line)]


def _changes(found: Comparison) -> Iterator[Remark]:
    for verdict, tone in (("fails now", "bad"), ("other status", "caution"), ("only in A", "caution"), ("works now", "good")):
        rows = found.of(verdict)
        if len(rows):
            first = rows.iloc[0]
            yield Remark(tone, f"{len(rows):,} {verdict}:", str(first["point"]), f"{and_more(len(rows) - 1)} — {first['why']}")


def _called(found: Comparison) -> Iterator[Remark]:
    for verdict, tone in (("slower", "bad"), ("faster", "good")):
        rows = found.of(verdict)
        if len(rows):
            first = rows.iloc[0]
            range_ = f"{show(first['low'], 'ratio')} to {show(first['high'], 'ratio')}"
            yield Remark(
                tone, f"{len(rows):,} {verdict}, most certainly:", str(first["point"]), f" {show(first['ratio'], 'ratio')} ({range_})"
            )


def _families(found: Comparison) -> Iterator[Remark]:
    """A family's mean shows what its pairs by themselves may not."""
    for verdict, tone in (("slower", "bad"), ("faster", "good")):
        called = [family for family in found.families if family.verdict == verdict]
        words = [f"{f.op} {f.impl} {f.precision} {show(f.ratio, 'ratio')} ({f.pairs:,} pairs)" for f in called]
        if called:
            yield Remark(tone, f"In the mean {verdict}: {first_of(words, FAMILIES)}.")


def _whole_run(found: Comparison) -> Iterator[Remark]:
    """The shift is in every ratio; whether code or machine made it, two runs cannot tell, but sentinels and environments may."""
    if found.shift is None:
        return
    pairs = found.pairs
    moved = bool((pairs["verdict"].isin(("slower", "faster"))).mean() > SHARE)
    text = f"{shift_line(found)}{sentinel_words(found)}."
    if moved:
        cause = "; ".join(found.differs) if found.differs else "no recorded setting differs, so check the machine first"
        text += f" Most pairs moved: {cause}. “Against the run” shows which points moved by more or less than the others."
    yield Remark("caution" if moved else "neutral", text)


def shift_line(found: Comparison) -> str:
    """B takes 1.002× A's time in the median of 61 pairs (0.998× to 1.01×), which every ratio contains."""
    if found.shift is None:
        return "No pair is reliable enough to show whether the whole run shifted"
    trusted = int(found.pairs["doubt"].eq("").sum())
    ends = f"{show(found.shift.low, 'ratio')} to {show(found.shift.high, 'ratio')}"
    return f"B takes {show(found.shift.median, 'ratio')} A's time in the median of {trusted:,} pairs ({ends}); every ratio contains this"


def one_run_line(found: Comparison) -> str:
    """Returns what the intervals of one run a side leave out, on a CPU; else ""."""
    if found.assumed.alone < CPU.alone or not found.pairs["single"].any():
        return ""
    calls = f"so that one run a side calls no change below {found.assumed.alone:g}×"
    return f"Each run's interval holds for that run: {BETWEEN_CPU_RUNS}, {calls}"


def sentinel_words(found: Comparison) -> str:
    """The points that never change, where both runs measured them."""
    words = ", ".join(f"{name} {show(ratio, 'ratio')}" for name, ratio in found.sentinels.items())
    return f"; the sentinels, whose code never changes: {words}" if words else ""


def how_judged(found: Comparison) -> list[str]:
    """The rule, with its figures."""
    assumed = found.assumed
    limits = f"1/{1 + assumed.threshold:g} to {1 + assumed.threshold:g}×"
    beyond = f", unless the samples of the two runs are far apart and the ratio is beyond {assumed.overwhelming:g}×"
    unless = "" if math.isinf(assumed.overwhelming) else beyond
    paragraphs = [
        f"Slower or faster: “no change” is refuted at a false discovery rate of {FALSE_DISCOVERY:.0%} over all pairs (q, by Benjamini and "
        f"Hochberg), and the ratio lies outside {limits}. Same: the whole interval lies within. Other pairs are unclear, with the reason. "
        f"Intervals are {LEVEL:.0%}, by Student's t.",
        f"A point that was noisy, throttled or of fewer than {MIN_SAMPLES} samples is unclear too{unless}; it counts neither in q nor in "
        f"means.",
    ]
    single = set(found.pairs["single"])
    if False in single:
        paragraphs.append(
            "Where a side has several runs, or a point was measured in several processes, its time is the geometric mean of their medians, "
            f"and a ratio's error is what these show to differ between runs: of both sides together, moderated over all pairs for up to "
            f"{MOST_PRIOR:g} degrees of freedom (Smyth 2004). Such a point is noisy only where other processes took the cores in more than "
            "half of a side's runs: what else made a median noisy is in its spread. A family's error is that of its mean from run to run, "
            "since its points move together."
        )
    if True in single:
        paragraphs += [
            f"With one run each, the variance of a ratio's logarithm is the sum of the variance within each run (the median's interval), "
            f"the variance between runs (below), and that of a whole run: {100 * assumed.common:g}% of each, assumed, since two runs "
            f"give one draw of it each. The variance between runs has {TAIL_DF} degrees of freedom, for its tails."
            + (
                f" On a shared CPU some points differ far more than others, and one run does not show which: so none is called below "
                f"{assumed.alone:g}×."
                if assumed.alone > 1
                else ""
            ),
            f"Between runs, “seen” is the robust spread of pairs' ratios after each implementation's median shift is removed, beyond what "
            f"is known within the runs. “Used” shrinks it towards all pairs together by the weight of {PRIOR_PAIRS} pairs, and these to "
            f"{100 * assumed.between:g}% a median, which is assumed. With several runs a side (--vs) none of this is assumed.",
        ]
    return paragraphs

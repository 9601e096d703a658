"""A verdict's parts as sentences, the same on terminal, page, Markdown and in JUnit."""

from __future__ import annotations

import re
import shlex

from kernels.escaping import chat
from reports.nightly.model import Change, StatusChange, Verdict, Warned
from reports.units import show

COMMIT = re.compile("[0-9a-f]{7,64}")  # SHA-1 or SHA-256, whole or short


def change_line(change: Change) -> str:
    """Point, ratio with its interval, times, and since when."""
    return f"{change.point}  {change_words(change)}"


def change_words(change: Change) -> str:
    """The same without the point, for where that stands beside it."""
    interval = f"{show(change.ratio_low, 'change')} … {show(change.ratio_high, 'change')}"
    times = f"{show(change.before_s, 's')} → {show(change.after_s, 's')}"
    return f"{show(change.ratio, 'change')} ({interval}), {times}, since {change.first_night}"


def cause(change: Change) -> str:
    """The likeliest cause in words."""
    if change.attribution.cause == "unknown":
        return "cause unknown: no change of code, versions, sentinels, clocks or the node was seen with it"
    return f"likeliest cause: {change.attribution.cause}"


def commits_line(change: Change) -> str:
    """The git command that lists the commits between; empty where they are unknown or not hashes: other text could be an option."""
    before, after = change.commits
    if before is None or after is None or not (COMMIT.fullmatch(before) and COMMIT.fullmatch(after)):
        return ""
    if before == after:
        return f"commit {after[:10]} on both sides: this repository did not change"
    return f"git log {before[:10]}..{after[:10]}"


def rerun_command(point: str, run_dir: str) -> str:
    """Measures one point again, in a run of its own; options other than the sweep are those of that run's environment.json. Quoted for a
    shell: both names come from the run."""
    return shlex.join(["pytest", "benches/", "--benchmark-only", "--sweep", f"{run_dir}/sweep.yaml", "-k", point, "--processes", "3"])


def status_line(change: StatusChange) -> str:
    """What became of a point since the run before."""
    if change.before is None:
        return f"{change.point}: new ({change.after})"
    if change.after is None:
        return f"{change.point}: vanished (was {change.before})"
    reason = f": {change.reason}" if change.reason and change.after not in ("ok", "noisy") else ""
    since = f" since {change.since}" if change.since else ""
    known = f" (accepted: {change.accepted})" if change.accepted else ""
    return f"{change.point}: {change.before} → {change.after}{since}{reason}{known}"


def warning_line(warned: Warned) -> str:
    """One unusual night."""
    again = f"; {warned.again}" if warned.again else ""
    return f"{warned.point}: {show(warned.ratio, 'change')} tonight, {warned.sigmas:.1f} standard deviations{again}"


def summary(verdict: Verdict) -> list[str]:
    """A few lines for a webhook: the headline, then what a reader must know first. Names in them become neither mentions nor links."""
    lines = [("SIMULATED: " if verdict.simulated else "") + verdict.headline, *verdict.suspect]
    lines += [f"{change.direction}: {change_line(change)} ({change.attribution.cause})" for change in verdict.confirmed[:5]]
    lines += [f"broke: {status_line(change)}" for change in verdict.broken[:5]]
    lines += [f"accepted: {change_line(change)}: {change.accepted}" for change in verdict.accepted[:5]]
    return [chat(line) for line in lines]

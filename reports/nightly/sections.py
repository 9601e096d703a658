"""The sections of a night's page, each from the verdict alone. One that has nothing to say is left out, or says so where a reader looks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict

from reports.nightly.fleet import GpuTonight, conditions_known
from reports.nightly.model import Change, StatusChange, Verdict
from reports.nightly.night_charts import shift_chart
from reports.nightly.words import cause, change_words, commits_line, rerun_command, status_line, warning_line
from reports.page import render
from reports.palette import NIGHTLY, Tone
from reports.section import Section
from reports.units import show
from reports.verdict.rule import DEFAULT

CARDS = 20  # changes that have their chart on the page; the others' is a click away
LISTED = 500  # lines of a list; the table holds all that has a time


def summary(verdict: Verdict, links: Sequence[tuple[str, str]]) -> Section:
    """What was judged against what, and what else is to be known."""
    lead = "The verdict on this night's run, the nights that it is compared with, and links to details."
    body = render("nightly_summary.html.j2", verdict=verdict, links=links, said=_said(verdict))
    return Section("summary", "Summary", lead, body)


def _said(verdict: Verdict) -> list[tuple[Tone, str, str]]:
    """Tone, words and the section that says more."""
    slower = len(verdict.regressions)
    accepted = sum(change.tonight and change.accepted is not None for change in verdict.changes)
    before = sum(not change.tonight for change in verdict.changes)
    said: list[tuple[Tone, int, str, str]] = [
        ("bad", slower, "confirmed slower", "changes"),
        ("bad", len(verdict.broken), "broke", "statuses"),
        ("good", len(verdict.confirmed) - slower, "confirmed faster", "changes"),
        ("caution", len(verdict.warnings), "unusual tonight, not confirmed", "unusual"),
        ("neutral", len(verdict.statuses) - len(verdict.broken), "ended with another status than in the run before", "statuses"),
        ("neutral", accepted, "changed as accepted", "earlier"),
        ("neutral", before, "confirmed on earlier nights", "earlier"),
    ]
    found: list[tuple[Tone, str, str]] = [(tone, f"{count:,} {words}", section) for tone, count, words, section in said if count]
    return found or [("good", "No change was found.", "points")]


def changes(verdict: Verdict) -> Section:
    """A card for each change that was confirmed tonight, regressions first."""
    title = "What changed"
    lead = (
        "Confirmed tonight, worst first. Dots are nightly medians, each night's node shift taken out, pale ones as measured; lines are the "
        "levels before and after with their 95% intervals, the dotted line is where the step was."
    )
    confirmed = verdict.confirmed
    if not confirmed:
        few = not verdict.judged and verdict.series
        why = (
            "There are too few nights to judge any series yet."
            if few
            else "No series became slower or faster by a significant amount above its threshold."
        )
        return Section("changes", title, lead, empty=why)
    cards = [_card(change, verdict) for change in confirmed[:CARDS]]
    rest = [(change.direction, change.point, change_words(change)) for change in confirmed[CARDS : CARDS + LISTED]]
    more = max(0, len(confirmed) - CARDS - LISTED)
    return Section("changes", title, lead, render("nightly_changes.html.j2", cards=cards, rest=rest, more=more, statuses=NIGHTLY))


def _card(change: Change, verdict: Verdict) -> dict[str, object]:
    words = change_words(change)
    return {
        "series": change.series,
        "point": change.point,
        "direction": change.direction,
        "words": words,
        "cause": cause(change),
        "evidence": change.attribution.evidence,
        "commits": commits_line(change),
        "rerun": rerun_command(change.point, verdict.run_dir),
        "alt": f"Time of {change.point} over {len(verdict.nights)} nights: {words}",
        "confirmed_by": f"confirmed by {change.nights} nights, p = {show(change.p, 'probability')}, q = {show(change.q, 'probability')}",
    }


def statuses(verdict: Verdict, series: set[str]) -> Section | None:
    """What broke, vanished, was mended or is new. `series`: points that the table holds."""
    if not verdict.statuses:
        return None
    lead = (
        "Points that fail but worked before, until they work again or are accepted; then points that vanished, work again or are new since "
        "the run before."
    )
    rows = [(*_became(change), change.point, _rest(change)) for change in verdict.statuses]
    more = max(0, len(rows) - LISTED)
    body = render("nightly_list.html.j2", rows=rows[:LISTED], series=series, more=more, label=lead, heads=("What", "Point", "How"))
    return Section("statuses", "Changed status", lead, body)


def _became(change: StatusChange) -> tuple[Tone, str]:
    if change.broke:
        return "bad", "✕ broken"
    if change.accepted is not None:
        return "neutral", "✓ accepted"
    if change.after is None:
        return "caution", "– vanished"
    if change.before is None:
        return "neutral", "+ new"
    return ("good", "✓ mended") if change.after in ("ok", "noisy", "verified") else ("caution", "≠ changed")


def _rest(change: StatusChange) -> str:
    return status_line(change).removeprefix(f"{change.point}: ")


def unusual(verdict: Verdict) -> Section | None:
    """Warnings: one night confirms nothing."""
    if not verdict.warnings:
        return None
    lead = "Series far from their level tonight. One night may be an outlier; the following nights confirm the change or do not."
    rows = [("caution", "! unusual", one.point, warning_line(one).removeprefix(f"{one.point}: ")) for one in verdict.warnings]
    series = {one.point for one in verdict.warnings}
    more = max(0, len(rows) - LISTED)
    body = render("nightly_list.html.j2", rows=rows[:LISTED], series=series, more=more, label=lead, heads=("What", "Point", "How"))
    return Section("unusual", "Unusual tonight", lead, body)


def earlier(verdict: Verdict) -> Section | None:
    """What was said before, and what is accepted."""
    told = [change for change in verdict.changes if not change.tonight or change.accepted is not None]
    if not told:
        return None
    lead = "Changes that were confirmed on earlier nights or are accepted. They raise no alarm tonight."
    rows = [(*_known(change), change.point, _when(change)) for change in told]
    series = {change.point for change in told}
    more = max(0, len(rows) - LISTED)
    body = render("nightly_list.html.j2", rows=rows[:LISTED], series=series, more=more, label=lead, heads=("What", "Point", "Change"))
    return Section("earlier", "Known changes", lead, body)


def _known(change: Change) -> tuple[Tone, str]:
    name = "accepted" if change.accepted is not None else f"{change.direction} earlier"
    tone, sign = NIGHTLY[name]
    return tone, f"{sign} {name}"


def _when(change: Change) -> str:
    accepted = f"; accepted: {change.accepted}" if change.accepted is not None else ""
    return f"{change_words(change)}; confirmed {change.confirmed_night}, {cause(change)}{accepted}"


def node(verdict: Verdict, gpus: Sequence[GpuTonight]) -> Section:
    """What moved every series together, and the GPUs side by side."""
    title = "The fleet, night by night" if len(verdict.gpus) > 1 else "The node, night by night"
    lead = (
        "The common shift of all series of a GPU in a night, against its usual level: above zero is slower. It is removed from each series "
        "and shown here."
    )
    if not verdict.shifts and not gpus:
        return Section(
            "node", title, lead, empty="There are too few series or nights to separate a shift of the node from a change of one series."
        )
    chart = shift_chart(verdict.shifts) if verdict.shifts else None
    shown = conditions_known(gpus)
    names = list(dict.fromkeys(name for gpu in gpus for name, _, _ in gpu.sentinels))
    lines = [{**asdict(gpu), "tonight": gpu.tonight, "sentinels": {name: told for name, *told in gpu.sentinels}} for gpu in gpus]
    body = render("nightly_node.html.j2", chart=chart, gpus=lines, shown=shown, sentinels=names, several=len(gpus) > 1)
    return Section("node", title, lead, body, [chart] if chart else [])


def about(verdict: Verdict) -> Section:
    """How a change is confirmed, in the numbers of the rule."""
    lead = "The rule that confirms a change. It was tuned on simulated histories with known changes."
    return Section("judged", "How this was judged", lead, render("nightly_judged.html.j2", rule=DEFAULT, verdict=verdict))

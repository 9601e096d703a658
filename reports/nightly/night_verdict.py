"""A run against its history: the verdict. The statistics are reports/verdict's; here they meet the history and become sentences' data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd

from benches.row import FAILED
from benches.run.sentinels import read_sentinels
from reports.nightly import nights as read
from reports.nightly import suspect
from reports.nightly.attribution import Step, attribute, effect
from reports.nightly.model import Attribution, Change, Direction, NodeShift, Said, StatusChange, Verdict, Warned
from reports.nightly.nights import Calendar
from reports.nightly.statuses import status_changes
from reports.verdict.accepted import Accepted, which
from reports.verdict.rule import DEFAULT, Rule
from reports.verdict.scan import Confirmed, Scan, scan
from reports.verdict.shift import Shifted, freed, remove_shift
from reports.verdict.thresholds import Thresholds

Z95 = 1.96
MEDIAN_ERROR = 1.2533  # of a median over that of a mean of as many normal values, √(π/2)
FEW = 5  # times the least number of series that tells a shift, below which all points of the nights are asked
AROUND = 5  # nights on each side of a change that attribution looks at


@dataclass(frozen=True)
class Judged:
    """A verdict, and the arrays that its page draws: `values` are log seconds [series, nights], each GPU's shift taken out."""

    verdict: Verdict
    nights: read.Nights
    shifted: Shifted
    scan: Scan


@dataclass(frozen=True)
class _Tonight:
    """The run that is judged, in its history: `line` holds what all its lines share (schema.RUN), `lines` its points."""

    database: duckdb.DuckDBPyConnection
    calendar: Calendar
    line: dict[str, Any]
    lines: pd.DataFrame

    @property
    def gpu(self) -> str:
        return read.gpu_of(self.line)


def judge(
    database: duckdb.DuckDBPyConnection,
    run: str,
    thresholds: Thresholds,
    accepted: Sequence[Accepted] = (),
    calendar: Calendar | None = None,
    rule: Rule = DEFAULT,
    notes: Sequence[str] = (),
    interrupted: bool = False,
    said: Said | None = None,
) -> Judged:
    """calendar: which night a run is of; None: a night a day, from the hour that `thresholds` gives. said: what earlier verdicts
    reported: what was confirmed since then counts as tonight's. Raises KeyError for a run that the history lacks."""
    calendar = calendar or read.night_from(thresholds.night_starts_utc)
    tonight = _Tonight(database, calendar, read.run_line(database, run), read.lines(database, run))
    found = read.nights(database, tonight.line, calendar, rule.lookback)
    night = found.nights[-1] if found.nights else f"{tonight.line['started_utc']:%Y-%m-%d}"
    shifted = _freed(tonight, found, rule)
    shifts = _shifts(found, shifted)
    least = np.log1p(found.series["op"].map(thresholds.of).to_numpy(float))
    scanned = scan(shifted.values, least, rule)
    environment, upgrade = _since_before(tonight, thresholds)
    verdict = Verdict(
        run=run,
        run_dir=str(Path(tonight.line["run_dir"])),
        night=night,
        simulated=tonight.line["device_kind"] == "simulated",
        device_name=str(tonight.line["device_name"]),
        gpus=tuple(found.gpus),
        nights=tuple(found.nights),
        series=len(found.series),
        judged=int(scanned.judged[:, -1].sum()) if found.nights else 0,
        changes=tuple(_changes(tonight, found, shifted, scanned, shifts, accepted, said)),
        warnings=tuple(_warnings(found, scanned, shifted, least, rule, tonight.gpu)),
        statuses=_statuses(tonight, night, accepted),
        shifts=tuple(shifts),
        suspect=_suspect(tonight, found, environment, shifts, thresholds, interrupted),
        environment=environment,
        notes=(*notes, *upgrade, *([] if calendar == read.EACH_RUN else _missing(found)), *_unjudgeable(scanned)),
    )
    return Judged(verdict, found, shifted, scanned)


def _freed(tonight: _Tonight, found: read.Nights, rule: Rule) -> Shifted:
    """The node's shift removed. A run of few points, cut short or picked by `-k`, does not tell it: then all points of its nights do."""
    if len(found.series) >= FEW * rule.shift_series or not found.nights:
        return remove_shift(found.times, rule)
    every = read.nights(tonight.database, tonight.line, tonight.calendar, rule.lookback, every=True)
    whole = remove_shift(every.times, rule)
    here = [every.nights.index(name) for name in found.nights]
    shift = whole.shift[here]
    return Shifted(freed(found.times, shift), shift, whole.series[here], whole.moved[here])


def _since_before(tonight: _Tonight, thresholds: Thresholds) -> tuple[tuple[str, ...], list[str]]:
    """What changed in the environment since the run before, and a line on what that did to the series that begin anew with it."""
    before = read.previous_run(tonight.database, tonight.line)
    line_before = read.run_line(tonight.database, before) if before else None
    environment = suspect.environment_changes(line_before, tonight.line)
    upgraded = [change for change in environment if suspect.begins_anew(change)]
    if line_before is None or not upgraded:
        return environment, []
    old, new = (read.levels(tonight.database, line, tonight.calendar) for line in (line_before, tonight.line))
    return environment, effect(old, new, upgraded, thresholds)


def _statuses(tonight: _Tonight, night: str, accepted: Sequence[Accepted]) -> tuple[StatusChange, ...]:
    """How each point's status changed since the last run that was expected to have the same points."""
    before = read.previous_run(tonight.database, tonight.line, read.SAME_POINTS)
    failing = tonight.lines.loc[tonight.lines["status"].isin(FAILED), "point"].tolist()
    return status_changes(
        read.lines(tonight.database, before) if before else None,
        read.earlier_statuses(tonight.database, tonight.line, failing, tonight.calendar),
        tonight.lines,
        night,
        accepted,
    )


def _suspect(
    tonight: _Tonight,
    found: read.Nights,
    environment: Sequence[str],
    shifts: Sequence[NodeShift],
    thresholds: Thresholds,
    interrupted: bool,
) -> tuple[str, ...]:
    """Returns the reasons not to trust the run, a line each."""
    last = found.nights[-1] if found.nights else ""
    expected = read.expected_points(tonight.database, tonight.line, tonight.calendar)
    return suspect.reasons(
        environment,
        suspect.mode_changes(read.modes_before(tonight.database, tonight.line), tonight.lines),
        tonight.lines,
        read_sentinels(Path(tonight.line["run_dir"])),
        [shift for shift in shifts if shift.night == last and shift.gpu == tonight.gpu],
        suspect.usual_for(str(tonight.line["device_kind"]), thresholds.node),
        interrupted,
        _sentinels(tonight, last),
        suspect.missing_points(expected, set(tonight.lines["point"])),
    )


def _sentinels(tonight: _Tonight, last: str) -> float | None:
    """Median over this GPU's sentinels of tonight's time over that of the nights before; None where there is nothing to compare."""
    moves = read.sentinel_moves(read.sentinels(tonight.database, tonight.line, tonight.calendar), last).get(tonight.gpu, [])
    ratios = [ratio for _, _, ratio in moves if not np.isnan(ratio)]
    return float(np.median(ratios)) if ratios else None


def _shifts(found: read.Nights, shifted: Shifted) -> list[NodeShift]:
    told = np.argwhere(~np.isnan(shifted.shift))
    return [
        NodeShift(
            found.gpus[gpu],
            found.nights[night],
            float(np.exp(shifted.shift[night, gpu])),
            int(shifted.series[night, gpu]),
            None if np.isnan(shifted.moved[night, gpu]) else float(np.exp(shifted.moved[night, gpu])),
        )
        for night, gpu in told
    ]


def _changes(
    tonight: _Tonight,
    found: read.Nights,
    shifted: Shifted,
    scanned: Scan,
    shifts: Sequence[NodeShift],
    accepted: Sequence[Accepted],
    said: Said | None,
) -> list[Change]:
    """Tonight's first, then by size: regressions before improvements."""
    if not scanned.confirmed:
        return []
    sentinels = read.sentinels(tonight.database, tonight.line, tonight.calendar)
    changed = found.series.iloc[sorted({one.series for one in scanned.confirmed})]
    lines = dict(iter(read.details(tonight.database, tonight.line, changed, tonight.calendar).groupby("series")))
    changes = [_change(one, found, shifted, lines[one.series], sentinels, shifts, accepted, said) for one in scanned.confirmed]
    return sorted(changes, key=lambda change: (not change.tonight, change.direction == "faster", -abs(np.log(change.ratio))))


def _change(
    one: Confirmed,
    found: read.Nights,
    shifted: Shifted,
    lines: pd.DataFrame,
    sentinels: pd.DataFrame,
    shifts: Sequence[NodeShift],
    accepted: Sequence[Accepted],
    said: Said | None,
) -> Change:
    values, line = shifted.values[one.series], found.series.iloc[one.series]
    old = [n for n in range(one.before_first, one.first) if not np.isnan(values[n])]
    new = [n for n in range(one.first, one.night + 1) if not np.isnan(values[n])]
    before, after = float(np.median(values[old])), float(np.median(values[new]))
    difference = after - before
    half = Z95 * MEDIAN_ERROR * one.sigma * np.sqrt(1 / len(old) + 1 / len(new))
    names = ([found.nights[n] for n in old[-AROUND:]], [found.nights[n] for n in new[:AROUND]])
    attribution: Attribution = attribute(Step(*names, difference), lines, sentinels, shifts)
    direction: Direction = "slower" if difference > 0 else "faster"
    ratio = float(np.exp(difference))
    night = found.nights[one.night]
    news = night == found.nights[-1] or (said is not None and not said.covers(line["point"], direction, night))
    entry = which(accepted, line["point"], date.fromisoformat(found.nights[one.first][:10]), direction)
    return Change(
        **{"series": one.series, **{name: line[name] for name in ("point", "op", "impl", "precision")}},
        direction=direction,
        ratio=ratio,
        ratio_low=float(np.exp(difference - half)),
        ratio_high=float(np.exp(difference + half)),
        before_s=float(np.exp(before)),
        after_s=float(np.exp(after)),
        p=one.p,
        q=one.q,
        first_night=found.nights[one.first],
        last_night_before=found.nights[old[-1]],
        confirmed_night=night,
        nights=one.window,
        tonight=news,
        commits=(_commit(lines, names[0][-1:]), _commit(lines, names[1][:1])),
        attribution=attribution,
        accepted=entry.why if entry else None,
    )


def _commit(lines: pd.DataFrame, night: Sequence[str]) -> str | None:
    commits = lines.loc[lines["night"].isin(list(night)), "commit"].dropna()
    return None if commits.empty else str(commits.iloc[-1])


def _warnings(found: read.Nights, scanned: Scan, shifted: Shifted, least: np.ndarray, rule: Rule, gpu: str) -> list[Warned]:
    """Slower tonight than the nights before by more than chance and than what matters, and not confirmed: the furthest first."""
    tonight = scanned.tonight
    own = shifted.shift[-1:, [i for i, name in enumerate(found.gpus) if name == gpu]]  # of tonight, on the GPU that would measure again
    node = float(own[0, 0]) if own.size and not np.isnan(own[0, 0]) else 0.0
    confirmed = {one.series for one in scanned.confirmed if one.night == len(found.nights) - 1}
    with np.errstate(invalid="ignore"):
        sigmas = tonight.difference / tonight.sigma
        rows = np.flatnonzero((sigmas > rule.watch) & (tonight.difference > least))
    warned = [
        Warned(
            int(row),
            found.series["point"].iloc[row],
            ratio=float(np.exp(tonight.difference[row])),
            sigmas=float(sigmas[row]),
            expected_s=float(np.exp(tonight.level[row] + node)),
        )
        for row in rows
        if row not in confirmed
    ]
    return sorted(warned, key=lambda one: -one.sigmas)


def _unjudgeable(scanned: Scan) -> list[str]:
    """Series that have their nights, and still cannot alarm: silence about them is no good news."""
    if not scanned.unjudgeable:
        return []
    return [
        f"{scanned.unjudgeable} series could confirm no change, however large: they have few nights, or follow the night before "
        f"(correlation {scanned.correlation:.1f})."
    ]


def _missing(found: read.Nights) -> list[str]:
    """Days without a run since the last one: a night that did not run is easily overlooked."""
    if len(found.nights) < 2:
        return []
    last, before = (pd.Timestamp(night) for night in found.nights[:-3:-1])
    gap = (last - before).days - 1
    return [f"No run in the {gap} night{'s' if gap > 1 else ''} before this one."] if gap else []

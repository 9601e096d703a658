"""Points that fail and worked before, those that ended with another status than in the run before, new ones, and those that vanished."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import date

import pandas as pd

from benches.row import FAILED, TIMED
from reports.nightly.model import StatusChange
from reports.verdict.accepted import Accepted, which

WORKED = (*TIMED, "verified")


def status_changes(
    before: pd.DataFrame | None, earlier: pd.DataFrame, tonight: pd.DataFrame, night: str, accepted: Iterable[Accepted] = ()
) -> tuple[StatusChange, ...]:
    """In the order that deserves attention: broken, vanished, mended, new, others.

    before: lines of the run before, None on a first night. earlier: point, status and night of every earlier line, in time order, of the
    points that fail tonight: one that worked at any time is broken until it works again, whatever lies between. night: tonight's.
    """
    accepted = tuple(accepted)
    old = dict(zip(before["point"], before["status"], strict=True)) if before is not None else {}
    past = {str(point): list(zip(lines["status"], lines["night"], strict=True)) for point, lines in earlier.groupby("point")}
    found = list(_of_tonight(old, past, tonight, night, accepted, first=before is None))
    present = set(tonight["point"])
    found += [StatusChange(point, status, None) for point, status in old.items() if point not in present]
    return tuple(sorted(found, key=_rank))


def _of_tonight(
    old: dict[str, str],
    past: dict[str, list[tuple[str, str]]],
    tonight: pd.DataFrame,
    night: str,
    accepted: Sequence[Accepted],
    first: bool,
) -> Iterator[StatusChange]:
    reasons = tonight["reason"].astype(object).where(tonight["reason"].notna(), None)
    for point, status, reason in zip(tonight["point"], tonight["status"], reasons, strict=True):
        since = broken_since(past.get(point, []), night) if status in FAILED else None
        if since is not None:
            entry = which(accepted, point, date.fromisoformat(since[:10]), status)
            worked = next(known for known, _ in reversed(past[point]) if known in WORKED)
            yield StatusChange(point, worked, status, reason, since, entry.why if entry else None)
        elif not first and not _alike(old.get(point), status):
            yield StatusChange(point, old.get(point), status, reason)


def broken_since(past: Sequence[tuple[str, str]], night: str) -> str | None:
    """The night from which a point that fails in `night` has failed, if it worked before; None if it never did. past: (status, night), in
    time order; what was skipped or unsupported says nothing."""
    since = night
    for status, when in reversed(past):
        if status in WORKED:
            return since
        if status in FAILED:
            since = when
    return None


def _alike(before: str | None, after: str | None) -> bool:
    """ok and noisy are one thing from night to night; a throttled point is said elsewhere."""
    return before == after or (before in TIMED and after in TIMED)


def _rank(change: StatusChange) -> int:
    if change.broke:
        return 0
    if change.after is None:
        return 1
    if change.before in FAILED and change.after in WORKED:
        return 2
    return 3 if change.before is None else 4

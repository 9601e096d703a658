"""Points that ended otherwise than in the run before; new ones, and those that vanished."""

from __future__ import annotations

import pandas as pd

from reports.nightly.model import BROKEN, WORKED, StatusChange


def status_changes(before: pd.DataFrame | None, tonight: pd.DataFrame) -> tuple[StatusChange, ...]:
    """In the order that deserves attention: broken, vanished, mended, new, others. Nothing on a first night."""
    if before is None:
        return ()
    old = dict(zip(before["point"], before["status"], strict=True))
    new = dict(zip(tonight["point"], tonight["status"], strict=True))
    reason = dict(zip(tonight["point"], tonight["reason"], strict=True))
    found = [
        StatusChange(point, old.get(point), new.get(point), reason.get(point))
        for point in dict.fromkeys((*new, *old))
        if not _alike(old.get(point), new.get(point))
    ]
    return tuple(sorted(found, key=_rank))


def _alike(before: str | None, after: str | None) -> bool:
    """ok and noisy are one thing from night to night; a throttled point is said elsewhere."""
    return before == after or (before in WORKED[:3] and after in WORKED[:3])


def _rank(change: StatusChange) -> int:
    if change.broke:
        return 0
    if change.after is None:
        return 1
    if change.before in BROKEN and change.after in WORKED:
        return 2
    return 3 if change.before is None else 4

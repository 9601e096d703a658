"""The file of accepted changes: what is known and meant is said once, and then fails no night.

accepted:
  - point: matmul-triton-*        # as in a shell: * any characters, ? one
    since: 2026-11-20             # the night from which it holds, as the verdict names it; a few nights off is near enough
    change: slower                # slower, faster, or a status such as wrong; without it any
    why: the kernel checks its bounds now
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta
from fnmatch import fnmatchcase
from pathlib import Path

from benches.row import FAILED
from kernels.strict_yaml.nodes import Map, Node, Seq, describe, read_text, read_yaml
from kernels.strict_yaml.problems import Problems, Spot, quote
from kernels.strict_yaml.values import chosen, known_keys, missing, word

KEYS = {  # what each holds, which the reference pages print
    "point": "The id of a point, or a pattern for several: `*` stands for any characters, `?` for one. It must be given.",
    "since": "The night from which the change holds, as the verdict names it (2026-11-20). It must be given.",
    "change": "`slower`, `faster` or a status such as `wrong`. Default: any change.",
    "why": "The reason, for a reader. It must be given.",
}
CHANGES = ("slower", "faster", *FAILED)
NEAR = timedelta(days=3)  # where a step was is told to a night or two only


@dataclass(frozen=True)
class Accepted:
    """One entry. `change` None: any."""

    point: str
    since: date
    change: str | None
    why: str
    where: str  # file:line

    def covers(self, point: str, first: date, change: str) -> bool:
        """Whether a change of that point from that night on is this one."""
        return fnmatchcase(point, self.point) and abs(first - self.since) <= NEAR and self.change in (None, change)


def load_accepted(path: Path) -> list[Accepted]:
    """Raises SweepError with a line for every mistake."""
    problems = Problems()
    file = str(path)
    root = read_yaml(read_text(path, Spot(file, 1), "accepted", problems), file, problems, "file of accepted changes")
    known_keys(root, ("accepted",), "a file of accepted changes", problems)
    item = root.items.get("accepted")
    if item is None:
        missing(root.spot, "accepted", (), problems)
    elif not isinstance(item.value, Seq):
        problems.add(item.value.spot, "accepted", f"needs a list of changes, not {describe(item.value)}")
    found = [_entry(node, problems) for node in item.value.items] if item and isinstance(item.value, Seq) else []
    problems.check()
    return [entry for entry in found if entry is not None]


def which(accepted: Iterable[Accepted], point: str, first: date, change: str) -> Accepted | None:
    """The first entry that covers a change."""
    return next((entry for entry in accepted if entry.covers(point, first, change)), None)


def _entry(node: Node, problems: Problems) -> Accepted | None:
    if not isinstance(node, Map):
        problems.add(node.spot, "accepted", f"needs point, since and why, not {describe(node)}")
        return None
    known_keys(node, KEYS, "an accepted change", problems)
    for key in ("point", "since", "why"):
        if key not in node.items:
            missing(node.spot, key, (), problems)
    texts = {key: word(item.value, key, problems) for key, item in node.items.items() if key in ("point", "since", "why")}
    change = chosen(node.items["change"].value, "change", CHANGES, problems) if "change" in node.items else None
    since = _date(texts["since"], node, problems) if texts.get("since") else None
    point, why = texts.get("point"), texts.get("why")
    if point is None or why is None or since is None:
        return None
    return Accepted(point, since, change, why, f"{node.spot.file}:{node.spot.line}")


def _date(text: str | None, node: Map, problems: Problems) -> date | None:
    try:
        return date.fromisoformat(str(text))
    except ValueError:
        problems.add(node.items["since"].value.spot, "since", f"{quote(str(text))} is not a date (write 2026-11-20)")
        return None

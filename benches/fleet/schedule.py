"""Which point goes to which GPU of a fleet, and whether a row that comes back counts. Pure."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Mapping, Sequence
from math import ceil

AHEAD_SHARD = 3  # points that a GPU has at a time: the one that it measures and those that it takes up while its row travels
AHEAD_SURVEY = 64  # every one is to be measured there in any case
TRIES = 3  # GPUs that may be lost over one point
ONE_JOURNAL = ""  # of a run whose GPUs share the points


class Schedule:
    """Gives points to places, which are GPUs that may leave and come back; a place is a number.

    points: ids in their order. shared: each point goes to one place, not to each. done: points that have a row, by journal, of which a
    shared run has one. ahead: points that a place has at a time.
    """

    def __init__(self, points: Sequence[str], shared: bool, done: Mapping[str, Collection[str]], ahead: int | None = None):
        self._points, self._shared = tuple(points), shared
        self._ahead = ahead or (AHEAD_SHARD if shared else AHEAD_SURVEY)
        self.done: dict[str, set[str]] = {journal: set(names) for journal, names in done.items()}
        self._journals: dict[int, str] = {}  # of places that measure
        self._own: dict[int, deque[str]] = {}  # what only this place is to measure
        self._given: dict[int, dict[str, None]] = {}  # in the order in which the place measures them
        finished = self.done.setdefault(ONE_JOURNAL, set()) if shared else set()
        self._waiting = deque(name for name in self._points if shared and name not in finished)
        self._losses: Counter[str] = Counter()
        self.given_up: list[str] = []  # points over which TRIES places were lost

    def join(self, place: int, journal: str = ONE_JOURNAL, held: Collection[str] = ()) -> None:
        """A place begins to measure. held: points that it has rows of, which nobody has asked it for yet."""
        done = self.done.setdefault(journal, set())
        self._journals[place], self._given[place] = journal, {}
        if self._shared:
            waiting = [name for name in self._waiting if name in set(held)]
            self._waiting = deque(name for name in self._waiting if name not in set(waiting))
        else:
            waiting = [name for name in self._points if name not in done]
        self._own[place] = deque(waiting)

    def give(self, place: int) -> list[str]:
        """Returns the next points for a place: few of a shared run's last ones, so that all places end at about the same time."""
        own, given, found = self._own[place], self._given[place], list[str]()
        while own and len(given) < self._ahead:
            found.append(own.popleft())
            given[found[-1]] = None
        share = ceil(len(self._waiting) / len(self._journals))
        while self._waiting and len(given) < min(self._ahead, share):
            found.append(self._waiting.popleft())
            given[found[-1]] = None
        return found

    def arrived(self, place: int, point: str, device_lost: bool = False) -> bool:
        """Whether the row of a point counts. In a shared run one that met the loss of its GPU does not, as long as another may try."""
        journal = self._journals[place]
        if device_lost and self._shared and len(self._journals) > 1 and self._losses[point] + 1 < TRIES:
            return False
        self._given[place].pop(point, None)
        fresh = point not in self.done[journal]
        self.done[journal].add(point)
        return fresh

    def leave(self, place: int) -> None:
        """A place measures no more: what it was given goes to the others. The first point of it may be why it was lost."""
        if place not in self._journals:
            return
        back = [name for name in (*self._given.pop(place), *self._own.pop(place)) if name not in self.done[self._journals[place]]]
        del self._journals[place]
        if not self._shared:
            return
        self._losses.update(back[:1])
        self.given_up += [name for name in back[:1] if self._losses[name] >= TRIES]
        self._waiting.extendleft(reversed([name for name in back if name not in self.given_up]))

    def busy(self, place: int) -> bool:
        """Whether a place has points of which no row has come back."""
        return bool(self._given.get(place))

    def finished(self, place: int) -> bool:
        """Whether nothing is left that a place could be given, now or later."""
        if self._shared:
            return not self._waiting and not any(self._given.values()) and not any(self._own.values())
        return not self._own[place] and not self._given[place]

    def missing(self, journal: str = ONE_JOURNAL) -> list[str]:
        """Returns the points of a journal that have no row."""
        return [name for name in self._points if name not in self.done.get(journal, ())]

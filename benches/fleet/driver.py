"""The driver of a fleet: gives points to agents, takes their rows, and decides what is lost. It knows nothing of Ray."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from benches.fleet.fleet_file import LeftOut
from benches.fleet.groups import groups
from benches.fleet.messages import Batch, Ending, Opened, Refused, Sent, Slot
from benches.fleet.run_writers import RunWriter
from benches.fleet.schedule import Schedule
from benches.row import DEVICE_LOST, FAILED
from benches.run.interrupts import deferred_interrupt
from benches.run.isolation import CLOSING_S, OPENING_S
from benches.run.survey_file import SurveyGpu
from kernels.listed import first_of
from kernels.op import Point

COMMIT_S = 0.1  # rows are gathered for so long, then brought to the disk
GROUP_S = 60.0  # after the first GPU is open, to decide which are alike
ENDING_S = CLOSING_S + 30.0  # for an agent to end in the middle of a point
RESTARTS = 1  # of an agent whose process ended although its machine is there


class AgentLost(Exception):
    """An agent does not answer any more; the message says why."""


class HeadLost(Exception):
    """The cluster does not answer any more; the message says why."""


class Agents(Protocol):
    """The processes of a fleet, one a GPU, of which calls come back later. A slot's number names its agent."""

    def open(self, number: int, slot: Slot) -> Any:
        """Starts an agent. The call gives Opened or Refused."""

    def exchange(self, number: int, points: Sequence[Point]) -> Any:
        """Gives points to an agent. The call gives a Batch as soon as there is a row, or empty after a while."""

    def finish(self, number: int, interrupted: bool, delete: bool) -> Any:
        """Ends an agent. The call gives its Ending. delete: the rows that its machine holds."""

    def kill(self, number: int) -> None:
        """Ends the process of an agent, whatever it does."""

    def wait(self, calls: Sequence[Any], timeout_s: float) -> list[Any]:
        """Returns the calls that came back, once all have or after `timeout_s`. Raises HeadLost."""

    def result(self, call: Any) -> Any:
        """Returns what a call gave. Raises AgentLost."""

    def is_up(self, slot: Slot) -> bool:
        """Whether the machine of a slot is still part of the cluster."""


@dataclass
class Place:
    """A slot and what became of it."""

    slot: Slot
    restarts: int = 0
    gpu: SurveyGpu | None = None  # as far as it is known
    opened: Opened | None = None
    heard_s: float = field(default_factory=time.monotonic)  # when a row came last, or points were given to an idle agent


@dataclass
class Progress:
    """What is shown while the driver runs."""

    gpus: int = 0  # that measure, or have
    lost: int = 0
    waiting: int = 0  # that are not open yet: they start, or another job has them
    done: int = 0
    total: int = 0
    statuses: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    @property
    def failed(self) -> int:
        """The number of rows with a status that is a failure."""
        return sum(self.statuses[status] for status in FAILED)

    @property
    def left_s(self) -> float | None:
        """Returns the seconds that are left at the rate so far; None before the first row."""
        measured = self.statuses.total()
        return self.seconds / measured * max(self.total - self.done, 0) if measured else None


class Driver:
    """Runs a schedule on agents and has their rows written. show: is called with the progress several times a second."""

    def __init__(
        self,
        agents: Agents,
        slots: Sequence[Slot],
        points: Mapping[str, Point],
        schedule: Schedule,
        writer: RunWriter,
        shared: bool,
        silent_s: float,
        show: Callable[[Progress], None] = lambda progress: None,
    ):
        """silent_s: an agent that measures is lost when it brings no row for so long."""
        self._agents, self._points, self._schedule, self._writer = agents, points, schedule, writer
        self._shared, self._silent_s, self._show = shared, silent_s, show
        self._places = {number: Place(slot) for number, slot in enumerate(slots)}
        self._calls: dict[Any, tuple[int, str]] = {}
        self._joined: set[int] = set()
        self._undecided: list[int] | None = [] if shared else None  # GPUs that are open before it is known which are alike
        self._first_open_s: float | None = None
        self._ending: set[int] = set()
        self._start_s = time.monotonic()
        self.progress = Progress()
        self.left_out: list[LeftOut] = []
        self.notes: list[str] = []
        self.device_lost = False  # whether a row says so, which only --retry-failed measures again

    def run(self) -> None:
        """Measures until nothing is left that a GPU could do. Raises JournalError, HeadLost and KeyboardInterrupt; `stop` then ends it."""
        for number, place in self._places.items():
            self._call(self._agents.open(number, place.slot), number, "open")
        while self._calls:
            self._step(COMMIT_S)
            self._decide()
            self._watch()
            answering = {number for number, _ in self._calls.values()}
            for number in sorted(self._joined - self._ending - answering):  # last: whoever is left takes over what others had
                self._top_up(number)

    def stop(self) -> None:
        """Ends every agent in the middle of its point, and commits what they have. Raises JournalError and HeadLost."""
        for number in list(self._joined - self._ending):
            self._end(number, interrupted=True)
        deadline = time.monotonic() + ENDING_S
        while any(what == "finish" for _, what in self._calls.values()) and time.monotonic() < deadline:
            self._step(COMMIT_S)

    def _call(self, call: Any, number: int, what: str) -> None:
        self._calls[call] = (number, what)

    def _step(self, timeout_s: float) -> None:
        """Waits, and commits the rows that came together."""
        ended = self._agents.wait(list(self._calls), timeout_s)
        with deferred_interrupt():
            self._take(ended)
        self._writer.tick()
        self._count()

    def _take(self, ended: Sequence[Any]) -> None:
        """Commits the rows that calls brought, then acts on the rest of their results."""
        results: list[tuple[int, Any]] = []
        rows: list[tuple[str, Sent]] = []
        for call in ended:
            number, _ = self._calls.pop(call)
            try:
                result = self._agents.result(call)
            except AgentLost as e:
                result = e
            results.append((number, result))
            if isinstance(result, Batch | Ending):
                rows += self._accepted(number, result.rows)
        if rows:
            self._writer.commit(rows)
        for number, result in results:
            if isinstance(result, AgentLost):
                self._lose(number, str(result))
            elif isinstance(result, Opened | Refused):
                self._opened(number, result)
            elif isinstance(result, Ending):
                self._ended(number, result)
            elif result.ended is not None:
                self._lose(number, result.ended, process=False)

    def _accepted(self, number: int, rows: Iterable[Sent]) -> list[tuple[str, Sent]]:
        """The rows that count, each with the directory of its GPU."""
        place = self._places[number]
        if place.opened is None or number not in self._joined:
            return []
        found = []
        for row in rows:
            place.heard_s = time.monotonic()
            if self._schedule.arrived(number, row.point, row.cause == DEVICE_LOST):
                found.append((place.opened.gpu.directory, row))
                self.progress.statuses[row.status] += 1
                self.device_lost |= row.cause == DEVICE_LOST
        return found

    def _opened(self, number: int, result: Opened | Refused) -> None:
        place = self._places[number]
        if isinstance(result, Refused):
            place.gpu = result.gpu or place.gpu
            if place.gpu is not None:
                self._writer.lost(place.gpu, result.reason)
            self._leave_out(place.slot.host, place.gpu, result.reason)
            return
        self.notes += [f"{result.gpu.directory}: {note}" for note in result.notes]
        place.opened, place.gpu = result, result.gpu
        self._first_open_s = self._first_open_s or time.monotonic()
        if self._undecided is not None:
            self._undecided.append(number)
        else:
            self._join(number)

    def _decide(self) -> None:
        """Where GPUs share the points: once all are open, or a minute after the first, the largest group of GPUs that are alike begins."""
        if not self._undecided or self._first_open_s is None:
            return
        opening = any(what == "open" for _, what in self._calls.values())
        if opening and time.monotonic() - self._first_open_s < GROUP_S:
            return
        abouts = {number: opened.environment for number in self._undecided if (opened := self._places[number].opened)}
        found, self._undecided = groups(abouts), None
        for number in [number for group in found for number in group]:  # the largest first: the others are then unlike it
            self._join(number)

    def _join(self, number: int) -> None:
        place = self._places[number]
        assert place.opened is not None
        refusal = self._writer.opened(place.opened)
        if refusal is not None:
            if not self._shared:
                self._writer.lost(place.opened.gpu, refusal)
            self._leave_out(place.slot.host, place.opened.gpu, refusal)
            self._call(self._agents.finish(number, True, False), number, "finish")
            return
        self._joined.add(number)
        place.heard_s = time.monotonic()
        self._schedule.join(number, self._writer.journal(place.opened.gpu), place.opened.held)

    def _leave_out(self, host: str, gpu: SurveyGpu | None, reason: str) -> None:
        self.left_out.append(LeftOut(host=gpu.host if gpu else host, uuid=gpu.uuid if gpu else None, reason=reason))

    def _top_up(self, number: int) -> None:
        """Gives an agent points, asks it for rows, or ends it where nothing is left for it."""
        busy = self._schedule.busy(number)
        given = self._schedule.give(number)
        if given or busy:
            if not busy:
                self._places[number].heard_s = time.monotonic()
            self._call(self._agents.exchange(number, [self._points[name] for name in given]), number, "exchange")
        elif self._schedule.finished(number):
            self._end(number, interrupted=False)

    def _end(self, number: int, interrupted: bool) -> None:
        self._ending.add(number)
        self._call(self._agents.finish(number, interrupted, not interrupted), number, "finish")

    def _ended(self, number: int, ending: Ending) -> None:
        place = self._places[number]
        if number in self._joined and place.opened is not None:
            missing = self._schedule.missing(self._writer.journal(place.opened.gpu))
            self._writer.ended(place.opened.gpu, ending, interrupted=bool(missing))
            self._schedule.leave(number)
            self._joined.discard(number)

    def _watch(self) -> None:
        """An agent that measures and has brought nothing for too long is lost."""
        now = time.monotonic()
        for number in list(self._joined - self._ending):
            silent = now - self._places[number].heard_s
            if self._schedule.busy(number) and silent > self._silent_s:
                self._lose(number, f"no row for {silent:.0f} s", process=False)

    def _lose(self, number: int, reason: str, process: bool = True) -> None:
        """What an agent was given goes to the others. process: its process ended, which is started once more where its machine is up."""
        place = self._places[number]
        self._calls = {call: (of, what) for call, (of, what) in self._calls.items() if of != number}
        self._schedule.leave(number)
        self._joined.discard(number)
        if self._undecided is not None and number in self._undecided:
            self._undecided.remove(number)
        if number in self._ending:  # its rows are safe: it was ending
            if place.opened is not None:
                missing = self._schedule.missing(self._writer.journal(place.opened.gpu))
                self._writer.ended(place.opened.gpu, Ending([]), interrupted=bool(missing))
            return
        self._agents.kill(number)
        if process and place.restarts < RESTARTS and self._agents.is_up(place.slot):
            again = max(self._places) + 1
            self._places[again] = Place(place.slot, place.restarts + 1, place.gpu)
            self.notes.append(f"{place.slot.host}: {reason}; started again")
            self._call(self._agents.open(again, place.slot), again, "open")
            return
        if place.gpu is not None:
            self._writer.lost(place.gpu, reason)
        self._leave_out(place.slot.host, place.gpu, reason)
        self.progress.lost += 1

    def _count(self) -> None:
        progress = self.progress
        journals = self._writer.journals()
        progress.gpus = len(self._joined)
        progress.waiting = sum(what == "open" for _, what in self._calls.values())
        progress.done = sum(len(self._schedule.done.get(journal, ())) for journal in journals)
        progress.total = len(self._points) * len(journals)
        progress.seconds = time.monotonic() - (self._first_open_s or self._start_s)
        self._show(progress)


def silent_limit_s(point_timeout_s: float, processes: int = 1) -> float:
    """Returns how long an agent may bring no row: a point that is given up, by a worker that opens its device first, and a minute."""
    return processes * point_timeout_s + OPENING_S + CLOSING_S + 60.0


def described(left_out: Sequence[LeftOut], most: int = 5) -> list[str]:
    """Returns a line for each reason, with the GPUs that share it."""
    by_reason: dict[str, list[str]] = {}
    for one in left_out:
        by_reason.setdefault(one.reason, []).append(f"{one.host}{f' {one.uuid}' if one.uuid else ''}")
    return [f"{first_of(names, most)}: {reason}" for reason, names in by_reason.items()]

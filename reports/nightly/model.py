"""What a night's verdict says, as plain data: terminal, page, JSON, JUnit and Markdown are made from this. SI units in the names."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Literal

Direction = Literal["slower", "faster"]
NEAR = timedelta(days=3)
Cause = Literal["kernel code", "software", "this GPU", "the node", "unknown"]


@dataclass(frozen=True)
class Attribution:
    """The likeliest cause of a change, and what speaks for it; `evidence` is empty where nothing else changed with it."""

    cause: Cause
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True)
class Change:
    """A series that became slower or faster, confirmed over nights. `ratio` is the time after over the time before."""

    series: int  # in Nights
    point: str
    op: str
    impl: str
    precision: str
    direction: Direction
    ratio: float
    ratio_low: float  # 95% interval, of nightly medians
    ratio_high: float
    before_s: float
    after_s: float
    p: float
    q: float  # after Benjamini and Hochberg, over the night's series
    first_night: str  # at the new level
    last_night_before: str
    confirmed_night: str
    nights: int  # that confirmed it
    tonight: bool  # confirmed tonight, or earlier and in no verdict that was written: said for the first time
    commits: tuple[str | None, str | None] = (None, None)  # of the last run before and of the first one after
    attribution: Attribution = Attribution("unknown")
    accepted: str | None = None  # the reason that the file of accepted changes gives


@dataclass(frozen=True)
class Said:
    """What verdicts of earlier nights listed: point, direction and the night in which that was confirmed."""

    changes: frozenset[tuple[str, str, str]]

    def covers(self, point: str, direction: str, confirmed_night: str) -> bool:
        """Whether a change is no news. Nights that were added late may have moved its confirmation by a few."""
        return any(
            (point, direction) == (one, way) and abs(date.fromisoformat(night[:10]) - date.fromisoformat(confirmed_night[:10])) <= NEAR
            for one, way, night in self.changes
        )


@dataclass(frozen=True)
class Warned:
    """A point whose one night is unusual; nothing is confirmed. `again`: what a second measurement in a fresh process gave."""

    series: int
    point: str
    ratio: float
    sigmas: float
    expected_s: float  # by the nights before, with the node's shift of tonight
    again: str | None = None


@dataclass(frozen=True)
class StatusChange:
    """A point that fails and worked before, or ended with another status than in the run before; `before` or `after` is None for a new or a
    vanished one."""

    point: str
    before: str | None
    after: str | None
    reason: str | None = None
    since: str | None = None  # the night from which it has failed, having worked before that
    accepted: str | None = None  # the reason that the file of accepted changes gives

    @property
    def broke(self) -> bool:
        """It worked and fails now, tonight for the first time or still, and nobody has accepted that."""
        return self.since is not None and self.accepted is None


@dataclass(frozen=True)
class NodeShift:
    """What a GPU's every series was slower by in a night: the median over `series` of them. It is taken out of each, and said."""

    gpu: str
    night: str
    ratio: float  # over the first night that is looked at
    series: int
    moved: float | None = None  # over what is usual for this GPU, the median of its nights before; None where these are too few

    @property
    def unusual(self) -> float:
        """What it moved by, as well as that is known."""
        return self.ratio if self.moved is None else self.moved


@dataclass(frozen=True)
class Verdict:
    """A night. `suspect` says in lines why the run is not to be trusted; empty where it is."""

    run: str
    run_dir: str
    night: str
    simulated: bool
    device_name: str
    gpus: tuple[str, ...]
    nights: tuple[str, ...]
    series: int
    judged: int  # series with enough nights for a verdict
    changes: tuple[Change, ...]  # confirmed in any night that was looked at, tonight's first, worst first
    warnings: tuple[Warned, ...]
    statuses: tuple[StatusChange, ...]
    shifts: tuple[NodeShift, ...]  # of every GPU in every night
    suspect: tuple[str, ...]
    environment: tuple[str, ...]  # what changed since the run before: `driver: 570 → 580`
    notes: tuple[str, ...] = field(default=())  # of the history: files set aside, missing nights

    @property
    def confirmed(self) -> tuple[Change, ...]:
        """Tonight's, those accepted left out."""
        return tuple(change for change in self.changes if change.tonight and change.accepted is None)

    @property
    def accepted(self) -> tuple[Change, ...]:
        """Tonight's that the file of accepted changes explains: said once."""
        return tuple(change for change in self.changes if change.tonight and change.accepted is not None)

    @property
    def regressions(self) -> tuple[Change, ...]:
        return tuple(change for change in self.confirmed if change.direction == "slower")

    @property
    def broken(self) -> tuple[StatusChange, ...]:
        return tuple(change for change in self.statuses if change.broke)

    @property
    def exit_code(self) -> int:
        """1 for a confirmed regression or a point that broke, which outweighs 3, a suspect run; else 0."""
        return 1 if self.regressions or self.broken else 3 if self.suspect else 0

    @property
    def headline(self) -> str:
        """The night in one line."""
        parts = [f"{len(self.regressions)} confirmed slower"] if self.regressions else []
        still = sum(change.since != self.night for change in self.broken)
        parts += [f"{len(self.broken) - still} broke"] if len(self.broken) > still else []
        parts += [f"{still} still broken"] if still else []
        faster = len(self.confirmed) - len(self.regressions)
        parts += [f"{faster} confirmed faster"] if faster else []
        if not parts:
            count = len(self.nights)
            few = "1 night of history is too little" if count == 1 else f"{count} nights of history are too few"
            parts = ["nothing is confirmed" if self.judged or not self.series else f"no verdict yet: {few}"]
        parts += ["the run is suspect"] if self.suspect else []
        return (
            f"{'; '.join(parts)[:1].upper()}{'; '.join(parts)[1:]}: {self.judged:,} of {self.series:,} series judged, night of {self.night}"
        )

"""What is wrong with a sweep, collected so that all of it is told at once: one line a problem, `file:line: key: what is wrong`."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from typing import NamedTuple, NoReturn

MAX_PROBLEMS = 50  # nobody mends more at once, and looking for near names a million times takes minutes
MAX_SHOWN = 60  # characters of a value that a message repeats
MAX_VALID = 20  # names that a message lists


class Spot(NamedTuple):
    """Where something stands, counted from line 1."""

    file: str
    line: int


class SweepError(Exception):
    """A sweep that cannot be run. `problems` holds one line each, `file:line: key: what is wrong (did you mean …?)`."""

    def __init__(self, problems: Iterable[str]):
        self.problems = list(problems)
        super().__init__("\n".join(self.problems))


class Problems:
    """The problems found so far. The same words about the same spot are one problem."""

    def __init__(self) -> None:
        self._found: dict[tuple[Spot, str], None] = {}
        self._noted = 0

    def __len__(self) -> int:
        """How often something was noted, the same problem again among it: more than before means that something is wrong."""
        return self._noted

    def add(self, spot: Spot, key: str, message: str) -> None:
        """Notes a problem and goes on. Raises SweepError once there are too many to go on."""
        self._noted += 1
        self._found[spot, _one_line(f"{_cut(key)}: {message}")] = None
        if len(self._found) >= MAX_PROBLEMS:
            self.fail(Spot(spot.file, spot.line), "sweep", f"{MAX_PROBLEMS} problems; reading stopped here")

    def fail(self, spot: Spot, key: str, message: str) -> NoReturn:
        """Notes a problem after which nothing more can be read, and raises SweepError."""
        self._found[spot, _one_line(f"{_cut(key)}: {message}")] = None
        raise self._error()

    def check(self) -> None:
        """Raises SweepError if there is any problem."""
        if self._found:
            raise self._error()

    def _error(self) -> SweepError:
        in_order = sorted(self._found, key=lambda found: found[0])
        return SweepError(f"{_one_line(spot.file)}:{spot.line}: {text}" for spot, text in in_order)


def quote(text: str) -> str:
    """A value of the user's, as a message shows it."""
    return repr(_cut(text))


def valid_names(word: str, valid: Iterable[str]) -> str:
    """The end of a message about a wrong name: the nearest valid one, else the valid ones."""
    names = tuple(valid)
    by_lower = {name.lower(): name for name in reversed(names)}
    near = get_close_matches(word.lower(), by_lower, n=1) if len(word) <= MAX_SHOWN else []
    if near:
        return f" (did you mean {by_lower[near[0]]}?)"
    listed = ", ".join(names[:MAX_VALID]) + (", …" if len(names) > MAX_VALID else "")
    return f"; valid: {listed}" if names else ""


def _cut(text: str) -> str:
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"


def _one_line(text: str) -> str:
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)

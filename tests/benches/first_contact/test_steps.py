"""How the time is shared among the steps, and that none costs another."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from benches.first_contact import steps
from benches.first_contact.check import Check
from benches.first_contact.pool import Late
from benches.first_contact.steps import Contact, Step, limit, run_steps
from benches.row import Row
from benches.run.isolation import Interrupted


def good(contact: Contact) -> Iterator[Check]:
    yield Check("good", "figure", 1.0, "", "1", "pass")


def failing(contact: Contact) -> Iterator[Check]:
    yield Check("failing", "figure", 1.0, "", "1", "pass")
    raise RuntimeError("no board\nat all")


def late(contact: Contact) -> Iterator[Check]:
    yield from ()
    raise Late("not ended after 5 s")


def hanging(contact: Contact) -> Iterator[Check]:
    yield Check("hanging", "figure", 1.0, "", "1", "pass")
    try:
        time.sleep(3600)
    except Exception:  # as a worker's caller may
        time.sleep(3600)


def run(tmp_path: Path, *made: Step, left_s: float = 100.0) -> list[tuple[str, str, str]]:
    checks: list[Check] = []
    contact = Contact(tmp_path, tmp_path, "simulated", 1)
    list(run_steps(contact, made, time.monotonic() + left_s, checks.append))
    return [(check.step, check.check, check.verdict) for check in checks]


def test_a_step_that_raises_costs_no_other(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = run(tmp_path, Step("failing", 10, 0, failing), Step("late", 10, 0, late), Step("good", 10, 0, good))
    assert found == [
        ("failing", "figure", "pass"),
        ("failing", "step", "fail"),
        ("late", "step", "unfinished"),
        ("good", "figure", "pass"),
    ]
    assert "RuntimeError: no board" in capsys.readouterr().err


def test_a_step_that_hangs_is_cut_off_and_keeps_what_it_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "LEAST_S", 0.0)
    monkeypatch.setattr(steps, "GRACE_S", 1.0)  # a process may be kept from running for some hundred ms
    found = run(tmp_path, Step("hanging", 0.1, 0, hanging), Step("good", 99.9, 0, good))
    assert found == [("hanging", "figure", "pass"), ("hanging", "step", "unfinished"), ("good", "figure", "pass")]


class Waiting:
    """A measurer whose point never ends, and which, as the others do, gives what ends the wait as the cause of its own exception."""

    def row_of(self, point: object, timing: bool) -> Row:
        try:
            time.sleep(3600)
        except BaseException as error:
            raise Interrupted(SimpleNamespace(reason="cut")) from error
        raise AssertionError("an hour has passed")


def waiting(contact: Contact) -> Iterator[Check]:
    yield Check("waiting", "figure", 1.0, "", "1", "pass")
    contact.measured(Waiting(), None)


def test_a_step_that_waits_for_a_point_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(steps, "LEAST_S", 0.0)
    monkeypatch.setattr(steps, "GRACE_S", 1.0)
    found = run(tmp_path, Step("waiting", 0.1, 0, waiting), Step("good", 99.9, 0, good))
    assert found == [("waiting", "figure", "pass"), ("waiting", "step", "unfinished"), ("good", "figure", "pass")]


def test_without_time_nothing_is_started(tmp_path: Path) -> None:
    assert run(tmp_path, Step("good", 10, 0, good), left_s=1.0) == [("good", "step", "unfinished")]


@pytest.mark.parametrize(
    ("left_s", "seconds", "least_s", "later_s", "expected"),
    [
        (470.0, 40.0, 10.0, 430.0, 40.0),  # its share
        (235.0, 40.0, 10.0, 430.0, 20.0),  # in proportion
        (235.0, 40.0, 30.0, 430.0, 30.0),  # at least what it needs
        (20.0, 40.0, 30.0, 430.0, 20.0),  # and at most what is left
        (100.0, 40.0, 10.0, 0.0, 100.0),  # what the others leave is the last one's
        (-5.0, 40.0, 10.0, 0.0, 0.0),
    ],
)
def test_shares(left_s: float, seconds: float, least_s: float, later_s: float, expected: float) -> None:
    assert limit(left_s, Step("step", seconds, least_s, good), later_s) == pytest.approx(expected)


def test_290_seconds_are_enough_for_the_steps_before_the_kernels_and_leave_them_the_most() -> None:
    """With every step taking all that it may."""
    left, given = 290.0, {}
    for i, step in enumerate(steps.STEPS):
        given[step.name] = limit(left, step, sum(later.seconds for later in steps.STEPS[i + 1 :]))
        left -= given[step.name]
    assert min(given.values()) >= steps.LEAST_S
    assert max(given, key=lambda name: given[name]) == "kernels"

"""Ctrl-C waits for the end of a step that must not stop half-way, and is not forgotten."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from benches.run.interrupts import deferred_interrupt


@pytest.fixture(autouse=True)
def heard() -> Iterator[None]:
    """A background job of a shell, as these tests may be, ignores Ctrl-C."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_the_step_ends_before_the_interrupt() -> None:
    done = []

    def step() -> None:
        with deferred_interrupt():
            os.kill(os.getpid(), signal.SIGINT)
            done.append("step")

    with pytest.raises(KeyboardInterrupt):
        step()
    assert done == ["step"]


def test_nothing_is_raised_without_an_interrupt_and_the_handler_is_put_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    with deferred_interrupt():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before


def test_an_ignored_interrupt_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with deferred_interrupt():
            os.kill(os.getpid(), signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_an_error_inside_comes_out_as_itself() -> None:
    with pytest.raises(OSError, match="full"), deferred_interrupt():
        raise OSError("full")

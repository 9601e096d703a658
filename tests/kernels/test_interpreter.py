"""Which way Triton runs kernels: what each device needs, and what is refused once Triton is imported."""

from __future__ import annotations

import os
import sys
from types import ModuleType

import pytest

from kernels import interpreter

LINE_INFO = "TRITON_DISABLE_LINE_INFO"


@pytest.fixture(autouse=True)
def before_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has not imported Triton, with neither variable set; both are put back."""
    for name in (interpreter.VARIABLE, LINE_INFO):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.delitem(sys.modules, "triton", raising=False)


@pytest.mark.parametrize(
    ("value", "on"), [(None, False), ("", False), ("0", False), ("False", False), ("off", False), ("1", True), ("true", True)]
)
def test_a_setting_that_interprets(value: str | None, on: bool) -> None:
    assert interpreter.is_on(value) == on


@pytest.mark.parametrize(
    ("kind", "before", "after", "line_info"),
    [
        ("cpu", None, "1", None),
        ("cpu", "0", "1", None),
        ("cuda", "1", None, "1"),
        ("cuda", None, None, "1"),
        ("simulated", "1", "1", None),
        ("simulated", None, None, None),
    ],
)
def test_what_a_device_needs(
    kind: str, before: str | None, after: str | None, line_info: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if before is not None:
        monkeypatch.setenv(interpreter.VARIABLE, before)
    interpreter.choose(kind)
    assert (interpreter.setting(), os.environ.get(LINE_INFO)) == (after, line_info)


def test_a_choice_of_the_user_stays_where_none_is_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    interpreter.interpret_unless_set()
    assert interpreter.setting() == "1"
    monkeypatch.setenv(interpreter.VARIABLE, "0")
    interpreter.interpret_unless_set()
    assert interpreter.setting() == "0"
    assert not interpreter.compile_kernels()
    assert interpreter.setting() is None
    monkeypatch.setenv(interpreter.VARIABLE, "1")
    assert interpreter.compile_kernels()


@pytest.mark.parametrize(("value", "refused"), [(None, True), ("0", True), ("1", False)])
def test_the_interpreter_is_chosen_before_triton_is_imported(value: str | None, refused: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "triton", ModuleType("triton"))
    if value is not None:
        monkeypatch.setenv(interpreter.VARIABLE, value)
    if refused:
        with pytest.raises(RuntimeError, match=f"set {interpreter.VARIABLE}=1"):
            interpreter.choose("cpu")
    else:
        interpreter.choose("cpu")
    assert interpreter.setting() == value


@pytest.mark.parametrize("value", [None, "1", "0"])
def test_children_compile(value: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if value is not None:
        monkeypatch.setenv(interpreter.VARIABLE, value)
    with interpreter.off_in_children():
        assert interpreter.setting() is None
    assert interpreter.setting() == value

"""One thing that was assumed, what was found, and whether they agree. Pure."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from kernels.escaping import one_line

Value = float | int | str | None
Verdict = Literal["pass", "fail", "skipped", "unfinished"]
MAX_SUMMARY = 8000  # bytes of summary.txt
MAX_LINE = 300  # characters
ROOM_FOR_LAST = 60  # bytes of the line that counts those left out
COUNTED = ("compile", "kernels", "torch.compile", "selftest")  # steps of one check after the other for each of many points


@dataclass(frozen=True)
class Check:
    """`skipped`: it does not apply here. `unfinished`: the time budget was used up."""

    step: str
    check: str
    value: Value
    unit: str
    expected: str
    verdict: Verdict
    note: str = ""  # which constant is wrong and the right value, or what went wrong


def within(step: str, name: str, value: float | None, unit: str, low: float, high: float, note: str = "") -> Check:
    """Passes from `low` to `high`, both included; a value that could not be measured fails. `note` is kept where it fails."""
    found = None if value is None or not math.isfinite(value) else float(f"{value:.5g}")
    passed = found is not None and low <= found <= high
    expected = f"at most {high:.4g}" if low == -math.inf else f"{low:.4g} to {high:.4g}"
    return Check(step, name, found, unit, expected, "pass" if passed else "fail", "" if passed else note)


def equal(step: str, name: str, value: Value, expected: Value, unit: str = "", note: str = "") -> Check:
    """Passes where both are the same."""
    passed = value == expected
    return Check(step, name, value, unit, str(expected), "pass" if passed else "fail", "" if passed else note)


def one_of(step: str, name: str, value: Value, allowed: Sequence[Value], note: str = "") -> Check:
    """Passes where the value is among those allowed."""
    passed = value in allowed
    return Check(step, name, value, "", " or ".join(map(str, allowed)), "pass" if passed else "fail", "" if passed else note)


def known(step: str, name: str, value: Value, unit: str = "", note: str = "") -> Check:
    """Passes where there is a value at all."""
    return Check(step, name, value, unit, "readable", "fail" if value is None else "pass", note)


def exit_code(checks: Iterable[Check]) -> int:
    """0: all as expected; 1: something is not; 3: nothing is wrong so far, but the time budget was used up or nothing was checked."""
    verdicts = {check.verdict for check in checks}
    if "fail" in verdicts:
        return 1
    return 3 if "unfinished" in verdicts or not verdicts else 0


def line(check: Check) -> str:
    """verdict  step: check: value unit, expected …: note"""
    value = "not measured" if check.value is None else f"{check.value:.5g}" if isinstance(check.value, float) else str(check.value)
    found = f"{value} {check.unit}".strip()
    expected = f", expected {check.expected}" if check.expected else ""
    text = f"{check.verdict:10} {check.step}: {check.check}: {found}{expected}{f': {check.note}' if check.note else ''}"
    return "".join(c if c.isprintable() else " " for c in text)[:MAX_LINE]


def summary(checks: Sequence[Check], title: str) -> str:
    """The text of summary.txt: a line for each step, what is not as expected, then the figures that are, as much as fits 8 KB.

    What passed without a figure of its own (a status, a kernel among a hundred) is counted only.
    """
    counts = {step: Counter(check.verdict for check in checks if check.step == step) for step in dict.fromkeys(c.step for c in checks)}
    steps = [f"{step:14} {', '.join(f'{n} {verdict}' for verdict, n in sorted(count.items()))}" for step, count in counts.items()]
    verdict = {0: "everything is as expected", 1: "not everything is as expected", 3: "not finished"}[exit_code(checks)]
    head = [one_line(title), *steps, ""]
    foot = ["", f"{verdict}: {len(checks)} checks, {sum(c.verdict == 'fail' for c in checks)} failed"]
    order = ("fail", "unfinished", "skipped", "pass")
    shown = [check for check in checks if check.verdict != "pass" or (check.step not in COUNTED and isinstance(check.value, float))]
    # What passed with nothing to compare it to comes last, where it may be cut off.
    lines = [line(check) for check in sorted(shown, key=lambda check: (order.index(check.verdict), not check.expected))]
    return "\n".join([*head, *fitting(lines, MAX_SUMMARY - len("\n".join([*head, *foot]).encode()) - 2), *foot]) + "\n"


def fitting(lines: Sequence[str], room: int) -> list[str]:
    """As many lines as fit `room` bytes, then how many more there are."""
    kept: list[str] = []
    for text in lines:
        room -= len(text.encode()) + 1
        if room < ROOM_FOR_LAST:
            return [*kept, f"and {len(lines) - len(kept)} more in summary.json"]
        kept.append(text)
    return kept

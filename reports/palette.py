"""Colours and marks, the same for a precision, an implementation and a status in every chart.

Hues after Okabe and Ito, which stay apart for the common kinds of colour blindness; relatives share a family (16-bit blue, fp8
warm). Implementations differ by the mark's shape, statuses by a sign, so that nothing depends on colour alone.
"""

from __future__ import annotations

from typing import Literal

PRECISION_COLOURS = {
    "fp32": "#b5659a",
    "tf32": "#009e73",
    "fp16": "#3c9fdc",
    "bf16": "#1a73c8",
    "fp8_e4m3": "#d55e00",
    "fp8_e5m2": "#e09a12",
}
IMPL_MARKS = {
    **{"torch": "circle", "torch_compile": "square", "triton": "diamond"},
    **{"torch_foreach": "triangle-up", "torch_fused": "triangle-down"},
}
OTHER_COLOUR, OTHER_MARK = "#7f8790", "cross"
GUIDE = "#8a919b"  # lines that are no data: roofs, y = x; readable on light and dark
MEMORY_COLOURS = {
    **{"weights": "#1a73c8", "gradients": "#009e73", "optimizer": "#e09a12", "activations": "#b5659a"},
    **{"logits": "#d55e00", "working": "#7f8790", "gathered": "#56b4e9"},
}
PHASE_COLOURS = {"data": "#7f8790", "forward": "#1a73c8", "backward": "#e09a12", "optimizer": "#009e73"}
STAGE_COLOURS = ("#b5659a", "#e09a12", "#009e73", "#1a73c8")  # of ZeRO stages 0 to 3
HEAT = [[0.0, "#dfe8f1"], [0.25, "#b3cfe6"], [0.5, "#6ba3d0"], [0.75, "#2a6cab"], [1.0, "#0a3466"]]

Tone = Literal["bad", "caution", "good", "neutral"]
# In the order that deserves attention: the table and the chips follow it.
STATUSES: dict[str, tuple[Tone, str]] = {
    "wrong": ("bad", "✕"),
    "impossible": ("bad", "✕"),
    "crashed": ("bad", "✕"),
    "error": ("bad", "✕"),
    "timeout": ("bad", "✕"),
    "oom": ("bad", "✕"),
    "throttled": ("caution", "▲"),
    "noisy": ("caution", "≈"),
    "unsupported": ("neutral", "–"),
    "skipped": ("neutral", "–"),
    "verified": ("good", "✓"),
    "ok": ("good", "✓"),
}
UNKNOWN_STATUS: tuple[Tone, str] = ("caution", "?")  # written by a newer version
# What became of a point from one run to another, in the order that deserves attention.
VERDICTS: dict[str, tuple[Tone, str]] = {
    "fails now": ("bad", "✕"),
    "other status": ("caution", "≠"),
    "works now": ("good", "✓"),
    "only in A": ("caution", "A"),
    "only in B": ("neutral", "B"),
    "slower": ("bad", "▲"),
    "faster": ("good", "▼"),
    "unclear": ("caution", "?"),
    "same": ("neutral", "="),
    "not paired": ("neutral", "–"),
    "untimed": ("neutral", "–"),
}
# What a night says of a series, in the order that deserves attention.
NIGHTLY: dict[str, tuple[Tone, str]] = {
    "slower": ("bad", "▲"),
    "faster": ("good", "▼"),
    "warned": ("caution", "!"),
    "slower earlier": ("caution", "△"),
    "faster earlier": ("neutral", "▽"),
    "accepted": ("neutral", "✓"),
    "too few nights": ("neutral", "…"),
    "steady": ("good", "="),
}
# Of a run of the history, by exit code.
OUTCOMES: dict[str, tuple[Tone, str]] = {
    "regressed": ("bad", "✕"),
    "suspect": ("caution", "▲"),
    "fine": ("good", "✓"),
    "not judged": ("neutral", "–"),
}
# What a survey says of a GPU, in the order that deserves attention.
SURVEYED: dict[str, tuple[Tone, str]] = {
    "slow": ("bad", "▲"),
    "failing": ("bad", "✕"),
    "unusable": ("caution", "–"),
    "watch": ("caution", "!"),
    "fine": ("good", "✓"),
}
VERDICT_COLOURS = {"slower": "#d55e00", "faster": "#009e73", "unclear": "#e09a12", "same": "#3c9fdc"}


def precision_colour(name: str) -> str:
    """The palette's colour of a precision: the same in every chart."""
    return PRECISION_COLOURS.get(name, OTHER_COLOUR)


def impl_mark(name: str) -> str:
    """The mark of an implementation: the same in every chart."""
    return IMPL_MARKS.get(name, OTHER_MARK)

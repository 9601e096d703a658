"""Measured over predicted time of every timed row, as a small SVG: no library, so that it can be made anywhere. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from xml.sax.saxutils import escape

from reports.units import microseconds

WIDTH, HEIGHT, LEFT, BOTTOM, TOP, RIGHT = 720, 360, 60, 40, 20, 130
LOW, HIGH = 0.25, 8.0  # of measured over predicted; what is beyond lies on the edge
COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf", "#8c564b", "#7f7f7f", "#e377c2", "#bcbd22")


def measured_over_predicted(points: Mapping[str, tuple[str, float, float]]) -> str:
    """points: (op, predicted seconds, measured over predicted) by name. A logarithmic scale on both axes."""
    ops = list(dict.fromkeys(op for op, _, _ in points.values()))
    colour = {op: COLOURS[i % len(COLOURS)] for i, op in enumerate(ops)}
    seconds = [predicted for _, predicted, _ in points.values()]
    least = math.floor(math.log10(min(seconds, default=1e-6)))
    most = max(math.ceil(math.log10(max(seconds, default=1e-3))), least + 1)

    def x(predicted: float) -> float:
        return LEFT + (math.log10(predicted) - least) / (most - least) * (WIDTH - LEFT - RIGHT)

    def y(ratio: float) -> float:
        share = (math.log2(min(max(ratio, LOW), HIGH)) - math.log2(LOW)) / (math.log2(HIGH) - math.log2(LOW))
        return HEIGHT - BOTTOM - share * (HEIGHT - BOTTOM - TOP)

    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>',
    ]
    for ratio in (0.25, 0.5, 1, 2, 4, 8):
        stroke = "#444" if ratio == 1 else "#ddd"
        lines.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(ratio):.1f}" y2="{y(ratio):.1f}" stroke="{stroke}"/>')
        lines.append(f'<text x="{LEFT - 6}" y="{y(ratio) + 4:.1f}" text-anchor="end">{ratio:g}×</text>')
    for power in range(least, most + 1):
        lines.append(f'<text x="{x(10.0**power):.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{unit(power)}</text>')
    lines.append(f'<text x="{(LEFT + WIDTH - RIGHT) / 2:.0f}" y="{HEIGHT - 6}" text-anchor="middle">predicted time of a call</text>')
    for name, (op, predicted, ratio) in points.items():
        title = escape(f"{name}: {ratio:.2f}× of {microseconds(predicted, 3)}")
        place = f'cx="{x(predicted):.1f}" cy="{y(ratio):.1f}" r="3.5"'
        lines.append(f'<circle {place} fill="{colour[op]}" fill-opacity="0.7"><title>{title}</title></circle>')
    for i, op in enumerate(ops):
        top = TOP + 14 + 18 * i
        lines.append(f'<circle cx="{WIDTH - RIGHT + 16}" cy="{top - 4}" r="4" fill="{colour[op]}"/>')
        lines.append(f'<text x="{WIDTH - RIGHT + 26}" y="{top}">{escape(op)}</text>')
    return "\n".join([*lines, "</svg>"]) + "\n"


def unit(power: int) -> str:
    """10^power seconds in words."""
    name, of = ("ns", -9) if power < -6 else ("us", -6) if power < -3 else ("ms", -3) if power < 0 else ("s", 0)
    return f"{10 ** (power - of):g} {name}"

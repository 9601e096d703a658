"""How a number is shown: the one place that turns SI values into text. Values stay in SI everywhere else."""

from __future__ import annotations

import math
from collections.abc import Callable

MISSING = "—"
SPACE = "\u00a0"  # no line break between a number and its unit

Prefixes = tuple[tuple[float, str], ...]
SMALL: Prefixes = ((1.0, ""), (1e-3, "m"), (1e-6, "µ"), (1e-9, "n"))
LARGE: Prefixes = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))


def significant(value: float, digits: int = 4) -> str:
    """`digits` significant digits without an exponent where the number is of a size that people read: 1234, 12.34, 0.001234."""
    if value == 0:
        return "0"
    exponent = math.floor(math.log10(abs(float(f"{value:.{digits - 1}e}"))))
    if exponent < -6 or exponent > 9:
        return f"{value:.{digits - 1}e}"
    return f"{value:,.{max(0, digits - 1 - exponent)}f}"


def _scaled(unit: str, prefixes: Prefixes) -> Callable[[float], str]:
    def show(value: float) -> str:
        rounded = abs(float(f"{value:.3e}"))  # 999.96 µs is shown as 1.000 ms, not as 1,000 µs
        scale, prefix = next(((s, p) for s, p in prefixes if rounded >= s), prefixes[-1])
        return f"{significant(value / scale)}{SPACE}{prefix}{unit}"

    return show


def _percent(value: float) -> str:
    share = 100 * value
    return f"{share:.1f}%" if abs(share) >= 0.95 or share == 0 else f"{significant(share, 2)}%"


def _ratio(value: float) -> str:
    return f"{significant(value, 3)}×"


def _plain(unit: str) -> Callable[[float], str]:
    return lambda value: f"{significant(value)}{SPACE}{unit}"


# Unit of a column, as reports/columns.py names it -> how its values are shown.
FORMATS: dict[str, Callable[[float], str]] = {
    "s": _scaled("s", SMALL),
    "FLOP": _scaled("FLOP", LARGE),
    "FLOP/s": _scaled("FLOP/s", LARGE),
    "B": _scaled("B", LARGE),
    "B/s": _scaled("B/s", LARGE),
    "Hz": _scaled("Hz", LARGE),
    "FLOP/B": _plain("FLOP/B"),
    "W": _plain("W"),
    "J": _plain("J"),
    "°C": _plain("°C"),
    "fraction": _percent,
    "ratio": _ratio,
    "count": lambda value: f"{value:,.0f}",
}


def show(value: object, unit: str = "") -> str:
    """`value` for people: `show(1.234e-5, "s")` is "12.34 µs". Missing values and NaN are a dash; text passes through."""
    if value is None or value == "":
        return MISSING
    if isinstance(value, str) or unit not in FORMATS:
        return str(value)
    number = float(value)  # type: ignore[arg-type]
    if not math.isfinite(number):
        return MISSING
    return FORMATS[unit](number)

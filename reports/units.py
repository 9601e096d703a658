"""How a number is shown: the one place that turns SI values into text. Values stay in SI everywhere else."""

from __future__ import annotations

import math
from collections.abc import Callable

MISSING = "—"
SPACE = "\u00a0"  # no line break between a number and its unit
DIGITS = 4  # significant ones

PREFIXES = {-9: "n", -6: "µ", -3: "m", 0: "", 3: "k", 6: "M", 9: "G", 12: "T", 15: "P"}


def significant(value: float, digits: int = DIGITS) -> str:
    """`digits` significant digits, without an exponent where the number is of a size that people read: 1,234, 12.34, 0.001234."""
    if value == 0:
        return "0"
    exponent = _exponent(value, digits)
    if exponent < -6 or exponent > 9:
        return f"{value:.{digits - 1}e}"
    return f"{value:,.{max(0, digits - 1 - exponent)}f}"


def _exponent(value: float, digits: int) -> int:
    """The power of ten after rounding: 999.96 in four digits has three, as 1,000. Faster than reading it off a formatted text."""
    exponent = math.floor(math.log10(abs(value)))
    return exponent + 1 if abs(value) >= (10 - 5 * 10.0**-digits) * 10.0**exponent else exponent


def _scaled(unit: str, lowest: int, highest: int) -> Callable[[float], str]:
    """With the SI prefix that leaves one to three digits before the point."""

    def show(value: float) -> str:
        if value == 0:
            return f"0{SPACE}{unit}"
        exponent = _exponent(value, DIGITS)
        prefix = min(max(exponent // 3 * 3, lowest), highest)
        places = min(max(DIGITS - 1 - (exponent - prefix), 0), 9)
        return f"{value / 10.0**prefix:,.{places}f}{SPACE}{PREFIXES[prefix]}{unit}"

    return show


def _percent(value: float) -> str:
    share = 100 * value
    return f"{share:z.1f}%" if abs(share) >= 0.95 or share == 0 else f"{significant(share, 2)}%"


def _ratio(value: float) -> str:
    return f"{significant(value, 3)}×"


def _plain(unit: str) -> Callable[[float], str]:
    return lambda value: f"{significant(value)}{SPACE}{unit}"


# Unit of a column, as reports/columns.py names it -> how its values are shown. `z`: a value that rounds to zero has no minus sign.
FORMATS: dict[str, Callable[[float], str]] = {
    "s": _scaled("s", -9, 0),
    "FLOP": _scaled("FLOP", 0, 15),
    "FLOP/s": _scaled("FLOP/s", 0, 15),
    "B": _scaled("B", 0, 15),
    "B/s": _scaled("B/s", 0, 15),
    "Hz": _scaled("Hz", 0, 15),
    "FLOP/B": _plain("FLOP/B"),
    "W": _plain("W"),
    "J": _plain("J"),
    "°C": _plain("°C"),
    "fraction": _percent,
    "ratio": _ratio,
    "change": lambda value: f"{100 * (value - 1):+z.1f}%",  # of a ratio
    "sigma": lambda value: f"{value:+z.1f}{SPACE}σ",
    "count": lambda value: f"{value:z,.0f}",
    "probability": lambda value: significant(value, 2) if value >= 1e-3 or value == 0 else f"{value:.1e}",
}


def tick(value: float, unit: str) -> str:
    """A round number as an axis names it: 10 µs, 20 T (FLOP/s), 0.5×; no zeros that only say how exact it is."""
    if unit in ("days", "parameters"):
        return compact(value)
    if unit not in ("s", "FLOP/s", "B", "B/s"):
        return f"{value:,g}" + ("×" if unit == "ratio" else "")
    number, _, named = FORMATS[unit](value).partition(SPACE)
    return f"{float(number.replace(',', '')):g}{SPACE}{named.removesuffix('FLOP/s')}".strip()


def show(value: object, unit: str = "") -> str:
    """`value` for people: `show(1.234e-5, "s")` is "12.34 µs". Missing values and NaN are a dash; text passes through."""
    if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
        return MISSING
    form = FORMATS.get(unit)
    if form is None or isinstance(value, str):
        return str(value)
    number = float(value)  # type: ignore[arg-type]
    return form(number) if math.isfinite(number) else MISSING


def cut(text: str, width: int) -> str:
    """`text` in at most `width` characters, cut in the middle: names of points differ at their ends."""
    if len(text) <= width:
        return text
    tail = (width - 1) // 2
    return f"{text[: width - 1 - tail]}…{text[len(text) - tail :]}"


def microseconds(seconds: float, digits: int = DIGITS) -> str:
    """A time in us whatever its size, in ASCII: for tables and drawings whose times are compared with one another."""
    return f"{seconds * 1e6:.{digits}g} us"


def tera(value: float, unit: str, digits: int = DIGITS) -> str:
    """A value in units of 1e12 whatever its size: tera(8.5e14, "FLOP/s") is "850 TFLOP/s"."""
    return f"{value / 1e12:.{digits}g} T{unit}"


def billions(count: float) -> str:
    """A count in units of 1e9, as models' sizes are given: 40.0 B."""
    return f"{count / 1e9:,.1f} B"


def compact(value: float, digits: int = DIGITS) -> str:
    """As people write on a napkin: 1,024, 0.5, 143.9, and 40e9 or 6.3e24 with a power that is a multiple of three."""
    if value == 0 or 1e-3 <= abs(value) < 1e6:
        text = f"{value:,.{max(0, digits - 1 - _exponent(value, digits)) if value else 0}f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    power = _exponent(value, digits) // 3 * 3
    return f"{compact(value / 10.0**power, digits)}e{power}"


def megahertz(hz: float) -> str:
    """A clock in MHz whatever its size, as nvidia-smi shows it: 1,755 MHz."""
    return f"{hz / 1e6:,.0f} MHz"

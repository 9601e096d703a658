"""The one place that formats numbers."""

import math

import pytest

from reports.units import FORMATS, MISSING, SPACE, billions, megahertz, microseconds, show, tera, tick


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (1.234e-5, "s", "12.34 µs"),
        (9.9996e-4, "s", "1.000 ms"),  # rounding reaches the next prefix
        (5e-9, "s", "5.000 ns"),
        (3e-12, "s", "0.003000 ns"),  # no prefix below nano: a time this short is a fault, and must look odd
        (1234.0, "s", "1,234 s"),
        (0.0, "s", "0 s"),
        (989.5e12, "FLOP/s", "989.5 TFLOP/s"),
        (1979e12, "FLOP/s", "1.979 PFLOP/s"),
        (5e17, "FLOP/s", "500.0 PFLOP/s"),
        (3.35e12, "B/s", "3.350 TB/s"),
        (640, "B", "640.0 B"),
        (0.512, "fraction", "51.2%"),
        (0.0000123, "fraction", "0.0012%"),
        (0.0, "fraction", "0.0%"),
        (-0.0, "fraction", "0.0%"),
        (1.234, "ratio", "1.23×"),
        (1.051, "change", "+5.1%"),
        (0.949, "change", "-5.1%"),
        (0.99998, "change", "+0.0%"),  # no minus sign on what rounds to zero
        (-0.04, "sigma", "+0.0 σ"),
        (-0.2, "count", "0"),
        (1000, "count", "1,000"),
        (341.3333, "FLOP/B", "341.3 FLOP/B"),
        (-2.5e-6, "s", "-2.500 µs"),
        ("text", "s", "text"),
        ("text", "", "text"),
        (None, "s", MISSING),
        (math.nan, "s", MISSING),
        (math.nan, "", MISSING),
        (math.inf, "s", MISSING),
        ("", "", MISSING),
    ],
)
def test_show(value: object, unit: str, expected: str) -> None:
    assert show(value, unit).replace(SPACE, " ") == expected


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        (1e-5, "s", "10 µs"),
        (0.1, "s", "100 ms"),
        (2e13, "FLOP/s", "20 T"),
        (5e7, "B", "50 MB"),
        (1e15, "FLOP/s", "1 P"),
        (0.05, "FLOP/B", "0.05"),
        (2, "ratio", "2×"),
    ],
)
def test_tick(value: float, unit: str, expected: str) -> None:
    assert tick(value, unit).replace(SPACE, " ") == expected


def test_one_unit_whatever_the_size() -> None:
    assert [microseconds(seconds) for seconds in (5e-9, 1.23456e-4, 2.0)] == ["0.005 us", "123.5 us", "2e+06 us"]
    assert microseconds(1.23456e-4, 3) == "123 us"
    assert [tera(8.5e14, "FLOP/s"), tera(3.3512e12, "B/s", 3)] == ["850 TFLOP/s", "3.35 TB/s"]
    assert [megahertz(1.755e9), megahertz(4.1e8)] == ["1,755 MHz", "410 MHz"]
    assert [billions(40e9), billions(1.2345e12)] == ["40.0 B", "1,234.5 B"]


@pytest.mark.slow
@pytest.mark.parametrize("unit", FORMATS)
@pytest.mark.parametrize("exponent", range(-15, 19))
def test_every_unit_shows_every_size(unit: str, exponent: int) -> None:
    assert any(c.isdigit() for c in show(10.0**exponent, unit))

"""The measurements as a compact table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

CUBLAS = "cublas"
LIMIT = 6000  # characters: what a remote run is sure to show of its output

Row = Mapping[str, Any]  # a line of measurements.jsonl


def text(rows: Iterable[Row]) -> str:
    """Each product's variants, the fastest first; as many of each as fit LIMIT."""
    products: dict[str, dict[str, dict[int, Row]]] = {}
    for row in rows:
        products.setdefault(row["case"], {}).setdefault(row["variant"], {})[row["round"]] = row
    longest = max((len(variants) for variants in products.values()), default=0)
    for most in range(longest, 0, -1):
        result = "\n".join(line for case, variants in products.items() for line in product(case, variants, most))
        if len(result) <= LIMIT:
            return result
    return ""


def product(case: str, variants: Mapping[str, Mapping[int, Row]], most: int) -> list[str]:
    """A heading and at most so many lines of one product."""
    ordered = sorted(variants.items(), key=lambda item: mean_s(item[1]) or float("inf"))
    heading = f"{case}: us in round 1, in round 2, TFLOP/s, cuBLAS's time over this, SM MHz, kernel"
    result = [heading, *(variant(name, rounds, variants.get(CUBLAS, {})) for name, rounds in ordered[:most])]
    return [*result, f"and {len(ordered) - most} more"] if len(ordered) > most else result


def mean_s(rounds: Mapping[int, Row]) -> float | None:
    """Mean of the rounds' medians; None where a round has no time."""
    times = [row.get("median_s") for row in rounds.values()]
    return sum(times) / len(times) if times and all(times) else None  # type: ignore[arg-type]


def variant(name: str, rounds: Mapping[int, Row], cublas: Mapping[int, Row]) -> str:
    """One variant's line."""
    if (mean := mean_s(rounds)) is None:
        bad = next(row for row in rounds.values() if not row.get("median_s"))
        return f"{bad['status']}: {name}: {bad['reason'][:80]}"
    us = " ".join(f"{rounds[n]['median_s'] * 1e6:7.1f}" if n in rounds else f"{'':7}" for n in (1, 2))
    ratios = [cublas[n]["median_s"] / rounds[n]["median_s"] for n in rounds if n in cublas and cublas[n].get("median_s")]
    ratio = f"{sum(ratios) / len(ratios):5.3f}" if ratios else f"{'':5}"
    clock = rounds[max(rounds)]["sm_clock_hz"]
    return f"{us} {rounds[max(rounds)]['flops'] / mean * 1e-12:5.0f} {ratio} {clock * 1e-6 if clock else 0:4.0f} {name}"

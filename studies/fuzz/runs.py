"""Journals and environments as no run would write them: real lines damaged, and real fields with other values in them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from random import Random
from typing import Any

from studies.fuzz.mutate import mutated
from tests.reports.conftest import ENVIRONMENTS, fake_rows, sweep

HOSTILE = "</script><img src=x onerror=alert(1)>'\"&\u2028\u2029{{7*7}}{%raw%}${1}`[x](javascript:alert(1))"
LONG_INT = "an integer longer than Python reads or writes"
SCALARS: Sequence[Any] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**53 + 1, 2**63, -(2**63) - 1, 2**64, 10**30, 10**400),
    *(0.0, -0.0, 5e-324, 1e-300, 1e308, -1.5, float("nan"), float("inf"), float("-inf")),
    *(
        "",
        "a",
        LONG_INT,
        HOSTILE,
        "\x00",
        "\ud800",
        "x" * 10_000,
        "ok",
        "cold",
        "matmul",
        "bf16",
        "nt",
        "fp32",
        "torch",
        "2026-13-45",
        "1e3",
        "\x1b[2J",
    ),
)
NAMES = ("m", "n", "k", "b", "", HOSTILE, "x" * 300, "__proto__", "constructor", "point", "\x00", "layout", "median_s", "index")


@cache
def lines() -> list[dict[str, Any]]:
    """Rows of a run on a CPU and of one on a GPU, as the journal holds them."""
    return [json.loads(row.model_dump_json()) for kind in ("cpu", "cuda") for row in fake_rows(sweep("small"), kind)]


def value(rng: Random, depth: int = 2) -> Any:
    """Any JSON value, and those that JSON does not have but Python writes."""
    kind = rng.random()
    if depth == 0 or kind < 0.7:
        return rng.choice(SCALARS)
    if kind < 0.85:
        return [value(rng, depth - 1) for _ in range(rng.choice((0, 1, 3, 100)))]
    return {rng.choice(NAMES): value(rng, depth - 1) for _ in range(rng.randint(0, 4))}


def with_changes(fields: dict[str, Any], rng: Random) -> dict[str, Any]:
    """Some values replaced, at times a key more or less, one level down too."""
    changed = dict(fields)
    for _ in range(rng.choice((1, 1, 2, 5))):
        key = rng.choice(list(changed) or ["x"])
        inner = changed.get(key)
        if isinstance(inner, dict) and rng.random() < 0.6:
            changed[key] = with_changes(inner, rng) if inner else {rng.choice(NAMES): value(rng)}
        elif rng.random() < 0.1:
            changed.pop(key, None)
        elif rng.random() < 0.05:
            changed[rng.choice(NAMES)] = value(rng)
        elif isinstance(inner, float | int) and rng.random() < 0.5:
            changed[key] = rng.choice([s for s in SCALARS if isinstance(s, float | int)])
        else:
            changed[key] = value(rng)
    return changed


def text(fields: Any) -> bytes:
    """As JSON; lone surrogates stay escaped, NaN and Infinity bare."""
    return json.dumps(fields).replace(json.dumps(LONG_INT), "9" * 5000).encode()


def journal_input(rng: Random) -> bytes:
    """One journal: mostly a line or a few, at times an attack on the reader."""
    kind = rng.random()
    if kind < 0.5:
        return b"\n".join(text(with_changes(rng.choice(lines()), rng)) for _ in range(rng.choice((1, 1, 2, 5)))) + b"\n"
    if kind < 0.85:
        whole = b"".join(text(line) + b"\n" for line in rng.sample(lines(), rng.choice((1, 2, 4))))
        return mutated(whole, rng)
    return rng.choice(ATTACKS)(rng)


def _swollen(rng: Random) -> bytes:
    size = rng.choice((1000, 100_000, 2_000_000))
    line = dict(rng.choice(lines()))
    line[rng.choice(("samples_s", "reason", "label", "dims", "options"))] = rng.choice(
        ([1e-5] * size, "x" * size, {str(i): i + 1 for i in range(min(size, 50_000))}, {str(i): "x" for i in range(min(size, 50_000))})
    )
    return text(line) + b"\n"


def _deep(rng: Random) -> bytes:
    depth = rng.choice((100, 1000, 100_000))
    return rng.choice((b"[", b'{"a":', b'{"dims":{"m":', b"[[],")) * depth + b"\n"


def _many(rng: Random) -> bytes:
    size = rng.choice((100, 10_000, 100_000))
    return rng.choice((b"\n", b"{}\n", b"null\n", b"\r", b"x\n", b"\x00\n", b"\xff\n", b"\x1e\n")) * size


def _giant(rng: Random) -> bytes:
    return rng.choice((b"x", b"9", b'"', b"{", b" ", b"\x00")) * rng.choice((10_000, 1_000_000, 20_000_000))


def _doubled(rng: Random) -> bytes:
    """The same key twice, and the same point twice with another outcome."""
    line = text(rng.choice(lines()))
    return line[:-1] + b',"status":"wrong","median_s":-1.0}\n' + line + b"\n" + line


ATTACKS = (_swollen, _deep, _many, _giant, _doubled)


def environment_input(rng: Random) -> bytes:
    """One environment.json."""
    kind = rng.random()
    fields = ENVIRONMENTS[rng.choice(list(ENVIRONMENTS))]
    if kind < 0.6:
        return text(with_changes(fields, rng))
    if kind < 0.9:
        return mutated(json.dumps(fields).encode(), rng)
    return rng.choice((_deep, _giant, lambda r: text(value(r))))(rng)

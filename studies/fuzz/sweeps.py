"""Sweep files that were never meant to be read: shipped ones damaged, and attacks on each part of the reader."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import cache
from random import Random
from typing import Any

from benches.sweep.load import SWEEPS
from studies.fuzz.mutate import mutated

FILES = ("/dev/zero", "/dev/stdin", "/proc/self/mem", ".", "''", "/etc/shadow")
ENTRY = "- {op: matmul, impl: torch, precision: bf16, dims: {m: 8, n: 8, k: 8}"
KEYS = (
    *("name", "sweeps", "defaults", "max_points", "op", "impl", "precision", "dims", "points", "shapes_from", "where", "exclude", "layout"),
    *(
        "equation",
        "function",
        "to",
        "rhs",
        "operands",
        "data",
        "label",
        "m",
        "n",
        "k",
        "b",
        "tokens",
        "pow2",
        "range",
        "csv",
        "table",
        "<<",
    ),
)
VALUES: Sequence[Any] = (
    *(
        "matmul",
        "einsum",
        "elementwise",
        "torch",
        "triton",
        "bf16",
        "fp8_e4m3",
        "nt",
        "add",
        "cast",
        "none",
        "llama3_8b",
        "m >= k",
        "../x.csv",
    ),
    *(
        0,
        -1,
        1,
        8,
        2**31,
        2**32,
        2**63,
        10**30,
        10**400,
        1.5,
        -0.0,
        float("inf"),
        float("nan"),
        True,
        None,
        "",
        [],
        {},
        "\x1b[2J",
        "é\u2028",
    ),
    *("b i, b j -> i j", "... i -> i", "->", "a" * 5000, "m % (n - n) == 0", "m ** 9 ** 9 > 1", "/dev/zero", "/etc/passwd", "x\0y"),
)


@cache
def shipped() -> tuple[list[bytes], list[int]]:
    """The shipped sweeps and how often each is chosen: `full` expands for half a second, which a few times is enough."""
    files = [(path.stem, path.read_bytes()) for path in sorted(SWEEPS.glob("*.yaml"))]
    return [data for _, data in files], [1 if name == "full" else 10 if name == "nightly" else 40 for name, _ in files]


def sweep_input(rng: Random) -> bytes:
    """One input."""
    kind = rng.random()
    if kind < 0.45:
        files, weights = shipped()
        return mutated(rng.choices(files, weights)[0], rng)
    if kind < 0.7:
        return json.dumps({"sweeps": [_tree(rng, 3) for _ in range(rng.randint(1, 3))]}, allow_nan=True).encode()
    attack = rng.choice(ATTACKS)(rng)
    data = attack if isinstance(attack, bytes) else attack.encode("utf-8", "surrogatepass")
    return mutated(data, rng) if rng.random() < 0.3 else data


def _tree(rng: Random, depth: int) -> Any:
    """Nearly an entry: right keys with wrong values of all shapes."""
    entry: dict[str, Any] = {"op": "matmul", "impl": "torch", "precision": "bf16", "dims": {"m": 8, "n": 8, "k": 8}}
    for _ in range(rng.randint(1, 4)):
        entry[rng.choice(KEYS)] = _value(rng, depth)
    return entry


def _value(rng: Random, depth: int) -> Any:
    kind = rng.random()
    if depth == 0 or kind < 0.5:
        return rng.choice(VALUES)
    if kind < 0.75:
        return [_value(rng, depth - 1) for _ in range(rng.randint(0, 4))]
    return {rng.choice(KEYS): _value(rng, depth - 1) for _ in range(rng.randint(0, 4))}


def _laughs(rng: Random) -> str:
    """Each anchor holds the one before several times."""
    width, depth = rng.randint(2, 12), rng.randint(2, 60)
    lines = ["x0: &x0 [1, 2]"] + [f"x{i}: &x{i} [{', '.join([f'*x{i - 1}'] * width)}]" for i in range(1, depth)]
    return "\n".join([*lines, "sweeps: *x" + str(depth - 1)])


def _merges(rng: Random) -> str:
    """Chains of merge keys, one mapping of many keys merged many times, a mapping merged into itself."""
    keys, times = rng.choice((2, 50, 1000)), rng.choice((2, 50, 1000))
    big = ", ".join(f"k{i}: {i}" for i in range(keys))
    kind = rng.randrange(3)
    if kind == 0:
        return f"defaults: &d {{{big}}}\nsweeps:\n" + f"{ENTRY}, <<: *d}}\n" * times
    if kind == 1:
        return f"defaults: &d {{{big}}}\nsweeps: [{{<<: [{', '.join(['*d'] * times)}]}}]"
    return "sweeps: &a [{<<: *a}]\ndefaults: &b {<<: *b}"


def _deep(rng: Random) -> str:
    depth = rng.choice((15, 25, 500, 20_000, 100_000))
    kind = rng.randrange(5)
    if kind == 0:
        return "sweeps: " + "[" * depth + ("]" * depth if rng.random() < 0.5 else "")
    if kind == 1:
        return "sweeps: " + "{a: " * depth
    if kind == 2:
        return "sweeps:\n" + "- " * depth + "1"
    if kind == 3:
        return "\n".join(" " * i + "a:" for i in range(min(depth, 500)))
    return f"sweeps:\n{ENTRY}, where: '{'(' * depth}m{')' * depth} > 1'}}"


def _large(rng: Random) -> str:
    """Giant lines, keys, numbers, lists, comments."""
    size = rng.choice((1000, 50_000, 1_000_000, 5_000_000))
    return rng.choice(
        (
            lambda: f"name: {'a' * size}",
            lambda: f"{'a' * size}: 1",
            lambda: f"#{'a' * size}\nsweeps: []",
            lambda: f"sweeps:\n{ENTRY}, where: 'm > {'9' * size}'}}",
            lambda: f"sweeps:\n- {{op: matmul, dims: {{m: {'9' * size}}}}}",
            lambda: f"sweeps:\n- {{op: matmul, precision: bf16, dims: {{m: [{'1,' * size}], n: 1, k: 1}}}}",
            lambda: 'sweeps:\n- {op: matmul, points: {table: "m,n,k\\n' + "1,1,1\\n" * (size // 6) + '"}}',
            lambda: "sweeps:\n" + f"{ENTRY}}}\n" * (size // 60),
            lambda: "? " * size,
            lambda: "a" * size + "\n" * size,
            lambda: "\n" * size,
            lambda: "'" + "''" * size,
            lambda: 'sweeps: "' + "\\x41" * size + '"',
            lambda: "sweeps:\n- " + "!<tag:x> " * size,
            lambda: "&a " * size,
            lambda: "sweeps: [" + "&a 1, *a, " * (size // 10),
        )
    )()


def _axes(rng: Random) -> str:
    """Products and ranges that would be huge if expanded before they are counted."""
    bound = rng.choice((100, 10**6, 2**31 - 1, 2**40, 10**100))
    axis = rng.choice(
        (f"{{range: [1, {bound}, 1]}}", f"{{pow2: [1, {bound}]}}", f"{{range: [{bound}, 1, -1]}}", f"{{range: [1, {bound}, 0]}}")
    )
    limit = rng.choice(("", "max_points: 100\n", f"max_points: {bound}\n", "max_points: .inf\n"))
    return f"{limit}sweeps:\n- {{op: matmul, impl: [torch, triton], precision: [bf16, fp16], dims: {{m: {axis}, n: {axis}, k: {axis}}}}}"


def _conditions(rng: Random) -> str:
    where = rng.choice(
        (
            "__import__('os').system('x')",
            "m.__class__",
            "(lambda: 1)() > 0",
            "[x for x in m] > 0",
            "m > 1 " * 40,
            "not " * rng.choice((10, 80, 5000)) + "m > 1",
            "m" + " + m" * rng.choice((20, 60, 3000)) + " > 1",
            "m ** 2 ** 2 ** 2 ** 2 > 1",
            f"m ** {10 ** rng.randint(1, 8)} > 1",
            "m // 0 > 1",
            "m % (n - 8) > 1",
            "1 < m < 2 < n",
            "m > 1e400",
            "m > '" + "x" * 100 + "'",
            "f'{m}' > 1",
            "m if n else k",
            "(yield m) > 1",
            "m := 1",
            "0x" + "f" * 250 + " > m",
            "- " * 140 + "m > 1",
            "\u2028m > 1",
            "m > 1 # \x00",
        )
    )
    return f"sweeps:\n{ENTRY}, {rng.choice(('where', 'exclude'))}: {json.dumps(where)}}}"


def _equations(rng: Random) -> str:
    names = [f"d{i}" for i in range(rng.choice((3, 30, 200)))]
    terms = [" ".join(rng.sample(names, min(len(names), rng.randint(1, 5)))) for _ in range(rng.choice((1, 2, 3, 7, 12, 40)))]
    equation = f"{', '.join(terms)} -> {rng.choice(names)}"
    if rng.random() < 0.3:
        equation = rng.choice(
            ("... ... -> ...", "a a -> a", "-> ->", "a, , b -> a", "a -> b", "1a -> 1a", ", " * 2000 + "->", "a" * 100_000)
        )
    used = dict.fromkeys(name for term in terms for name in term.split())
    return json.dumps({"sweeps": [{"op": "einsum", "precision": "fp32", "equation": equation, "dims": dict.fromkeys(used, 2)}]})


def _bytes(rng: Random) -> bytes:
    return rng.choice(
        (b"", b"\x00", b"\xff\xfe\x00", b"\xef\xbb\xbfsweeps: []", b"\xed\xa0\x80", bytes(rng.randrange(256) for _ in range(300)))
    )


def _syntax(rng: Random) -> str:
    return rng.choice(
        (
            "%YAML 1.1\n---\nsweeps: []",
            "%TAG ! tag:x,2000:\n" * 1000 + "---\n{}",
            "--- {}\n" * 1000,
            "sweeps: !!python/object/apply:os.system [id]",
            "!!binary |\n  R0lGODlhDAAMAIQAAP",
            "sweeps: !!set {a, b}",
            "sweeps: *nothing",
            "sweeps: &a [*a]",
            "? [a, b]\n: 1",
            "sweeps:\n\t- 1",
            "2026-11-23: 1",
            "sweeps: |\n  text",
            "sweeps: >-\n  text\n\n\n  more",
            "a: 1\na: 2\n" * 100,
            "\x85\u2028\u2029sweeps: []",
            "sweeps: []\n...\njunk",
            f"sweeps:\n- {{op: matmul, shapes_from: [{', '.join(['llama3_8b'] * rng.choice((2, 500)))}], dims: {{tokens: [1, 2, 3]}}}}",
            f"sweeps:\n- {{op: matmul, points: {{csv: {rng.choice(FILES)}}}}}",
        )
    )


ATTACKS: Sequence[Callable[[Random], str | bytes]] = (
    *(_laughs, _merges, _deep, _large, _axes, _conditions, _conditions, _equations, _bytes, _syntax, _syntax),
)

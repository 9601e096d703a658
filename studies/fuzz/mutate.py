"""Bytes changed at random, with no idea of what they mean. A seeded random.Random makes every input again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from random import Random

TOKENS = [
    *(b"{", b"}", b"[", b"]", b":", b",", b"- ", b"\n", b"\r", b"\t", b"\x00", b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\xe2\x80\xa8"),
    *(b'"', b"'", b"\\", b"&a ", b"*a", b"<<: ", b"!!python/object/apply:os.system ", b"!!int ", b"%YAML 1.1\n", b"---\n", b"...\n", b"#"),
    *(
        b"NaN",
        b"Infinity",
        b"-Infinity",
        b".nan",
        b".inf",
        b"1e999",
        b"-1",
        b"0",
        b"1" * 400,
        b"9223372036854775808",
        b"0x10",
        b"1_0",
        b"~",
    ),
    *(b"null", b"true", b"</script>", b"{{7*7}}", b"\\ud800", b"\\u0000", b"\x1b[2J", b"../../etc/passwd", b"/dev/zero", b"http://x/"),
]
LONGEST = 300_000  # bytes of one input, but for the few that are made long on purpose


def _flip(data: bytearray, rng: Random) -> None:
    if data:
        data[rng.randrange(len(data))] = rng.randrange(256)


def _insert(data: bytearray, rng: Random) -> None:
    at = rng.randint(0, len(data))
    data[at:at] = rng.choice(TOKENS)


def _delete(data: bytearray, rng: Random) -> None:
    start, stop = _slice(data, rng)
    del data[start:stop]


def _repeat(data: bytearray, rng: Random) -> None:
    start, stop = _slice(data, rng)
    times = rng.choice((2, 2, 3, 10, 100, 1000))
    if (stop - start) * times < LONGEST:
        data[stop:stop] = data[start:stop] * times


def _move(data: bytearray, rng: Random) -> None:
    start, stop = _slice(data, rng)
    part = data[start:stop]
    del data[start:stop]
    at = rng.randint(0, len(data))
    data[at:at] = part


def _truncate(data: bytearray, rng: Random) -> None:
    del data[rng.randint(0, len(data)) :]


def _swap_lines(data: bytearray, rng: Random) -> None:
    lines = data.split(b"\n")
    i, j = rng.randrange(len(lines)), rng.randrange(len(lines))
    lines[i], lines[j] = lines[j], lines[i]
    data[:] = b"\n".join(lines)


def _slice(data: bytearray, rng: Random) -> tuple[int, int]:
    start = rng.randint(0, len(data))
    return start, min(len(data), start + rng.choice((1, 2, 8, 40, 200)))


WAYS: Sequence[Callable[[bytearray, Random], None]] = (_flip, _insert, _insert, _delete, _repeat, _move, _truncate, _swap_lines)


def mutated(data: bytes, rng: Random) -> bytes:
    """One to a few changes; at times spliced from itself and so wrong in its structure."""
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 8))):
        rng.choice(WAYS)(changed, rng)
    return bytes(changed[:LONGEST])

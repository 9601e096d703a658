"""Printing ends no command and changes no exit code, whatever standard output and error are."""

from __future__ import annotations

import ast
import io
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from rich.table import Table

from kernels.console import open_console
from kernels.guard import NAMES, ROOT
from kernels.printing import ASCII, FALLBACK, Rendered, Stream

SOURCES = [path for folder in NAMES if (ROOT / folder).is_dir() for path in sorted((ROOT / folder).rglob("*.py"))]


@pytest.mark.parametrize(
    ("text", "encoding", "shown"),
    [
        ("3.1× → ±448 ≤ 5 µs …", "ascii", b"3.1x -> +/-448 <= 5 us ..."),
        ("3.1× → ±448 ≤ 5 µs …", "latin-1", b"3.1\xd7 -> \xb1448 <= 5 \xb5s ..."),
        ("80e9 B − 0 · 2 — “a”", "cp1252", b"80e9 B - 0 \xb7 2 \x97 \x93a\x94"),
        ("α ✅", "ascii", b"\\u03b1 \\u2705"),
        ("\udcff", "utf-8", b"\\udcff"),
        ("3.1× →", "utf-8", "3.1× →".encode()),
    ],
)
def test_symbols_that_an_encoding_lacks(text: str, encoding: str, shown: bytes) -> None:
    assert text.encode(encoding, FALLBACK) == shown


def test_the_symbols_are_ascii() -> None:
    assert all(text.isascii() and not symbol.isascii() for symbol, text in ASCII.items())


def stream(tmp_path: Path, encoding: str = "utf-8") -> tuple[Stream, Path]:
    """A stream onto a file."""
    path = tmp_path / "out"
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT)
    return Stream(descriptor, io.TextIOWrapper(io.BytesIO(), encoding=encoding)), path


@pytest.mark.parametrize(
    ("texts", "shown"),
    [
        (["\x1b[31mred\x1b[0m \u202ex\n"], "red x\n"),
        (["::error::a\n", "b\n  ::c\n"], ": :error::a\nb\n  : :c\n"),
        (["name: ", "::error\n", " ", "::d\n"], "name: ::error\n : :d\n"),
        (["a", "\n", "::e"], "a\n: :e"),
    ],
)
def test_a_stream_shows_and_obeys_nothing(tmp_path: Path, texts: list[str], shown: str) -> None:
    out, path = stream(tmp_path)
    for text in texts:
        print(text, end="", file=out)
    out.flush()
    assert path.read_text(encoding="utf-8") == shown


def test_colours_of_our_own_stay(tmp_path: Path) -> None:
    out, path = stream(tmp_path)
    print("\x1b[31mred\x1b[0m", file=Rendered(out))  # type: ignore[arg-type]
    out.flush()
    assert path.read_text(encoding="utf-8") == "\x1b[31mred\x1b[0m\n"


def test_a_console_shows_names_as_they_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, path = stream(tmp_path, "ascii")
    monkeypatch.setattr(sys, "stdout", out)
    console = open_console(width=40)
    console.print("b.h:b:x \x1b]0;title\x07→ ± done", markup=False, highlight=False)
    table = Table("a", "b")
    table.add_row("±448", "x\x07")
    console.print(table)
    out.flush()
    lines = path.read_text(encoding="ascii").splitlines()
    assert lines[0] == "b.h:b:x -> +/- done"
    assert len({len(line) for line in lines[1:]}) == 1, "columns stay columns"
    assert "| +/-448 | x |" in lines


@pytest.mark.parametrize("number", ["full", "pipe", "closed"])
def test_writes_that_fail_are_counted_and_raise_nothing(number: str) -> None:
    if number == "full":
        descriptor = os.open("/dev/full", os.O_WRONLY)
    else:
        reader, descriptor = os.pipe()
        os.close(reader)
    if number == "closed":
        os.close(descriptor)
    out = Stream(descriptor, None)
    print("x" * 100_000, file=out)
    out.flush()
    assert out.descriptor.lost is not None


def test_a_pipe_that_does_not_block_loses_nothing() -> None:
    """As Node.js and ssh leave a terminal that they share."""
    reader, descriptor = os.pipe()
    os.set_blocking(descriptor, False)
    sizes = subprocess.Popen(["wc", "-c"], stdin=reader, stdout=subprocess.PIPE, encoding="ascii")
    os.close(reader)
    out = Stream(descriptor, None)
    print("x" * 1_000_000, end="", file=out)
    out.flush()
    os.close(descriptor)
    assert sizes.communicate(timeout=60)[0].strip() == "1000000"


COMMAND = (sys.executable, "-m", "kernels", "precisions")
PLACES = {  # a shell's redirections, and what arrives on standard error
    ">/dev/full": "note: some output was lost: No space left on device\n",
    ">/dev/full 2>/dev/full": "",
    "<&- >&- 2>&-": "",
    "| head -1": "",
}


@pytest.mark.slow
@pytest.mark.parametrize("place", PLACES)
def test_a_command_ends_as_at_a_terminal(place: str) -> None:
    script = f"{shlex.join(COMMAND)} {place}; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", script], cwd=ROOT, capture_output=True, encoding="utf-8", check=False)
    assert (done.returncode, done.stderr) == (0, PLACES[place])


@pytest.mark.slow
@pytest.mark.parametrize(("encoding", "line"), [("ascii", "stays at +/-448"), ("latin-1", "stays at ±448")])
def test_a_command_prints_in_any_encoding(encoding: str, line: str) -> None:
    environment = os.environ | {"PYTHONIOENCODING": f"{encoding}:strict"}
    done = subprocess.run(COMMAND, cwd=ROOT, env=environment, capture_output=True, check=True)
    assert line in done.stdout.decode(encoding)


@pytest.mark.slow
@pytest.mark.parametrize("command", ["reports nightly", "kernels inspect --gpu none"])
def test_a_refusal_keeps_its_exit_code(command: str) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run([sys.executable, "-m", *command.split()], cwd=ROOT, stdout=full, stderr=full, check=False)
    assert done.returncode == 2


@pytest.mark.parametrize("folder", [name for name in NAMES if (ROOT / name / "__main__.py").exists()])
def test_every_entry_point_prints_safely(folder: str) -> None:
    assert "    print_safely()\n" in (ROOT / folder / "__main__.py").read_text(encoding="utf-8")


@pytest.mark.slow
def test_every_console_is_made_in_one_place() -> None:
    """A console made elsewhere would let escape sequences in names through."""
    makers = {
        path.relative_to(ROOT).as_posix()
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("Console", "SafeConsole")
    }
    assert makers == {"kernels/console.py"}

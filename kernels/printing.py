"""Output of all commands: it reaches any terminal, pipe or log, and where it cannot, the exit code does not change."""

from __future__ import annotations

import atexit
import codecs
import errno
import io
import os
import select
import sys
from contextlib import suppress
from typing import Any, TextIO

from kernels.escaping import loggable, printable

# What is printed where an encoding lacks a symbol. Everything else that it lacks becomes an escape such as \u03b1.
ASCII = {
    **{"\xa0": " ", "°": "deg", "±": "+/-", "²": "^2", "³": "^3", "µ": "u", "μ": "u", "·": "*", "½": "1/2", "×": "x", "÷": "/"},
    **{"σ": "sigma", "–": "-", "—": "--", "−": "-", "‘": "'", "’": "'", "“": '"', "”": '"', "•": "*", "…": "...", "→": "->", "←": "<-"},
    **{"√": "sqrt", "≈": "~", "≠": "!=", "≤": "<=", "≥": ">=", "∞": "inf", "✓": "v", "✕": "x", "■": "#", "●": "o", "◆": "*"},
    **{"▲": "^", "△": "^", "▼": "v", "▽": "v", "─": "-", "━": "-", "╸": "-", "╺": "-"},
}
FALLBACK = "symbols as ASCII"  # the name of the error handler


def as_ascii(error: UnicodeError) -> tuple[str | bytes, int]:
    """For codecs: what is written in place of characters that an encoding lacks."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(ASCII.get(c) or c.encode("ascii", "backslashreplace").decode() for c in lacking), error.end


codecs.register_error(FALLBACK, as_ascii)


class Unfailing(io.RawIOBase):
    """A descriptor whose writes never raise: where a disk is full or a pipe closed, bytes are lost, and `lost` holds the error."""

    def __init__(self, descriptor: int):
        self._descriptor = descriptor
        self.lost: OSError | None = None

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def write(self, data: Any) -> int:
        """Writes all of it. Returns the number of bytes, lost ones included."""
        left = memoryview(data).cast("B")
        while left:
            try:
                left = left[os.write(self._descriptor, left) :]
            except BlockingIOError:  # another process made the shared terminal or pipe non-blocking: wait
                select.select([], [self._descriptor], [])
            except OSError as error:
                self.lost = error
                break
        return memoryview(data).nbytes


class Stream(io.TextIOWrapper):
    """Standard output or error. No text is interpreted as a command: see escaping.printable and loggable."""

    def __init__(self, descriptor: int, like: TextIO | None, shared: bool = False):
        """like: the stream that it replaces, None where the descriptor was closed. shared: others keep writing to that stream, so it is
        flushed first, and nothing is buffered here."""
        self.descriptor = Unfailing(descriptor)
        settings: dict[str, Any] = {"encoding": "utf-8"} if like is None else {"encoding": like.encoding}
        if isinstance(like, io.TextIOWrapper):
            settings |= {"line_buffering": like.line_buffering, "write_through": like.write_through}
        if shared:
            settings |= {"line_buffering": False, "write_through": True}
        buffer: Any = self.descriptor if settings.get("write_through") else io.BufferedWriter(self.descriptor)
        super().__init__(buffer, errors=FALLBACK, newline="", **settings)
        self._like = like if shared else None
        self._begun = False  # the line already has text

    def write(self, text: str) -> int:
        self.write_rendered(printable(text))
        return len(text)

    def write_rendered(self, text: str) -> int:
        """Writes text whose escape sequences are our own."""
        if self._like is not None:
            with suppress(OSError):
                self._like.flush()
        begun = "." if self._begun else ""
        super().write(loggable(begun + text)[len(begun) :])
        last = text.rpartition("\n")[2]
        self._begun = bool(last.strip()) or (self._begun and "\n" not in text)
        return len(text)


class Rendered:
    """A stream for Rich and pytest, which write colours of their own."""

    def __init__(self, stream: Stream):
        self._stream = stream

    def write(self, text: str) -> int:
        return self._stream.write_rendered(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def print_safely() -> None:
    """Replaces sys.stdout and sys.stderr, so that printing neither raises nor changes the exit code, whatever descriptors 1 and 2 are.

    Without it a symbol that the terminal lacks (× in ASCII), a full disk, a closed pipe (`| head -1`) or a closed descriptor (`>&-`) ends
    the command with exit code 1, which elsewhere means a regression, or Python's flush at exit makes it 120.
    """
    _open_closed()
    out = sys.stdout = Stream(1, sys.stdout)
    sys.stderr = Stream(2, sys.stderr)
    atexit.register(say_what_was_lost, out, sys.stderr)


def end(stream: TextIO | None, descriptor: int) -> None:
    """Flushes a stream for the last time. Where that fails, its descriptor is silenced: Python would try again at exit."""
    try:
        if stream is not None:
            stream.flush()
    except OSError:
        silence(descriptor)


def silence(descriptor: int) -> None:
    """Points a descriptor at /dev/null."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    if nowhere == descriptor:  # it was closed, and was the lowest free one
        os.set_inheritable(descriptor, True)
        return
    os.dup2(nowhere, descriptor)
    os.close(nowhere)


def _open_closed() -> None:
    """Opens closed descriptors 0 to 2: a file opened later would get such a number, and with it the output."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            silence(descriptor)


def say_what_was_lost(out: Stream, error: TextIO) -> None:
    """Prints a note to `error` if output to `out` was lost, unless the reader or the user closed it."""
    out.flush()
    lost = out.descriptor.lost
    if lost is not None and lost.errno not in (errno.EPIPE, errno.EBADF):  # `| head -1`, `>&-`
        print(f"note: some output was lost: {lost.strerror}", file=error)

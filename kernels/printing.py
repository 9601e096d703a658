"""The one door for what commands print: it reaches any terminal, pipe or log, and where it cannot, the exit code stays what it was."""

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
    """For codecs: what stands in the place of characters that an encoding lacks."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(ASCII.get(c) or c.encode("ascii", "backslashreplace").decode() for c in lacking), error.end


codecs.register_error(FALLBACK, as_ascii)


class Unfailing(io.RawIOBase):
    """A descriptor whose writes never raise: where a disk is full or a pipe closed, bytes are lost, and `lost` says why."""

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
        """Writes all of it; how many bytes are done with."""
        left = memoryview(data).cast("B")
        while left:
            try:
                left = left[os.write(self._descriptor, left) :]
            except BlockingIOError:  # whoever shares the terminal or pipe made it so: wait as if nobody had
                select.select([], [self._descriptor], [])
            except OSError as error:
                self.lost = error
                break
        return memoryview(data).nbytes


class Stream(io.TextIOWrapper):
    """Standard output or error. It shows text and obeys none of it: see escaping.printable and loggable."""

    def __init__(self, descriptor: int, like: TextIO | None, shared: bool = False):
        """like: what stood in its place, None where the descriptor was closed. shared: others go on to write to that one, so what they
        wrote comes first, and nothing is held back here."""
        self.descriptor = Unfailing(descriptor)
        settings: dict[str, Any] = {"encoding": "utf-8"} if like is None else {"encoding": like.encoding}
        if isinstance(like, io.TextIOWrapper):
            settings |= {"line_buffering": like.line_buffering, "write_through": like.write_through}
        if shared:
            settings |= {"line_buffering": False, "write_through": True}
        buffer: Any = self.descriptor if settings.get("write_through") else io.BufferedWriter(self.descriptor)
        super().__init__(buffer, errors=FALLBACK, newline="", **settings)
        self._like = like if shared else None
        self._begun = False  # something stands on the line already

    def write(self, text: str) -> int:
        self.write_rendered(printable(text))
        return len(text)

    def write_rendered(self, text: str) -> int:
        """Text whose escape sequences are our own."""
        if self._like is not None:
            with suppress(OSError):
                self._like.flush()
        begun = "." if self._begun else ""
        super().write(loggable(begun + text)[len(begun) :])
        last = text.rpartition("\n")[2]
        self._begun = bool(last.strip()) or (self._begun and "\n" not in text)
        return len(text)


class Rendered:
    """A stream as Rich and pytest write to it, with colours of their own."""

    def __init__(self, stream: Stream):
        self._stream = stream

    def write(self, text: str) -> int:
        return self._stream.write_rendered(text)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def print_safely() -> None:
    """From now on printing neither raises nor changes the exit code, whatever stands behind the descriptors 1 and 2.

    Without it a symbol that the terminal lacks (× in ASCII), a full disk, a closed pipe (`| head -1`) or a closed descriptor (`>&-`) ends
    the command with exit code 1, which elsewhere means a regression, or Python's flush at exit makes it 120.
    """
    _open_closed()
    out = sys.stdout = Stream(1, sys.stdout)
    sys.stderr = Stream(2, sys.stderr)
    atexit.register(say_what_was_lost, out, sys.stderr)


def end(stream: TextIO | None, descriptor: int) -> None:
    """Empties a stream for good, into its descriptor or, where that cannot be written to, nowhere: Python would try again at exit."""
    try:
        if stream is not None:
            stream.flush()
    except OSError:
        silence(descriptor)


def silence(descriptor: int) -> None:
    """Leads a descriptor nowhere."""
    nowhere = os.open(os.devnull, os.O_RDWR)
    if nowhere == descriptor:  # it was closed, and is the lowest that was free
        os.set_inheritable(descriptor, True)
        return
    os.dup2(nowhere, descriptor)
    os.close(nowhere)


def _open_closed() -> None:
    """A file opened later would get a closed descriptor's number, and with it what is printed."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            silence(descriptor)


def say_what_was_lost(out: Stream, error: TextIO) -> None:
    """Prints to `error`, at the end, that some of what was printed to `out` did not arrive, if that is so and nobody wanted it so."""
    out.flush()
    lost = out.descriptor.lost
    if lost is not None and lost.errno not in (errno.EPIPE, errno.EBADF):  # a reader has seen enough, `>&-`
        print(f"note: not all that was printed arrived: {lost.strerror}", file=error)

"""The one door for what commands print: it reaches any terminal, pipe or log, and where it cannot, the exit code stays what it was."""

from __future__ import annotations

import atexit
import codecs
import errno
import io
import os
import select
import sys
from typing import Any, TextIO

from kernels.escaping import loggable, printable

# What is printed where an encoding lacks a symbol. Everything else that it lacks becomes an escape such as \u03b1.
ASCII = {
    **{" ": " ", "°": "deg", "±": "+/-", "²": "^2", "³": "^3", "µ": "u", "μ": "u", "·": "*", "½": "1/2", "×": "x", "÷": "/"},
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

    def __init__(self, descriptor: int, like: TextIO | None):
        """like: what stood in its place, None where the descriptor was closed."""
        self.descriptor = Unfailing(descriptor)
        settings: dict[str, Any] = {"encoding": "utf-8"} if like is None else {"encoding": like.encoding}
        if isinstance(like, io.TextIOWrapper):
            settings |= {"line_buffering": like.line_buffering, "write_through": like.write_through}
        buffer: Any = self.descriptor if settings.get("write_through") else io.BufferedWriter(self.descriptor)
        super().__init__(buffer, errors=FALLBACK, newline="", **settings)
        self._begun = False  # something stands on the line already

    def write(self, text: str) -> int:
        self.write_rendered(printable(text))
        return len(text)

    def write_rendered(self, text: str) -> int:
        """Text whose escape sequences are our own."""
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
    out = sys.stdout = steady(1, sys.stdout)
    sys.stderr = steady(2, sys.stderr)
    atexit.register(_say_what_was_lost, out)


def steady(descriptor: int, stream: TextIO | None) -> Stream:
    """A Stream in the place of `stream`, which is flushed first."""
    if isinstance(stream, Stream):
        return stream
    try:
        if stream is not None:
            stream.flush()
    except OSError:
        silence(descriptor)
    return Stream(descriptor, stream)


def silence(descriptor: int) -> None:
    """Leads a descriptor that cannot be written to nowhere: Python would try again at exit what it still holds, and fail."""
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


def _say_what_was_lost(out: Stream) -> None:
    out.flush()
    lost = out.descriptor.lost
    if lost is not None and lost.errno != errno.EPIPE:  # a reader who has seen enough has closed the pipe
        print(f"note: not all that was printed arrived: {lost.strerror}", file=sys.stderr)

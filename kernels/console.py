"""Rich's console, as every command makes it."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from kernels.escaping import printable
from kernels.printing import FALLBACK, Rendered, Stream


class SafeConsole(Console):
    """A console that takes escape sequences and other control characters out of what it is given to show."""

    def render_str(self, text: str, **options: Any) -> Text:
        """What is not shown as it is goes here already, so that columns are as wide as what is written into them; not where that could make
        markup."""
        if "[" not in text or options.get("markup") is False:
            text = printable(text).encode(self.encoding, FALLBACK).decode(self.encoding)
        return super().render_str(text, **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)


def open_console(error: bool = False, width: int | None = None) -> Console:
    """A console on standard output, or error. width: None for the terminal's. `:name:` in a point's id stays what it is."""
    stream = sys.stderr if error else sys.stdout
    file: Any = Rendered(stream) if isinstance(stream, Stream) else None
    return SafeConsole(file=file, stderr=error, width=width, emoji=False)

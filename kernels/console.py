"""The Rich console that every command prints through."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Any, TextIO

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment
from rich.text import Text

from kernels.escaping import printable
from kernels.printing import FALLBACK, Rendered, Stream


class SafeConsole(Console):
    """A console that removes escape sequences and other control characters from the text that it shows."""

    def render_str(self, text: str, **options: Any) -> Text:
        """Replaces unprintable characters before Rich measures the text, so that columns fit what is written; not where a replacement could
        become markup."""
        if "[" not in text or options.get("markup") is False:
            text = printable(text).encode(self.encoding, FALLBACK).decode(self.encoding)
        return super().render_str(text, **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)


def text_console(file: TextIO, width: int, colour: bool) -> Console:
    """A console that prints into `file`, whatever the terminal; `colour` with ANSI colours."""
    return SafeConsole(file=file, width=width, force_terminal=colour, no_color=not colour, emoji=False, legacy_windows=False)


def open_console(error: bool = False, width: int | None = None) -> Console:
    """A console on standard output, or error. width: None for the terminal's. `:name:` in a point's id is not turned into an emoji."""
    stream = sys.stderr if error else sys.stdout
    file: Any = Rendered(stream) if isinstance(stream, Stream) else None
    return SafeConsole(file=file, stderr=error, width=width, emoji=False)

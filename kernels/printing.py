"""What a command prints reaches any terminal, pipe or log, in whatever encoding it is."""

from __future__ import annotations

import io
import sys


def escape_unprintable() -> None:
    """From now on stdout shows a character that its encoding lacks (× or → in Latin-1 or ASCII) as an escape, as stderr does anyway,
    instead of ending the command with a UnicodeEncodeError."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")

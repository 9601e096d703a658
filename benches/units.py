"""Times, sizes and clocks as text, for terminals. Values stay in SI everywhere else."""

from __future__ import annotations


def time_text(seconds: float) -> str:
    """A time with three digits."""
    for unit, factor in (("h", 3600.0), ("min", 60.0), ("s", 1.0), ("ms", 1e-3)):
        if seconds >= factor:
            return f"{seconds / factor:.3g} {unit}"
    return f"{seconds * 1e6:.3g} us"


def bytes_text(count: int) -> str:
    """A size in decimal units, as memory is sold."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if count >= factor:
            return f"{count / factor:.3g} {unit}"
    return f"{count} B"


def gigabytes(count: float) -> str:
    """Returns a size in bytes as text, always in GB, so that sizes of one machine can be compared."""
    return f"{count / 1e9:.3g} GB"


def megahertz(hertz: float) -> str:
    """Returns a clock in hertz as text in MHz, the unit of nvidia-smi."""
    return f"{hertz / 1e6:.0f} MHz"

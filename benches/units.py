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
    """A size in GB whatever it is, so that those of one machine read alike."""
    return f"{count / 1e9:.3g} GB"


def megahertz(hertz: float) -> str:
    """A clock in MHz, as nvidia-smi shows and takes it."""
    return f"{hertz / 1e6:.0f} MHz"

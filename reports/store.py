"""rows.parquet (everything) and rows.csv (everything but the samples), rebuilt from the journal; a reader never sees half a file."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pandas as pd


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """`write` fills a temporary file beside `path`, which then takes its place. Raises OSError; leaves no temporary file."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_tables(frame: pd.DataFrame, run_dir: Path) -> None:
    """Both files, in the run directory."""
    write_atomically(run_dir / "rows.parquet", lambda path: frame.to_parquet(path, compression="zstd", index=False))
    write_atomically(run_dir / "rows.csv", lambda path: frame.drop(columns="samples_s").to_csv(path, index=False))

"""rows.parquet (everything) and rows.csv (everything but the samples), rebuilt from the journal; a reader never sees half a file."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from kernels.escaping import cell
from kernels.writing import write_file


def write_tables(frame: pd.DataFrame, run_dir: Path) -> None:
    """Both files, in the run directory."""
    write_file(run_dir / "rows.parquet", lambda path: frame.to_parquet(path, compression="zstd", index=False))
    write_file(run_dir / "rows.csv", lambda path: spreadsheet(frame.drop(columns="samples_s")).to_csv(path, index=False))


def spreadsheet(frame: pd.DataFrame) -> pd.DataFrame:
    """The frame with its texts as escaping.cell makes them."""
    return frame.assign(**{str(name): frame[name].map(cell) for name in frame if not pd.api.types.is_numeric_dtype(frame[name])})

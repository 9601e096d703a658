"""Where each GPU is: a CSV of host, gpu, rack and slot, with columns of one's own."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from reports.refusal import RunError

REQUIRED = ("host", "gpu")
PLACES = ("rack", "slot")
MOST_SHOWN = 60  # characters of a cell that a message repeats


def read_inventory(path: Path) -> pd.DataFrame:
    """Returns a line a GPU: `host`, `gpu` (its index, the beginning of its UUID, or empty for every GPU of the host), `rack`, `slot` and
    whatever other columns the file has, all text. Raises RunError, one line with the file and the line in it."""
    try:
        lines = pd.read_csv(path, header=None, dtype=str, keep_default_na=False, skip_blank_lines=False, encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise RunError(f"{path}: {_unreadable(error)}") from error
    lines = lines.fillna("").apply(lambda column: column.str.strip()).set_axis(range(1, len(lines) + 1))
    found = lines.iloc[1:].set_axis(lines.iloc[0].str.lower(), axis=1)
    if missing := [name for name in REQUIRED if name not in found]:
        raise RunError(f"{path}:1: no column {', '.join(missing)}; the columns are host,gpu,rack,slot and others of your own")
    if not found.columns.is_unique:
        raise RunError(f"{path}:1: column {found.columns[found.columns.duplicated()][0]!r} is named twice")
    found = found[(found != "").any(axis=1)]
    _check(found, path)
    return found.reindex(columns=[*REQUIRED, *PLACES, *(name for name in found if name not in (*REQUIRED, *PLACES))], fill_value="")


def _check(found: pd.DataFrame, path: Path) -> None:
    nameless = found.index[found["host"] == ""]
    if len(nameless):
        raise RunError(f"{path}:{nameless[0]}: host is empty; name the machine as survey.json does")
    wrong = found[~found["gpu"].str.fullmatch(r"\d{1,4}|GPU-[0-9A-Za-z-]{4,}|")]
    if len(wrong):
        text = wrong["gpu"].iloc[0][:MOST_SHOWN]
        raise RunError(f"{path}:{wrong.index[0]}: gpu: {text!r} is not an index, a UUID (GPU-…) or empty for every GPU of the host")
    key = found["host"].str.lower() + "\n" + found["gpu"].str.lstrip("0").where(found["gpu"].str.strip("0") != "", found["gpu"])
    again = key[key.duplicated()]
    if len(again):
        first = key.index[key == again.iloc[0]][0]
        host, gpu = found.loc[again.index[0], "host"][:MOST_SHOWN], found.loc[again.index[0], "gpu"] or "(all)"
        raise RunError(f"{path}:{again.index[0]}: host {host}, gpu {gpu} is on line {first} already; keep one of them")


def _unreadable(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"cannot be read ({error.strerror})"
    if isinstance(error, UnicodeDecodeError):
        return f"not UTF-8 text ({error.reason} at byte {error.start})"
    return f"not a CSV: {' '.join(str(error).split())}"


def places(boards: pd.DataFrame, inventory: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Returns the inventory's columns for each board, in the boards' order and null where it names none, and what to know about it.

    boards: `gpu` (UUID), `host`, `index`. A host's name counts to its first dot where the whole does not match.
    """
    names = [name for name in inventory if name not in REQUIRED]
    pairs = zip(inventory["host"].str.lower(), inventory["gpu"].str.lower(), strict=True)
    by_key = {pair: i for i, pair in enumerate(pairs)}
    by_uuid = [(gpu.lower(), i) for i, gpu in enumerate(inventory["gpu"]) if gpu.lower().startswith("gpu-")]

    def line_of(uuid: str, host: str, index: int) -> int | None:
        for begun, i in by_uuid:
            if uuid.lower().startswith(begun):
                return i
        tried = [(name, gpu) for gpu in (str(index), "") for name in dict.fromkeys((host.lower(), host.lower().split(".")[0]))]
        return next((by_key[key] for key in tried if key in by_key), None)

    lines = [line_of(*one) for one in zip(boards["gpu"], boards["host"], boards["index"], strict=True)]
    found = pd.DataFrame(
        {name: [None if i is None else inventory[name].iloc[i] or None for i in lines] for name in names}, boards.index, dtype=object
    )
    absent = [f"{host}, gpu {index}" for host, index, i in zip(boards["host"], boards["index"], lines, strict=True) if i is None]
    if not absent:
        return found, []
    several = f"{len(absent):,} of {len(lines):,} GPUs are" if len(lines) > 1 else "the GPU is"
    return found, [f"{several} not in the inventory, such as host {absent[0]}: rack and slot are not known"]

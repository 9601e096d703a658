"""A run directory as a DataFrame: one row a point, every status kept, in the journal's order. Columns: reports/columns.py."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import pandas as pd

from benches.row import Conditions, NewerRow, Row
from reports.columns import BY_NAME, COLUMNS
from reports.derive import derive
from reports.environment import Environment


def build_frame(rows: Sequence[Row], environment: Environment) -> pd.DataFrame:
    """Columns of the rows and the derived ones, in the order of the column list."""
    records = [_record(row) for row in rows]
    newer = dict.fromkeys(name for row in rows if isinstance(row, NewerRow) for name, _ in _unknown(row))
    base = pd.DataFrame(records, columns=[*_base_columns(), *newer])
    for name in _numeric_columns():
        base[name] = _numbers(base[name])
    frame = base.assign(**derive(rows, base, environment))
    known = [c.name for c in COLUMNS if c.name in frame]
    return frame[known + [name for name in frame if name not in known]]


def _record(row: Row) -> dict[str, object]:
    """One row, flat: nested objects that differ from op to op stay JSON, so that the columns are the same for every sweep."""
    record = row.model_dump(include=set(Row.model_fields))
    conditions = row.conditions.model_dump(include=set(Conditions.model_fields))
    del record["conditions"]
    reasons = conditions["throttle_reasons"]
    record |= conditions
    record["throttle_reasons"] = ", ".join(reasons) if reasons else None
    record["dims"] = _json(row.dims)
    record["options"] = _json(row.options)
    record["process_medians_s"] = _json(row.process_medians_s) if row.process_medians_s else None
    record["dropped"] = _json(row.dropped) if row.dropped else None
    record["phases_s"] = _json(row.phases_s) if row.phases_s else None
    record["loops"] = _json(row.loops) if row.loops else None
    record["shape"] = "×".join(map(str, row.dims.values()))
    record["samples"] = len(row.samples_s)
    return record | dict(_unknown(row)) if isinstance(row, NewerRow) else record


def _unknown(row: NewerRow) -> Iterator[tuple[str, str | None]]:
    """Fields that this version does not know, as text; one that is named like a column of this version gets another name."""
    for name, value in row.unknown():
        column = f"newer {name}" if name in BY_NAME or name in _base_columns() else name
        yield column, None if value is None else value if isinstance(value, str) else _json(value)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _numbers(values: pd.Series) -> pd.Series:
    """int64 or float64. FLOPs of a shape that only a plan can hold exceed 64 bits, which Parquet has no integer for."""
    numbers = pd.to_numeric(values)
    return numbers if numbers.dtype.kind in "if" else numbers.astype(float)


def _base_columns() -> list[str]:
    return [*(n for n in Row.model_fields if n != "conditions"), *Conditions.model_fields, "shape", "samples"]


def _numeric_columns() -> list[str]:
    """Columns without a single value would otherwise be objects, and a column of None and floats a mix."""
    base = set(_base_columns())
    return [c.name for c in COLUMNS if c.numeric and c.name in base]

"""What the page's script reads: rows, their texts, and the figures; and how that and the libraries are packed into the page."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import plotly
from itables.utils import find_package_file

from reports.charts import Chart
from reports.columns import GROUPS, Column, column
from reports.palette import STATUSES, Tone
from reports.units import show

DIGITS = 7  # significant ones of a float on the page; rows.csv and rows.parquet have them all
LEFT_OUT = ("samples_s",)  # 1,000 samples × 10,000 points would be 100 MB


def payload(
    frame: pd.DataFrame,
    charts: Iterable[Chart],
    describe: Callable[[str], Column] = column,
    groups: Sequence[str] = GROUPS,
    statuses: Mapping[str, tuple[Tone, str]] = STATUSES,
) -> str:
    """JSON. Columns without any value are left out; numbers come raw, for sorting and CSV, and as the text that is shown.

    The frame has `point` and `status`; `describe`, `groups` and `statuses` say what its columns and statuses are, in their order.
    """
    columns = [describe(str(name)) for name in frame if name not in LEFT_OUT and frame[name].notna().any()]
    values: dict[str, list[object]] = {c.name: _plain(frame[c.name]) for c in columns}
    texts = {c.name: _texts(values[c.name], c.unit) for c in columns if c.numeric}
    described = [
        {"name": c.name, "label": c.label, "doc": c.doc, "group": c.group, "numeric": c.numeric, "table": c.table, "hover": c.hover}
        for c in columns
    ]
    marks = {name: {"tone": tone, "sign": sign, "rank": rank} for rank, (name, (tone, sign)) in enumerate(statuses.items())}
    rows = {"columns": described, "groups": groups, "statuses": marks, "values": values, "texts": texts}
    packed = json.dumps(rows, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return f'{{"rows":{packed},"charts":{{{",".join(chart.to_json() for chart in charts if not chart.few)}}}}}'


def _texts(values: list[object], unit: str) -> list[str]:
    """Each distinct value is formatted once: costs and clocks repeat from point to point."""
    texts = {value: show(value, unit) for value in set(values)}
    return [texts[value] for value in values]


def _plain(series: pd.Series) -> list[object]:
    """Python values, None for what is missing; whole numbers stay whole."""
    if series.dtype.kind == "f":
        finite = np.isfinite(series.to_numpy())
        return [_short(v) if ok else None for v, ok in zip(series.tolist(), finite, strict=True)]
    return series.astype(object).where(series.notna(), None).tolist()


def _short(value: float) -> float | int:
    return int(value) if value.is_integer() and abs(value) < 2**53 else float(f"{value:.{DIGITS}g}")


def pack(text: str | bytes, level: int = 6) -> str:
    """gzip, then base64: no character of it can end a script element."""
    data = text.encode() if isinstance(text, str) else text
    return base64.b64encode(gzip.compress(data, level, mtime=0)).decode()


@cache
def libraries() -> tuple[tuple[str, str], ...]:
    """Plotly's and itables' own bundles, packed, by the id under which the page's script asks for them."""
    plotly_js = Path(plotly.__file__).parent / "package_data" / "plotly.min.js"
    bundles = {"plotly": plotly_js, "datatables": find_package_file("html/dt_bundle.js")}
    return tuple((name, pack(path.read_bytes())) for name, path in bundles.items())

"""The page of 10,000 rows: seconds to write, bytes."""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

from benches.row import new_row
from kernels.registry import OPS
from reports.build import build_report

ROWS = 10_000


def write_run(folder: Path) -> None:
    """A run of 10,000 timed points, made up."""
    op = OPS["matmul"]
    lines = []
    for i in range(ROWS):
        point = op.point(("torch", "triton")[i % 2], ("bf16", "fp16")[i // 2 % 2], {"m": 128 + i // 4, "n": 4096, "k": 4096})
        seconds = 1e-5 * (1 + i % 97 / 97)
        row = new_row(point, op.cost(point, "cuda"), "ok", median_s=seconds, ci_low_s=seconds, ci_high_s=seconds, samples_s=[seconds] * 30)
        lines.append(row.model_dump_json())
    (folder / "rows.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    environment = {
        "device_kind": "simulated",
        "device_name": "made up for a benchmark",
        "gpu": "h100_sxm5",
        "started_utc": "2026-01-01T00:00:00+00:00",
    }
    (folder / "environment.json").write_text(json.dumps(environment), encoding="utf-8")


def figures() -> list[tuple[str, float, float, str]]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_run(folder)
        start = time.perf_counter()
        path = build_report(folder)
        seconds = time.perf_counter() - start
        size = path.stat().st_size / 1e6
    return [(f"page of {ROWS:,} rows", seconds, 5.0, "s"), (f"page of {ROWS:,} rows", size, 8.0, "MB")]

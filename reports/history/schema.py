"""What the history keeps of a run: one line a point, and one a sentinel's reading. SI units stand in the names."""

from __future__ import annotations

import pyarrow as pa

# In every file's metadata, under MARK; a file without it is not a history's. It grows where a column changes its type or is removed.
VERSION = "1"
MARK = b"microbench_history"

RUN = {  # the same on every line of a file
    "run": pa.string(),  # who, when and on what, hashed: the file's name
    "run_dir": pa.string(),  # where the run's page is
    "started_utc": pa.timestamp("us", tz="UTC"),
    "host": pa.string(),
    "device_kind": pa.string(),  # cuda, cpu, simulated, or imported
    "device_name": pa.string(),
    "device_uuid": pa.string(),
    "driver": pa.string(),
    "clock_policy": pa.string(),
    "torch": pa.string(),
    "triton": pa.string(),
    "cublas": pa.string(),
    "cuda_runtime": pa.string(),
    "cudnn": pa.string(),
    "vbios": pa.string(),
    "tuned": pa.string(),  # the hash of the file of tuned choices; null: none
    "variables": pa.string(),  # JSON: those that can change a time, of benches.run.variables
    "commit": pa.string(),
    "dirty": pa.bool_(),
    "sweep": pa.string(),
    "narrowed_by": pa.string(),  # pytest options that selected some of its points; null: all, or not recorded
}
POINT = {
    "point": pa.string(),
    "op": pa.string(),
    "impl": pa.string(),
    "precision": pa.string(),
    "dims": pa.string(),  # JSON
    "regime": pa.string(),
    "cache": pa.string(),
    "status": pa.string(),  # of benches.row.Status, or "sentinel"
    "reason": pa.string(),
    "median_s": pa.float64(),
    "ci_low_s": pa.float64(),
    "ci_high_s": pa.float64(),
    "flops": pa.float64(),
    "bytes": pa.float64(),
    "config": pa.string(),
    "source_hash": pa.string(),
    "machine_code_hash": pa.string(),
    "sm_clock_hz": pa.float64(),
    "memory_clock_hz": pa.float64(),
    "power_w": pa.float64(),
    "temperature_c": pa.float64(),
    "throttle_reasons": pa.string(),
    "mode": pa.string(),  # of benches.devices.base.Mode
    "duty": pa.float64(),
    "cost_source": pa.string(),  # of benches.row.CostSource: where `flops` and `bytes` come from
    "tolerance": pa.string(),  # of benches.row.ToleranceSource
}
ADDED = {  # in SQL; a file from before these were kept lacks them, and they are null on its lines
    **{"mode": "VARCHAR", "duty": "DOUBLE"},
    **dict.fromkeys(("cuda_runtime", "cudnn", "vbios", "variables", "narrowed_by", "cost_source", "tolerance", "tuned"), "VARCHAR"),
}
SCHEMA = pa.schema(list((RUN | POINT).items()), metadata={MARK: VERSION.encode()})
SENTINEL = "sentinel"

# What a series is, besides its point: where one of these changes, a new series begins, and times are never set against each other.
# A line without a mode, from an older file, is of the mode that its point was timed by next: no series begins anew because modes are kept.
SERIES = ("point", "device_kind", "device_name", "driver", "clock_policy", "torch", "triton", "regime", "cache", "mode")

"""Run directories that look like real ones: times from the cost model with noise, every status, conditions of a GPU."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from functools import cache
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from benches.row import Row, new_row
from kernels.cost_model import predict
from kernels.gpus import Ceilings, load_gpu
from kernels.op import Point
from kernels.registry import OPS
from reports.build import build_report

CPU_CEILINGS: dict[str, Any] = {
    **{"peak_flops_per_s": {"fp32": 1.5e11, "bf16": 4.1e11, "fp16": 4e8}, "bandwidth_bytes_per_s": 2.1e10, "call_s": 1.2e-6},
    "caches": [
        {"name": "L2", "bytes": 2**20, "bandwidth_bytes_per_s": 9e10},
        {"name": "L3", "bytes": 2**25, "bandwidth_bytes_per_s": 5e10},
    ],
}
VERSIONS = {"python": "3.11.7", "torch": "2.13.0", "triton": "3.7.1", "numpy": "2.3.1", "pandas": "3.1.0"}
COMMON = {
    **{"started_utc": "2026-11-23T18:00:00+00:00", "finished_utc": "2026-11-23T18:13:20+00:00", "versions": VERSIONS},
    **{"commit": "b6e42c7d0f1a2b3c4d5e6f708192a3b4c5d6e7f8", "dirty": False, "seed": 1, "regime": "sustained", "interrupted": False},
}
ENVIRONMENTS: dict[str, dict[str, Any]] = {
    "cpu": {
        **COMMON,
        **{"host": "laptop", "device_kind": "cpu", "device_name": "AMD EPYC 9B14", "gpu": None, "sweeps": ["smoke"]},
        **{"ceilings": CPU_CEILINGS, "cpu": {"model": "AMD EPYC 9B14", "cores": 2, "threads": 2}},
    },
    "cuda": {
        **COMMON,
        **{"host": "node-17", "device_kind": "cuda", "device_name": "NVIDIA H100 80GB HBM3", "gpu": "h100_sxm5", "sweeps": ["nightly"]},
        **{"device_uuid": "GPU-1f2e3d4c", "driver": "575.57.08", "ceilings": None},
    },
}
ENVIRONMENTS["simulated"] = {**ENVIRONMENTS["cuda"], "device_kind": "simulated", "device_name": "simulated NVIDIA H100 80GB HBM3"}
FAILURES = {
    "wrong": "element (17, 4): 3.25 against 2.87, tolerance 0.02",
    "impossible": "median 1.1 µs is below 2.4 µs, the least that 8.1 MB take at 3.35 TB/s",
    "crashed": "the worker died with signal 11",
    "timeout": "no result within 60 s",
    "oom": "96 GB asked for, 79 GB free",
    "error": "RuntimeError: CUDA error: an illegal memory access was encountered",
    "skipped": "needs 96 GB of 80 GB",
}


def matmuls(impls: list[str], precisions: list[str], ms: list[int], nks: list[tuple[int, int]], layouts: list[str]) -> Iterator[Point]:
    for impl, precision, m, (n, k), layout in product(impls, precisions, ms, nks, layouts):
        yield OPS["matmul"].point(impl, precision, {"m": m, "n": n, "k": k}, {"layout": layout})


def elementwises(impls: list[str], precisions: list[str], functions: list[str], sizes: list[int]) -> Iterator[Point]:
    for impl, precision, function, size in product(impls, precisions, functions, sizes):
        yield OPS["elementwise"].point(impl, precision, {"m": size, "n": 4096}, {"function": function})


def einsums(impls: list[str], precisions: list[str], batches: list[int]) -> Iterator[Point]:
    equation = "batch seq1 hidden, batch seq2 hidden -> batch seq1 seq2"
    for impl, precision, batch in product(impls, precisions, batches):
        dims = {"batch": batch, "seq1": 1024, "seq2": 1024, "hidden": 64}
        yield OPS["einsum"].point(impl, precision, dims, {"equation": equation})


def sweep(size: str) -> list[Point]:
    """small: about 80 points; node: about 900; large: 10,000."""
    impls = ["torch", "triton", "torch_compile"]
    if size == "small":
        wide = [*matmuls(impls[:2], ["fp32", "bf16"], [64, 256, 1024], [(1024, 1024), (512, 2048)], ["nn", "nt"])]
        return [
            *wide,
            *elementwises(impls[:2], ["fp32", "bf16"], ["add", "gelu", "copy"], [256, 2048]),
            *einsums(impls[:2], ["fp32"], [2, 8]),
        ]
    precisions = ["fp32", "tf32", "fp16", "bf16", "fp8_e4m3", "fp8_e5m2"]
    nks = [(4096, 4096), (14336, 4096), (4096, 14336), (8192, 8192)]
    ms = [2**i for i in range(0, 14, 2 if size == "node" else 1)]
    if size == "large":
        nks += [(1536 * i, 2560 * j) for i in range(1, 6) for j in range(1, 5)]
    floats = ["fp32", "fp16", "bf16"]
    functions = ["add", "gelu", "copy", "triu", "bias_gelu_residual"]
    many = [*elementwises(impls, floats, functions, [1024, 8192]), *einsums(impls, floats, [1, 8, 64])]
    many += matmuls(impls, precisions, ms, nks, ["nt"] if size == "node" else ["nn", "nt"])
    return many[:10_000]


def fake_rows(points: list[Point], kind: str, seed: int = 1) -> list[Row]:
    """A row for each point, statuses as on that kind of device."""
    rng = random.Random(seed)
    ceilings: Ceilings = Ceilings.model_validate(CPU_CEILINGS) if kind == "cpu" else load_gpu("h100_sxm5")
    predicted = predict(points, ceilings).predicted_s
    return [_row(point, float(seconds), i, kind, rng) for i, (point, seconds) in enumerate(zip(points, predicted, strict=True))]


def _row(point: Point, predicted_s: float, i: int, kind: str, rng: random.Random) -> Row:
    cost = OPS[point.op].cost(point, "cpu" if kind == "cpu" else "cuda")
    gate = {"error_over_tolerance": rng.random() * 0.4, "started_utc": "2026-11-23T18:00:01+00:00", "wall_s": rng.uniform(0.3, 4)}
    if i % 61 == 7:
        status = list(FAILURES)[(i // 61) % len(FAILURES)]
        return new_row(point, cost, status, FAILURES[status])
    if point.precision == "fp8_e5m2" and point.impl == "triton" and i % 5 == 0:
        return new_row(point, cost, "unsupported", "torch._scaled_mm needs n and k to be multiples of 16")
    if kind == "cpu" and point.impl == "triton":
        return new_row(point, cost, "verified", "Triton's interpreter, at a reduced shape", **gate)
    speed = {"torch": 1.15, "triton": 1.3, "torch_compile": 1.2}[point.impl]
    median = predicted_s * speed * rng.lognormvariate(0, 0.25) + 1e-6
    samples = sorted(median * rng.lognormvariate(0, 0.01) for _ in range(9))
    status = "noisy" if i % 23 == 0 else "throttled" if kind != "cpu" and i % 97 == 0 else "ok"
    reason = {"noisy": "the interval is ±1.4% after 1,000 samples", "throttled": "thermal slowdown in 3 of 3 tries"}.get(status)
    times = {"median_s": samples[4], "ci_low_s": samples[1], "ci_high_s": samples[7], "samples_s": samples, "timer": "perf_counter"}
    gpu = {"sm_clock_hz": 1.755e9, "memory_clock_hz": 2.619e9, "power_w": rng.uniform(300, 700), "temperature_c": 61.0}
    conditions = {"mode": "wall"} if kind == "cpu" else {"mode": "events", "duty": 0.75, "conditions": gpu}
    return new_row(point, cost, status, reason, **times, **gate, **conditions, regime="sustained", cache="cold")


def write_run(run_dir: Path, rows: list[Row], environment: dict[str, Any] | None) -> Path:
    run_dir.mkdir(parents=True, exist_ok=True)
    (run_dir / "rows.jsonl").write_text("".join(row.model_dump_json() + "\n" for row in rows), encoding="utf-8")
    if environment is not None:
        (run_dir / "environment.json").write_text(json.dumps(environment), encoding="utf-8")
    return run_dir


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Path]:
    """make_run(kind, size) writes a run and returns its directory; `rows` and `environment` take the place of the made-up ones."""

    def make(kind: str = "cpu", size: str = "small", rows: list[Row] | None = None, environment: dict[str, Any] | None = None) -> Path:
        rows = fake_rows(sweep(size), kind) if rows is None else rows
        return write_run(tmp_path / f"{kind}-{size}", rows, ENVIRONMENTS[kind] if environment is None else environment)

    return make


@pytest.fixture(scope="session")
def made_page(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """made_page(kind) returns the page, in its run directory, of make_run(kind)'s run, made once a session: for tests that only read it."""

    @cache
    def make(kind: str) -> Path:
        rows = fake_rows(sweep("small"), kind)
        return build_report(write_run(tmp_path_factory.mktemp("page") / f"{kind}-small", rows, ENVIRONMENTS[kind]))

    return make

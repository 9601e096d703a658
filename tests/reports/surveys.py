"""Surveys of any size with planted slow GPUs, written as `--gpus` writes them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import numpy as np

from benches.row import new_row
from benches.run.survey_file import SurveyFile, SurveyGpu, write_survey
from kernels.cost_model import predict
from kernels.gpus import load_gpu
from kernels.op import Point
from kernels.registry import OPS
from reports.survey.families import ALL, family

MODEL = "simulated NVIDIA H100 80GB HBM3"
STARTED = "2026-11-27T02:00:00+00:00"
MARK = "@@"  # in the place of a number that differs from GPU to GPU
FIELDS = ("median_s", "ci_low_s", "ci_high_s", "sm_clock_hz", "power_w", "temperature_c")
BOARD: dict[str, Any] = {
    **{"ecc": True, "ecc_corrected": 0, "ecc_uncorrected": 0, "remapped_rows_corrected": 0, "remapped_rows_uncorrected": 0},
    **{"remapping_pending": False, "remapping_failed": False, "pcie_generation": 5, "pcie_width": 16, "pcie_generation_max": 5},
    **{"pcie_width_max": 16, "pcie_replays": 0, "nvlinks": 18, "nvlink_crc_errors": 0, "nvlink_replays": 0, "nvlink_recoveries": 0},
    **{"sm_clock_max_hz": 1.98e9, "power_limit_w": 700.0, "memory_temperature_c": 58.0, "slowed_s": {"thermal": 0.0, "power cap": 12.0}},
}


@dataclass(frozen=True)
class Planted:
    """What is wrong with a GPU. slower: a factor by family, or by `all`. facts: of its board. clock: factor on its SM clock."""

    slower: Mapping[str, float] = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)
    clock: float = 1.0
    temperature_c: float = 0.0  # more than the others'
    environment: Mapping[str, Any] = field(default_factory=dict)
    beside: float | None = None  # time of the sentinels while other GPUs work, over that alone


@cache
def points(count: int) -> tuple[tuple[Point, float, str], ...]:
    """So many points with their predicted seconds and families: products large and small, elementwise, and launches."""
    made: list[Point] = []
    step = 0
    while len(made) < count:
        k = 1024 + 256 * (step % 29)
        made += [OPS["matmul"].point("torch", "bf16", {"m": 4096 + 128 * step, "n": 4096, "k": k}, {"layout": "nt"})]
        made += [OPS["elementwise"].point("torch", "bf16", {"m": 8192 + 127 * step, "n": 8192}, {"function": "add"})]
        made += [OPS["matmul"].point("torch", "bf16", {"m": 1 + step, "n": 128, "k": 129}, {"layout": "nn"})]
        step += 1
    made = made[:count]
    found = predict(made, load_gpu("h100_sxm5"))
    families = [family(p.op, p.precision, str(bound)) for p, bound in zip(made, found.bound, strict=True)]
    return tuple(zip(made, map(float, found.predicted_s), families, strict=True))


def uuid_of(i: int) -> str:
    return f"GPU-{uuid5(NAMESPACE_URL, f'test-gpu:{i}')}"


def make_survey(
    run: Path,
    gpus: int = 8,
    count: int = 12,
    planted: Mapping[int, Planted] | None = None,
    spread: float = 0.005,
    seed: int = 1,
    hosts_of: int = 8,
    samples: int = 3,
    started: str = STARTED,
    lost: Sequence[int] = (),
) -> Path:
    """Writes a survey and returns its directory. spread: standard deviation between healthy GPUs, of the logarithm; points add a fifth of
    it each. lost: GPUs without a run directory."""
    planted, random = planted or {}, np.random.default_rng(seed)
    listed = [_gpu(i, hosts_of, i in lost, planted.get(i, Planted()).beside) for i in range(gpus)]
    run.mkdir(parents=True)
    about = {"device_kind": "simulated", "sweeps": ["nightly"], "seed": 1, "commit": "b6e42c7d", "started_utc": started}
    write_survey(run, SurveyFile(**about, finished_utc=started.replace("T02", "T03"), interrupted=False, gpus=listed))
    templates = [_template(point, samples) for point, _, _ in points(count)]
    predicted = np.array([seconds for _, seconds, _ in points(count)])
    families = [name for _, _, name in points(count)]
    for i, gpu in enumerate(listed):
        own, noise = random.normal(0, spread), random.normal(0, spread / 5, count)
        wrong = planted.get(i, Planted())
        slower = np.array([wrong.slower.get(name, wrong.slower.get(ALL, 1.0)) for name in families])
        if gpu.status == "lost":
            continue
        median = predicted * slower * np.exp(own + noise)
        clock = random.normal(1.755e9, 4e6, count) * wrong.clock
        watts, celsius = random.normal(610, 12, count), random.normal(61, 2) + wrong.temperature_c + random.normal(0, 0.5, count)
        numbers = np.column_stack([median, 0.999 * median, 1.001 * median, clock, watts, celsius])
        text = "".join(template % tuple(line) for template, line in zip(templates, numbers.tolist(), strict=True))
        folder = run / gpu.directory
        folder.mkdir()
        (folder / "rows.jsonl").write_text(text, encoding="utf-8")
        (folder / "environment.json").write_text(json.dumps(_environment(gpu, wrong, started)), encoding="utf-8")
    return run


def _gpu(i: int, hosts_of: int, lost: bool, beside: float | None) -> SurveyGpu:
    host, uuid = f"node-{i // hosts_of:03d}", uuid_of(i)
    about: dict[str, Any] = {"uuid": uuid, "host": host, "index": i % hosts_of, "name": MODEL, "numa": i % hosts_of // 4}
    ended: dict[str, Any] = {"status": "lost", "reason": "CUDA error: GPU is lost"} if lost else {"status": "finished"}
    about["beside"] = None if beside is None else {"copy 1024 MiB": beside}
    return SurveyGpu(**about, directory=f"{host}-gpu{i % hosts_of}-{uuid[4:12]}", **ended)


def _template(point: Point, samples: int) -> str:
    """The row as JSON, with %r in the place of FIELDS."""
    row = new_row(
        point, OPS[point.op].cost(point, "cuda"), "ok", samples_s=[1e-5] * samples, cache="cold", regime="sustained", mode="events"
    )
    record = row.model_dump(mode="json")
    record["conditions"] |= {"memory_clock_hz": 2.619e9}
    for name in FIELDS:
        (record if name in record else record["conditions"])[name] = MARK
    return json.dumps(record).replace("%", "%%").replace(f'"{MARK}"', "%r") + "\n"


def _environment(gpu: SurveyGpu, wrong: Planted, started: str) -> dict[str, Any]:
    end = {**BOARD, **wrong.facts}
    return {
        **{"started_utc": started, "finished_utc": started.replace("T02", "T03"), "interrupted": False, "host": gpu.host},
        **{"device_kind": "simulated", "device_name": gpu.name, "device_uuid": gpu.uuid, "gpu": "h100_sxm5", "driver": "575.57.08"},
        **{"versions": {"torch": "2.13.0", "triton": "3.7.1"}, "sweeps": ["nightly"], "commit": "b6e42c7d", "seed": 1},
        **{"board": {"start": {**BOARD, **{k: v for k, v in wrong.facts.items() if k not in COUNTED}}, "end": end}},
        **wrong.environment,
    }


COUNTED = ("ecc_corrected", "ecc_uncorrected", "pcie_replays", "nvlink_crc_errors", "nvlink_replays", "nvlink_recoveries", "slowed_s")

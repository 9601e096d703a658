"""Sentinels: two points that never change, measured every 30 s of a run. What they drift by, the machine drifted by.

A drift is reported and never divided by: what slows a copy need not slow a matmul, and a corrected figure is no measurement. They stand
in a file of their own, sentinels.jsonl in the run directory (sentinels-gpu3.jsonl where several GPUs share it), one JSON object a line:

    {"name", "at_s", "utc", "median_s", "sm_clock_hz", "temperature_c", "others"}        at_s: the device's clock, seconds

`others` is null but for the readings that compare a GPU alone with the same beside others (benches/run/side_by_side.py).
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from benches.devices.base import Device, Method
from benches.timing.sampler import estimate
from kernels.op import Point
from kernels.registry import OPS

NAME = "sentinels.jsonl"
EVERY_S = 30.0
SAMPLES, SAMPLES_S = 15, 0.3  # at least so many, for at least so long: under its power cap an H100's clock hunts by 5% within 60 ms
WARM_S = 0.5  # what a 700 W board's clocks need to settle under a product, whatever ran before
DRIFT = 0.02  # of a sentinel's median: twice what H100s' clocks differ by from minute to minute
AT_LEAST = 4  # readings before anything is said
GPU_SIZE, GPU_COPY = 4096, (16384, 16384)  # bf16 product; fp32 copy of 1 GiB
CPU_SIZE, CPU_COPY = 512, (2048, 4096)  # fp32; 32 MiB
ROUNDS = 3  # of readings beside others: the first warms up, the second counts, and the third keeps others company until theirs has ended


@dataclass(frozen=True)
class Reading:
    """One measurement of one sentinel."""

    name: str
    at_s: float
    utc: str
    median_s: float
    sm_clock_hz: float | None = None
    temperature_c: float | None = None
    others: int | None = None  # other GPUs that measured theirs at the same time; None: it was not arranged whether any did


READ = tuple(field.name for field in fields(Reading))


@dataclass(frozen=True)
class Drift:
    """How far a sentinel's later half lies from its first, relative."""

    name: str
    change: float
    readings: int

    def __str__(self) -> str:
        how = "longer" if self.change > 0 else "less"
        return f"{self.name} took {abs(self.change):.1%} {how} in the second half of the run than in the first ({self.readings} readings)"


def points(kind: str) -> dict[str, Point]:
    """The two sentinels of a kind of device."""
    size, (m, n), precision = (CPU_SIZE, CPU_COPY, "fp32") if kind == "cpu" else (GPU_SIZE, GPU_COPY, "bf16")
    return {
        f"matmul {precision} {size}³": OPS["matmul"].point("torch", precision, {"m": size, "n": size, "k": size}),
        f"copy {m * n * 4 // 2**20} MiB": OPS["elementwise"].point("torch", "fp32", {"m": m, "n": n}, {"function": "copy"}),
    }


class Sentinels:
    """Call `tick` between points."""

    def __init__(self, device: Device, run_dir: Path, seed: int, part: str = ""):
        """part: of a run directory that several devices share, whose readings are never set side by side."""
        self._device, self._path, self._seed = device, run_dir / file_name(part), seed
        self._last_s: float | None = None

    def tick(self) -> list[Reading]:
        """Measures both and appends them to the file, if 30 s have passed since the last time. Raises what device and disk raise."""
        now = self._device.now_s()
        if self._last_s is None and self._path.exists() and time.time() - self._path.stat().st_mtime < EVERY_S:
            self._last_s = now  # a worker before this one has just measured them
        if self._last_s is not None and now - self._last_s < EVERY_S:
            return []
        self._last_s = now
        return self._kept(self._measured())

    def read(self, others: int) -> list[Reading]:
        """Measures both now, as `others` other GPUs do at the same time, and appends what was measured while they all worked. Raises what
        device and disk raise."""
        rounds = [self._measured() for _ in range(ROUNDS if others else ROUNDS - 1)]
        self._last_s = self._device.now_s()
        return self._kept([replace(reading, others=others) for reading in rounds[1]])

    def _measured(self) -> list[Reading]:
        return [self._measure(name, point) for name, point in points(self._device.kind).items()]

    def _kept(self, found: list[Reading]) -> list[Reading]:
        with self._path.open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(asdict(reading)) + "\n" for reading in found)
        return found

    def _measure(self, name: str, point: Point) -> Reading:
        """Hot: the same buffers each time, so that nothing but the device differs."""
        device = self._device
        workload = device.load(point, self._seed)
        estimate_s = estimate(device, workload).seconds
        method = device.prepare(workload, Method("wall" if device.l2_bytes is None else "events"))
        device.run_for(workload, method, WARM_S, estimate_s)
        start, samples = device.now_s(), device.take_samples(workload, method, watch=True)
        while len(samples) < SAMPLES or device.now_s() - start < SAMPLES_S:
            samples += device.take_samples(workload, method, SAMPLES)
        valid = [sample.seconds for sample in samples if sample.void is None] or [sample.seconds for sample in samples]
        told = samples[0].reading
        at_s, utc = device.now_s(), datetime.now(UTC).isoformat(timespec="seconds")
        return Reading(name, at_s, utc, median(valid), told.sm_clock_hz if told else None, told.temperature_c if told else None)


def read_sentinels(run_dir: Path) -> list[Reading]:
    """Returns the readings of a run, in the order of the file, without those of a GPU that measured alone although the run's points were
    measured beside others. Those of one of several devices are named after it: `copy 1024 MiB (gpu3)`."""
    return [
        replace(reading, name=f"{reading.name} ({part})") if part else reading
        for part, readings in read_parts(run_dir).items()
        for reading in readings
        if reading.others != 0
    ]


def read_parts(run_dir: Path) -> dict[str, list[Reading]]:
    """Returns every reading by the part of the run, such as `gpu3`, or "" for a run that has no parts; without lines that are torn or of
    another kind. Empty where the files are missing."""
    files = {"": run_dir / NAME} | {path.stem.partition("-")[2]: path for path in sorted(run_dir.glob(file_name("*")))}
    return {part: found for part, path in files.items() if (found := _read(path))}


def file_name(part: str) -> str:
    """Returns the name of the file of a part of the run."""
    return f"{Path(NAME).stem}-{part}.jsonl" if part else NAME


def _read(path: Path) -> list[Reading]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    found = []
    for line in lines:
        try:
            written = json.loads(line)
            found.append(Reading(**{name: value for name, value in written.items() if name in READ}))  # a newer version may write more
        except (ValueError, TypeError, AttributeError):
            continue
    return found


def drift(readings: Sequence[Reading], limit: float = DRIFT) -> list[Drift]:
    """The sentinels whose later half's median lies further than `limit` from the earlier half's. Pure."""
    found = []
    for name in dict.fromkeys(reading.name for reading in readings):
        times = [reading.median_s for reading in readings if reading.name == name]
        if len(times) < AT_LEAST:
            continue
        half = len(times) // 2
        change = median(times[-half:]) / median(times[:half]) - 1
        if abs(change) > limit:
            found.append(Drift(name, change, len(times)))
    return found

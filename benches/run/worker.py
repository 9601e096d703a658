"""What runs inside the worker process: it opens the device once and measures the points it is sent.

The parent never touches CUDA, so nothing that a kernel does can reach the journal. Output of the worker goes to a file, whose tail is
what a crash leaves behind.
"""

from __future__ import annotations

import ctypes
import faulthandler
import os
import resource
import signal
import sys
from functools import cache
from pathlib import Path
from typing import Any

from benches.devices import visible
from benches.devices.node_gpus import NodeGpu, pin
from benches.run.bench import Bench
from kernels.op import Language, Point
from kernels.support import Platform

PR_SET_PDEATHSIG = 1  # linux/prctl.h
_opening: dict[str, Any] = {}  # arguments of Bench, as `start` was told


def start(log: str, opening: dict[str, Any], memory_bytes: int | None) -> None:
    """First thing in a new worker. opening: arguments of Bench."""
    _opening.update(opening)
    die_with_parent()
    if opening.get("gpu") is not None:
        take(opening["gpu"])
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(output, 1)
    os.dup2(output, 2)
    faulthandler.enable()
    if memory_bytes is not None:
        resource.setrlimit(resource.RLIMIT_DATA, (memory_bytes, resource.getrlimit(resource.RLIMIT_DATA)[1]))


def take(gpu: NodeGpu) -> None:
    """Makes a GPU the only one that this process sees, and keeps the process on the CPUs beside it. Before CUDA starts."""
    os.environ[visible.VARIABLE] = gpu.uuid
    pin(gpu.numa)


def die_with_parent() -> None:
    """A killed parent leaves no worker behind that goes on using the GPU. Linux only; elsewhere the closed pipe ends an idle worker."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


@cache
def bench() -> Bench:
    """The worker's device, opened at first use."""
    return Bench(**_opening)


def describe() -> dict[str, Any]:
    """What Device.describe says, and notes of the run. Raises NoDevice."""
    return bench().describe()


def platform(language: Language) -> Platform:
    """Where an implementation in this language would run. Raises NoDevice."""
    return bench().device.platform(language)


def measure_point(point: Point, timing: bool) -> tuple[str, bool]:
    """The row as JSON, and whether the device says that this process should not go on."""
    row = bench().row_of(point, timing).model_dump_json()
    return row, bool(getattr(bench().device, "unusable", False))


def read_sentinels(others: int) -> None:
    """As Bench.read_sentinels."""
    bench().read_sentinels(others)


def output(log: Path, offset: int, most: int = 1_000_000) -> str:
    """What was written after `offset`, at most the last `most` bytes; "" where there is no log."""
    try:
        with log.open("rb") as file:
            file.seek(max(offset, log.stat().st_size - most))
            return file.read().decode(errors="replace")
    except OSError:
        return ""


def tail(log: Path, offset: int, lines: int = 4, characters: int = 400) -> str:
    """The last lines that were written after `offset`, joined by ` | `, from their end at most `characters`."""
    written = [line.strip() for line in output(log, offset).splitlines() if line.strip()]
    return " | ".join(written[-lines:])[-characters:]

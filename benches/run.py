"""A run: its directory, its device, its journal. Made when the first point is about to be measured."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benches import environment
from benches.devices.base import Device
from benches.journal import Journal
from benches.measure import measure
from benches.row import Row
from kernels.guard import ROOT
from kernels.op import Point


class RunError(Exception):
    """The run cannot start; the message says what to do."""


def default_run_dir(host: str, commit: str | None) -> Path:
    """runs/<UTC time>-<host>-<short commit>; the host's name is reduced to what a file name takes."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    safe_host = re.sub(r"[^A-Za-z0-9.]+", "_", host)[:40]
    return ROOT / "runs" / f"{stamp}-{safe_host}-{(commit or 'nocommit')[:8]}"


def open_device(kind: str) -> Device:
    """`cuda`, `cpu` or `simulated`. Raises RunError where there is none."""
    if kind == "simulated":
        from benches.devices.simulated import SimulatedDevice

        return SimulatedDevice()
    if kind == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise RunError(f"torch {torch.__version__} finds no CUDA device: install a CUDA build of torch, or use --device cpu")
        from benches.devices.cuda import CudaDevice

        return CudaDevice()
    from benches.devices.cpu import CpuDevice

    return CpuDevice()


class Run:
    """Measures points into a run directory."""

    def __init__(self, device: Device, run_dir: Path | None, sweeps: list[str], resolved: str, seed: int):
        self.device, self.seed = device, seed
        self.environment: dict[str, Any] = environment.collect(device.describe(), sweeps, seed)
        self.dir = run_dir or default_run_dir(self.environment["host"], self.environment["commit"])
        try:
            self.dir.mkdir(parents=True, exist_ok=run_dir is not None)
            if (self.dir / "rows.jsonl").exists():
                raise RunError(f"{self.dir} already holds a run: name another --run-dir")
            environment.write(self.dir, self.environment)
            (self.dir / "sweep.yaml").write_text(resolved, encoding="utf-8")
        except OSError as e:
            raise RunError(f"{self.dir}: cannot be written ({e.strerror}): name another place with --run-dir") from e
        self.journal = Journal(self.dir)

    def measure(self, point: Point, timing: bool = True) -> Row:
        """One point, journalled before this returns. Without timing it is checked only."""
        row = measure(point, self.device, self.seed, timing)
        self.journal.append(row)
        return row

    def finish(self, interrupted: bool) -> None:
        """Closes the journal and says in environment.json how the run ended."""
        self.journal.close()
        environment.write(self.dir, {**self.environment, "finished_utc": environment.now_utc(), "interrupted": interrupted})

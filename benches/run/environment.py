"""environment.json: what a run was made on and with. A reader of a figure finds here what could have changed it."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benches.run.json_file import read_json
from benches.run.variables import recorded
from kernels.guard import ROOT
from kernels.writing import write_text

NAME = "environment.json"
CUBLAS = ("nvidia-cublas", "nvidia-cublas-cu12")  # as torch's CUDA 13 and CUDA 12 builds bring it
PACKAGES = ("torch", "triton", "numpy", "pandas", "pytest", "pytest-benchmark", "opt_einsum", *CUBLAS)
# What times depend on too, and earlier versions of this suite did not record: a file that lacks one of these matches any.
LATER = ("vbios", "cuda_runtime", "cudnn", "l2_bytes", "variables")


def package_versions() -> dict[str, str | None]:
    """Installed versions; None where a package is absent."""
    versions: dict[str, str | None] = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = None
    return versions


def git(*arguments: str) -> str | None:
    """Output of a git command in this repository, or None where there is no git or no repository."""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, encoding="utf-8", errors="replace", timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


def host() -> str:
    """This machine's name."""
    return platform.node() or "unknown-host"


def now_utc() -> str:
    """ISO 8601, whole seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def collect(device: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any]:
    """Everything but `finished_utc` and `interrupted`. asked: sweeps, seed, regime and what else the command line said.

    `dirty`: whether a tracked file differs from the commit. An untracked one, as a report of an earlier run, changes nothing measured.
    """
    status = git("status", "--porcelain", "--untracked-files=no")
    return {
        "started_utc": now_utc(),
        "host": host(),
        **device,
        "versions": package_versions(),
        "variables": recorded(os.environ),
        "commit": git("rev-parse", "HEAD"),
        "dirty": None if status is None else bool(status),
        "load_1m": os.getloadavg()[0],
        "os": platform.platform(),
        **asked,
    }


def write(run_dir: Path, environment: dict[str, Any]) -> None:
    """Writes environment.json atomically. Raises OSError, and ValueError for a number that JSON lacks."""
    write_text(run_dir / NAME, json.dumps(environment, indent=2, allow_nan=False) + "\n")


def read(run_dir: Path) -> dict[str, Any]:
    """Raises FileNotFoundError, or ValueError for a file that is not a JSON object."""
    found = read_json(run_dir / NAME)
    if not isinstance(found, dict):
        raise ValueError(f"{run_dir / NAME}: not a JSON object")
    return found

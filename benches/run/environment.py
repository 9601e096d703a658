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


def git(*arguments: str) -> tuple[str | None, str]:
    """Returns the output of a git command in this repository, or None and on one line why it failed."""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=ROOT, capture_output=True, encoding="utf-8", errors="replace", timeout=10, check=False
        )
    except (OSError, subprocess.SubprocessError) as error:
        return None, str(error)
    return (None, " ".join(done.stderr.split())) if done.returncode else (done.stdout.strip(), "")


def commit() -> tuple[str | None, str | None]:
    """Returns the commit of this repository, and a note where git fails in a repository: where it belongs to another
    user, git refuses ("dubious ownership") and says what to do. An archive of the suite has no commit, and no note."""
    found, why = git("rev-parse", "HEAD")
    if found or not any((folder / ".git").exists() for folder in (ROOT, *ROOT.parents)):
        return found, None
    return None, f"the commit is not known, since git failed: {why}"


def dirty() -> bool | None:
    """Returns whether a tracked file differs from the commit; None where git fails. An untracked one, as a report of an earlier run,
    changes nothing measured."""
    status, _ = git("status", "--porcelain", "--untracked-files=no")
    return None if status is None else bool(status)


def host() -> str:
    """This machine's name."""
    return platform.node() or "unknown-host"


def now_utc() -> str:
    """ISO 8601, whole seconds."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def collect(device: dict[str, Any], asked: dict[str, Any]) -> dict[str, Any]:
    """Everything but `finished_utc` and `interrupted`. asked: sweeps, seed, regime and what else the command line said."""
    at, note = commit()
    notes = [*device.get("notes", []), *([note] if note else [])]
    return {
        "started_utc": now_utc(),
        "host": host(),
        **device,
        **({"notes": notes} if notes else {}),
        "versions": package_versions(),
        "variables": recorded(os.environ),
        "commit": at,
        "dirty": dirty(),
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

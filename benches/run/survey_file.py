"""survey.json: which GPUs a survey measured, and where the run directory of each is. Pure but for reading and writing the file."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from benches.run.json_file import read_versioned
from kernels.writing import write_text

NAME = "survey.json"
VERSION = 1
GpuStatus = Literal["running", "finished", "interrupted", "lost"]


class SurveyGpu(BaseModel):
    """One GPU of a survey."""

    model_config = ConfigDict(extra="ignore")

    uuid: str = Field(description="The UUID of the GPU.")
    host: str = Field(description="The machine that it is in.")
    index: int = Field(description="Its index among the GPUs that CUDA shows.")
    name: str = Field(description="Its name, as NVML reports it.")
    numa: int | None = Field(default=None, description="The NUMA node that it is attached to; null where it is not known.")
    directory: str = Field(description="Its run directory, relative to the survey's.")
    status: GpuStatus = Field(
        default="running",
        description="`running`: under way, or killed; `finished`; `interrupted`; `lost`: it could not be opened, or stopped answering.",
    )
    reason: str | None = Field(default=None, description="Why it is lost.")
    beside: dict[str, float] | None = Field(
        default=None,
        description="The time of each sentinel while the other GPUs worked, over its time alone; null where that was not compared.",
    )


class SurveyFile(BaseModel):
    """What survey.json holds."""

    model_config = ConfigDict(extra="ignore")

    schema_version: int = Field(default=VERSION, description="The version of this format: 1.")
    device_kind: str = Field(description="`cuda` or `simulated`.")
    sweeps: list[str] = Field(description="The names of the sweeps; the sweep as resolved is sweep.yaml beside this file.")
    seed: int = Field(description="The seed of inputs and order.")
    commit: str | None = Field(default=None, description="The commit of this repository.")
    started_utc: str = Field(description="When the survey began, in ISO 8601.")
    resumed_utc: list[str] = Field(default=[], description="When it was resumed.")
    finished_utc: str | None = Field(default=None, description="When it ended; null while it is under way, and after a kill.")
    interrupted: bool | None = Field(default=None, description="Whether it ended before its last point.")
    gpus: list[SurveyGpu] = Field(description="The GPUs.")


def read_survey(run_dir: Path) -> SurveyFile:
    """Raises OSError, and ValueError with one line where the file is not a survey of this version."""
    path = run_dir / NAME
    survey = read_versioned(path, SurveyFile, VERSION, "read")
    for gpu in survey.gpus:
        if Path(gpu.directory).name != gpu.directory or gpu.directory in ("", ".", ".."):
            raise ValueError(f"{path}: {gpu.directory!r} is not the name of a folder beside this file")
    for name in ("uuid", "directory"):
        counts = Counter(getattr(gpu, name) for gpu in survey.gpus)
        if again := [value for value, count in counts.items() if count > 1]:
            raise ValueError(f"{path}: {name} {again[0]!r} is listed twice; keep one of the GPUs")
    return survey


def write_survey(run_dir: Path, survey: SurveyFile) -> None:
    """Writes survey.json atomically. Raises OSError."""
    write_text(run_dir / NAME, survey.model_dump_json(indent=2) + "\n")


def is_survey(run_dir: Path) -> bool:
    """Whether a folder holds a survey; False where it may not be seen: whoever reads it says so."""
    return os.path.isfile(run_dir / NAME)

"""fleet.json: how a fleet's run was started, so that `--resume` needs nothing else, and which GPUs it could not use."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from benches.run.json_file import read_versioned
from kernels.writing import write_text

NAME = "fleet.json"
VERSION = 1


class LeftOut(BaseModel):
    """A GPU, or a node of the cluster without one, that measured nothing."""

    model_config = ConfigDict(extra="ignore")

    host: str = Field(description="The machine.")
    uuid: str | None = Field(default=None, description="The UUID of the GPU; null where none was found.")
    reason: str = Field(description="Why.")


class FleetFile(BaseModel):
    """What fleet.json holds."""

    model_config = ConfigDict(extra="ignore")

    schema_version: int = Field(default=VERSION, description="The version of this format: 1.")
    run_id: str = Field(description="The name of the run's folder on each machine.")
    mode: Literal["shard", "survey"] = Field(description="Whether GPUs share the points, or each measures all.")
    device_kind: Literal["cuda", "simulated"] = Field(description="The kind of device.")
    node_dir: str = Field(description="The folder on each machine that holds rows until the run is complete.")
    seed: int = Field(description="The seed of inputs and order.")
    settings: dict[str, str | bool] = Field(description="What was asked for of --cache, --regime and --energy.")
    point_timeout_s: float = Field(description="The seconds after which a point is given up.")
    commit: str | None = Field(default=None, description="The commit of this repository.")
    dirty: bool | None = Field(default=None, description="Whether a tracked file differs from the commit.")
    imports: list[dict[str, str]] = Field(default=[], description="Other people's files and modules: `spec`, `path` and `sha256`.")
    left_out: list[LeftOut] = Field(default=[], description="GPUs that measured nothing in the last part of the run.")


def read_fleet(run_dir: Path) -> FleetFile:
    """Raises OSError, and ValueError with one line where the file is not of this version."""
    return read_versioned(run_dir / NAME, FleetFile, VERSION, "resume")


def write_fleet(run_dir: Path, fleet: FleetFile) -> None:
    """Writes fleet.json atomically. Raises OSError."""
    write_text(run_dir / NAME, fleet.model_dump_json(indent=2) + "\n")

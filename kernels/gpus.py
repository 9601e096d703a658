"""Descriptions of GPUs, read from configs/gpus/*.yaml: what the hardware can do at most, and where each figure comes from.

Peaks are dense (no structured sparsity). A precision that a GPU's matrix units lack is absent from its peaks, not 0.
"""

from __future__ import annotations

import re
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat, PositiveInt, ValidationError, field_validator, model_validator

from kernels.calibrated import Calibration
from kernels.cpu_model import CpuModel
from kernels.escaping import one_line
from kernels.precisions import PRECISIONS
from kernels.strict_yaml.nodes import read_text, read_yaml
from kernels.strict_yaml.problems import Problems, Spot, SweepError

GPU_DIR = Path(__file__).resolve().parent.parent / "configs" / "gpus"
DEFAULT_GPU = "h100_sxm5"  # the GPU to plan, predict, simulate and compile for where none is present and none is named

BARE = re.compile(r"[\w-]*")  # a name; anything else is a path


class GpuError(ValueError):
    """An unknown GPU, or a GPU's YAML that is wrong. The message is one line."""


class CacheLevel(BaseModel):
    """A cache of a CPU: the bytes that it holds for the threads that measure, and the rate at which a copy within it runs."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str  # L2
    bytes: PositiveInt
    bandwidth_bytes_per_s: PositiveFloat


class Ceilings(BaseModel):
    """What no kernel can exceed. From a GPU's YAML, or measured on a CPU (`ceilings` of a run's environment.json)."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    peak_flops_per_s: dict[str, PositiveFloat] = Field(
        description="The dense peak of each precision. A precision that the matrix units lack is left out."
    )
    bandwidth_bytes_per_s: PositiveFloat = Field(description="The bandwidth of the memory.")
    sm_count: PositiveInt | None = Field(default=None, description="The number of SMs.")
    l2_bytes: PositiveInt | None = Field(default=None, description="The size of the L2.")
    host_link_bytes_per_s: PositiveFloat | None = Field(default=None, description="The bandwidth from the host's memory, in one direction.")
    caches: tuple[CacheLevel, ...] = Field(default=(), description="The caches of a CPU, measured, the smallest first.")
    call_s: PositiveFloat | None = Field(
        default=None, description="Measured on a CPU: the time of a call of one operator that computes nearly nothing."
    )
    step_call_s: PositiveFloat | None = Field(
        default=None,
        description="Measured on a CPU: the time of an operator among many, in a training step of a model that computes nearly nothing.",
    )
    model: Calibration | None = Field(
        default=None,
        description="Fitted constants of the cost model, or the name of another GPU whose constants apply; without it there are none.",
    )
    cpu_model: CpuModel | None = Field(default=None, description="A CPU's constants, in the place of `model`.")

    def operator_s(self, many: bool) -> float:
        """A CPU's time of an operator's call: alone, or among many of a program; 0 where it was not measured."""
        return (self.step_call_s if many else None) or self.call_s or 0.0

    def level(self, working_set_bytes: float) -> tuple[str, float]:
        """The smallest cache that holds so many bytes, or "memory", and its bandwidth."""
        levels = [(cache.name, cache.bandwidth_bytes_per_s) for cache in self.caches if working_set_bytes <= cache.bytes]
        return levels[0] if levels else ("memory", self.bandwidth_bytes_per_s)

    @field_validator("peak_flops_per_s")
    @classmethod
    def _known_precisions(cls, peaks: dict[str, float]) -> dict[str, float]:
        unknown = [name for name in peaks if name not in PRECISIONS]
        if unknown:
            raise ValueError(f"unknown precision {', '.join(unknown)}; one of {', '.join(PRECISIONS)}")
        return peaks


class Gpu(Ceilings):
    """One device. `sources` says for each figure where it comes from."""

    name: str = Field(description="The file's name without `.yaml`.")
    boards: tuple[str, ...] = Field(min_length=1, description="The exact names that NVML reports for this board.")
    compute_capability: tuple[int, int] = Field(description="The compute capability, `[major, minor]`.")
    memory_bytes: PositiveInt = Field(description="The size of the memory.")
    l2_bytes: PositiveInt = Field(description="The size of the L2.")
    sm_count: PositiveInt = Field(description="The number of SMs.")
    boost_clock_hz: PositiveFloat = Field(description="The clock at which the peaks of the tensor cores are quoted.")
    max_clock_hz: PositiveFloat | None = Field(
        default=None, description="The highest clock: boards may run faster than the quoted peaks assume."
    )
    shared_memory_per_block_bytes: PositiveInt = Field(description="The most shared memory that one block can ask for.")
    node_link_bytes_per_s: PositiveFloat | None = Field(
        default=None, description="The bandwidth of one GPU to the others of its node, in one direction; for `napkin`."
    )
    network_bytes_per_s: PositiveFloat | None = Field(
        default=None, description="The bandwidth of one GPU out of its usual system's node, in one direction; for `napkin`."
    )
    board_memory_bytes: PositiveInt | None = Field(
        default=None, description="The memory that the driver reports, where somebody read it from a board."
    )
    sources: dict[str, str] = Field(description="Where each figure comes from: one text a key.")

    @model_validator(mode="after")
    def _sourced(self) -> Gpu:
        missing = self.model_fields_set - {"name", "sources"} - set(self.sources)
        unknown = set(self.sources) - set(type(self).model_fields)
        if missing or unknown:
            wrong = [f"none for {name}" for name in sorted(missing)] + [f"unknown field {name}" for name in sorted(unknown)]
            raise ValueError("sources: " + ", ".join(wrong))
        return self


def gpu_names() -> tuple[str, ...]:
    """Every GPU that configs/gpus describes, sorted."""
    return tuple(sorted(path.stem for path in GPU_DIR.glob("*.yaml")))


def gpu_help() -> str:
    """The help text of a command's --gpu."""
    return f"{', '.join(gpu_names())}, or a YAML file like theirs (default: {DEFAULT_GPU})"


def load_gpu(name: str) -> Gpu:
    """The GPU of configs/gpus/<name>.yaml. Raises GpuError for an unknown name (with the nearest ones) and for a wrong file."""
    if name not in gpu_names():
        begun = [known for known in gpu_names() if name and known.startswith(name.lower())]
        near = begun or get_close_matches(name.lower(), gpu_names(), n=1, cutoff=0.4)
        hint = f" (did you mean {' or '.join(near)}?)" if near else ""
        raise GpuError(f"unknown GPU {name!r}{hint}; known: {', '.join(gpu_names())}")
    return _load(name)


@lru_cache
def _load(name: str) -> Gpu:
    return read_gpu(GPU_DIR / f"{name}.yaml")


def find_gpu(name_or_path: str, folder: Path = Path()) -> Gpu:
    """The GPU of a bare name (configs/gpus/NAME.yaml) or of a path, relative to `folder`. Raises GpuError."""
    return load_gpu(name_or_path) if BARE.fullmatch(name_or_path) else read_gpu(folder / name_or_path)


def read_gpu(path: Path) -> Gpu:
    """The GPU that a file describes; its `name` must be the file's. Raises GpuError, one line that names the file and its first mistake."""
    file, problems = str(path), Problems()
    try:
        text = read_text(path, Spot(file, 1), "GPU", problems)
        read_yaml(text, file, problems, "GPU")  # checks limits and names the line of a mistake; PyYAML then reads the values
        problems.check()
        fields = _plain(text, path)
        if fields.get("name") != path.stem or not BARE.fullmatch(path.stem):
            raise GpuError(one_line(f"{path}: `name` must be {path.stem!r}, as the file is called: letters, digits, _ and -"))
        return Gpu.model_validate(_with_borrowed_model(fields, path))
    except SweepError as error:
        raise GpuError(error.problems[0]) from None
    except ValidationError as error:
        first = error.errors()[0]
        raise GpuError(one_line(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}")) from error


def _plain(text: str, path: Path) -> dict[str, Any]:
    """The values of a YAML mapping. Raises GpuError."""
    try:
        return dict(yaml.safe_load(text))
    except (yaml.YAMLError, ValueError) as error:  # ValueError: an invalid date, a number of thousands of digits
        raise GpuError(one_line(f"{path}: {' '.join(str(error).split())}")) from error


def _with_borrowed_model(fields: dict[str, Any], path: Path) -> dict[str, Any]:
    """`model: other_gpu` stands for that GPU's fitted constants: they are fractions and latencies, applied to this one's peaks."""
    other = fields.get("model")
    if not isinstance(other, str):
        return fields
    try:
        return {**fields, "model": load_gpu(other).model}
    except GpuError as error:
        raise GpuError(one_line(f"{path}: model: {error}")) from None


def gpu_for_board(nvml_name: str) -> Gpu | None:
    """The GPU whose boards NVML calls so; None for a board nobody described: its peaks are never guessed from a similar name."""
    for name in gpu_names():
        gpu = load_gpu(name)
        if nvml_name in gpu.boards:
            return gpu
    return None


def with_board_l2(gpu: Gpu, l2_bytes: int) -> Gpu:
    """The GPU with the L2 that a board itself reports, bytes; the same object where the YAML agrees.

    Boards of one name need not have the same L2: a part of it may be switched off. What the board has decides what stays in the cache.
    """
    if l2_bytes == gpu.l2_bytes:
        return gpu
    sources = {**gpu.sources, "l2_bytes": "the CUDA runtime, on the board that was measured"}
    return gpu.model_copy(update={"l2_bytes": l2_bytes, "sources": sources})

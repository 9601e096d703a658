"""What a run was measured on, read leniently: a page about a run must appear even where its environment.json is thin or damaged."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from benches.run.json_file import read_json
from kernels.cpu_model import CpuError, CpuModel, cpu_model_for
from kernels.gpus import Ceilings, Gpu, GpuError, gpu_for_board, load_gpu, with_board_l2
from kernels.precisions import PRECISIONS

NAME = "environment.json"
UNKNOWN = "not known"
MAX_NAME = 100  # characters of a device's name that a message repeats
# What a reader looks for first; whatever else environment.json holds follows.
EXPECTED = (
    *("started_utc", "finished_utc", "interrupted", "host", "device_kind", "device_name", "device_uuid", "gpu", "driver"),
    *("commit", "dirty", "seed", "sweeps", "regime", "cpu", "versions", "ceilings"),
)


@dataclass(frozen=True)
class Environment:
    """environment.json, and what the device can do at most."""

    fields: dict[str, Any]
    ceilings: Ceilings | None  # None: unknown device, so no fraction of peak and no prediction are shown
    ceilings_from: str  # in words, for the page
    problems: list[str] = field(default_factory=list)

    @property
    def kind(self) -> str:
        """cuda, cpu, simulated, or unknown."""
        kind = self.fields.get("device_kind")
        return kind if kind in ("cuda", "cpu", "simulated") else "unknown"

    def text(self, name: str) -> str:
        """A field in words; what is missing or null is "not known"."""
        value = self.fields.get(name)
        if value is None or value in ("", [], {}):
            return UNKNOWN
        if isinstance(value, bool):
            return "yes" if value else "no"
        if isinstance(value, list):
            return ", ".join(map(str, value))
        return str(value)


def load_environment(run_dir: Path) -> Environment:
    """Never raises for what the file holds; `problems` says what was wrong with it."""
    path = run_dir / NAME
    try:
        fields = read_json(path)
        if not isinstance(fields, dict):
            raise ValueError("not an object")
    except FileNotFoundError:
        return Environment(
            {}, None, "no environment.json", [f"{NAME} is missing: the device is not known, so no fraction of peak is shown"]
        )
    except (OSError, ValueError) as error:
        return Environment({}, None, "unreadable environment.json", [f"{NAME} cannot be read: {error}"])
    ceilings, source = _ceilings(fields)
    problems = [] if ceilings else [f"no peaks for this device ({source}): no fraction of peak and no prediction are shown"]
    return Environment(fields, ceilings, source, problems + _notes(fields))


def _ceilings(fields: dict[str, Any]) -> tuple[Ceilings | None, str]:
    """Measured ones where the run brings them (a CPU), else those of the GPU's YAML. A peak is never guessed."""
    if measured := fields.get("ceilings"):
        try:
            model = _cpu_model(fields.get("cpu"))
            source = f"measured in this run; times by constants {model.fitted_on}" if model else "measured in this run"
            return Ceilings.model_validate(_known(measured)).model_copy(update={"cpu_model": model}), source
        except CpuError as error:
            return None, str(error)
        except ValidationError as error:
            return None, f"`ceilings` of {NAME}: {quoted(error.errors()[0]['msg'])}"
    try:
        gpu = load_gpu(str(fields["gpu"])[:MAX_NAME]) if fields.get("gpu") else gpu_for_board(str(fields.get("device_name")))
    except GpuError as error:
        return None, str(error)
    if gpu is None:
        name = fields.get("device_name")
        return None, f"no file in configs/gpus names {quoted(str(name)) if name else 'it'}"
    return _on_its_board(gpu, fields.get("l2_bytes"))


def _known(measured: Any) -> Any:
    """Returns ceilings without the fields and the precisions that only a newer version knows."""
    if not isinstance(measured, dict):
        return measured
    kept = {name: value for name, value in measured.items() if name in Ceilings.model_fields}
    peaks = kept.get("peak_flops_per_s")
    if isinstance(peaks, dict):
        kept["peak_flops_per_s"] = {name: peak for name, peak in peaks.items() if name in PRECISIONS}
    return kept


def _on_its_board(gpu: Gpu, l2_bytes: Any) -> tuple[Gpu, str]:
    """A GPU with the L2 of the board that was measured, where the run recorded it."""
    source = f"configs/gpus/{gpu.name}.yaml"
    if not isinstance(l2_bytes, int) or isinstance(l2_bytes, bool) or l2_bytes <= 0 or l2_bytes == gpu.l2_bytes:
        return gpu, source
    return with_board_l2(gpu, l2_bytes), f"{source}, with the board's own L2 of {l2_bytes:,} bytes"


def _notes(fields: dict[str, Any]) -> list[str]:
    """What the run said that it lacks: a MIG slice's peaks, NVML's readings."""
    notes = fields.get("notes")
    return [note for note in notes if isinstance(note, str)] if isinstance(notes, list) else []


def _cpu_model(cpu: Any) -> CpuModel | None:
    """The constants of the machine, where `python -m reports calibrate` has fitted some."""
    if not isinstance(cpu, dict) or not isinstance(cpu.get("model"), str) or not isinstance(cpu.get("threads"), int):
        return None
    return cpu_model_for(cpu["model"], cpu["threads"])


def flat(value: dict[str, object], prefix: str = "") -> list[tuple[str, str]]:
    """Names and texts of an object's items; those of an object within it with their path: "versions torch"."""
    pairs: list[tuple[str, str]] = []
    for name, item in value.items():
        pairs += flat(item, f"{prefix}{name} ") if isinstance(item, dict) else [(f"{prefix}{name}", UNKNOWN if item is None else str(item))]
    return pairs


def quoted(text: str) -> str:
    """Of a file's own words as much as a message repeats, on one line."""
    return repr(text[:MAX_NAME])

"""Constants as YAML, ready for configs/gpus or configs/cpus."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import yaml

from kernels.calibrated import Calibration
from kernels.cpu_model import CpuModel
from kernels.gpus import Gpu
from kernels.writing import write_text

DIGITS = 4  # a fit knows no more


def gpu_yaml(gpu: Gpu, model: Calibration, source: str) -> str:
    """The GPU's whole file, with other constants."""
    fields = gpu.model_dump(mode="json", exclude_defaults=True, exclude={"model", "sources"})
    sources = {**gpu.sources, "model": f"fitted by `python -m reports calibrate` on {datetime.now(UTC):%Y-%m-%d}, to {source}"}
    text = f"# {gpu.name} with constants fitted to {source}. Dense peaks, SI units.\n"
    return text + _dump({**fields, "sources": sources, "model": _rounded(model.model_dump(mode="json"))})


def cpu_yaml(model: CpuModel) -> str:
    """A file of configs/cpus."""
    made = f"# Made by `python -m reports calibrate` on {datetime.now(UTC):%Y-%m-%d}; kernels/cpu_model.py holds the form. SI units.\n"
    return made + _dump(_rounded(model.model_dump(mode="json")))


def write(text: str, path: Path) -> None:
    """Atomically. Raises OSError."""
    write_text(path, text)


def _dump(fields: dict[str, Any]) -> str:
    return yaml.dump(fields, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=140)


def _rounded(value: Any) -> Any:
    """Floats as a fit knows them."""
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list) else value


class _Dumper(yaml.SafeDumper):
    """Floats as YAML 1.1 reads them: a mantissa with a point, an exponent with a sign."""


def _float(dumper: yaml.SafeDumper, value: float) -> yaml.ScalarNode:
    text = f"{value:.10g}"
    mantissa, mark, exponent = text.partition("e")
    if "." not in mantissa:
        mantissa += ".0"
    return dumper.represent_scalar("tag:yaml.org,2002:float", mantissa + mark + exponent)


_Dumper.add_representer(float, _float)

"""The calibrated level on a CPU: what a call costs before its kernel starts, and the rates that each kind of kernel reaches.

PyTorch's CPU kernels differ by function and precision by more than any ceiling explains (a vectorised add runs at the speed of the
memory, a scalar tanh at a tenth of it; a precision without units is emulated), and the machine's cores, threads and caches differ
more still. So rates are absolute, measured on one machine by `python -m reports calibrate`, and used on machines of the same CPU
model and as many threads. A kernel without a rate of its own is predicted by the ceilings that its run measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import yaml
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, PositiveFloat, PositiveInt, ValidationError

from kernels.op import Point
from kernels.parts import Contraction, Part, Stream, one_a_part
from kernels.registry import OPS

Array = NDArray[np.float64]

CPU_DIR = Path(__file__).resolve().parent.parent / "configs" / "cpus"
BATCHED = " batched"  # ends the name of a batched contraction's rates: PyTorch has other kernels for these
VALUES_ONLY = ("data",)  # options that change the inputs' values, not the kernel


class CpuError(ValueError):
    """A CPU's YAML that is wrong. The message is one line."""


class CpuModel(BaseModel):
    """Constants of `cpu_s`. Kernels are named by `kernel_name`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    cpu: str = Field(description="The model name that the machine reports.")
    threads: PositiveInt = Field(description="The number of threads that it was measured with.")
    call_s: NonNegativeFloat = Field(description="The time that each kernel takes before it starts: Python, dispatch, waking the threads.")
    flops_per_s: dict[str, PositiveFloat] = Field(
        description="The rate at which contractions compute, by precision, and apart for batched ones."
    )
    operand_bytes_per_s: dict[str, PositiveFloat] = Field(
        description="The rate at which contractions read, convert and pack their operands."
    )
    bytes_per_s: dict[str, PositiveFloat] = Field(
        description="The analytic traffic of streams over their time, whatever limits them, by op, options and precision."
    )
    fitted_on: str = Field(description="The run and the rows that it was fitted on.")
    error: str = Field(description="The error on held-out rows.")


def kernel_name(point: Point, part: Part) -> str:
    """`fp32`, `fp32 batched` for contractions; `elementwise gelu fp32`, `einsum fp32` for streams: op, options, precision."""
    if isinstance(part, Contraction):
        return point.precision + (BATCHED if part.batched else "")
    op = OPS[point.op]
    options = [
        value
        for name, value in point.options.items()
        if name not in VALUES_ONLY and not op.on_matrix_units and (op.options[name].leading or value != op.options[name].default)
    ]
    return " ".join([point.op, *options, point.precision])


def cpu_s(
    asked: Sequence[tuple[Point, Sequence[Part]]], model: CpuModel, peaks: Mapping[str, float], bandwidth_bytes_per_s: float
) -> tuple[Array, Array]:
    """Seconds and the calls' overhead in them, each (N,): the sums over each point's parts of

        contraction   calls + FLOPs / flops_per_s + operand bytes / operand_bytes_per_s
        stream        calls + bytes / bytes_per_s

    calls = call_s · the point's operators.

    A rate that the model lacks is the peak or the bandwidth given. A point without parts, or whose parts do nothing (a view), is a call.
    NaN where neither knows a precision.
    """
    total, calls = np.zeros(len(asked)), np.zeros(len(asked))
    for i, (point, parts) in enumerate(asked):
        calls[i] = model.call_s * operators(point, parts)
        total[i] = calls[i]
        for part in parts:
            name = kernel_name(point, part)
            if isinstance(part, Stream):
                seconds = part.bytes / model.bytes_per_s.get(name, bandwidth_bytes_per_s)
            else:
                rate = model.flops_per_s.get(name, peaks.get(point.precision, np.nan))
                seconds = flops(part) / rate + operand_bytes(part) / model.operand_bytes_per_s.get(name, bandwidth_bytes_per_s)
            total[i] += part.times * seconds
    return total, calls


def operators(point: Point, parts: Sequence[Part]) -> int:
    """How many operators PyTorch calls for a point, at least one; of a point of another version, one a part."""
    count = OPS[point.op].operators if point.op in OPS else one_a_part
    return count(point, parts)


def flops(part: Contraction) -> int:
    """2 · batch · m · n · k."""
    return 2 * part.batch * part.m * part.n * part.k


def operand_bytes(part: Contraction) -> int:
    """Of both operands."""
    return part.batch * part.k * (part.m + part.n) * part.element_bytes


def load_cpu_models() -> list[CpuModel]:
    """Those of configs/cpus, by file name. Raises CpuError for a wrong file."""
    return [read_cpu_model(path) for path in sorted(CPU_DIR.glob("*.yaml"))]


def read_cpu_model(path: Path) -> CpuModel:
    """Raises CpuError."""
    try:
        return CpuModel.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError, UnicodeDecodeError) as error:
        raise CpuError(f"{path}: {' '.join(str(error).split())}") from error
    except ValidationError as error:
        first = error.errors()[0]
        raise CpuError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def cpu_model_for(cpu: str, threads: int) -> CpuModel | None:
    """The constants of a machine; None for one that nobody calibrated."""
    return next((model for model in load_cpu_models() if (model.cpu, model.threads) == (cpu, threads)), None)

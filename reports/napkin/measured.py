"""The MFU that a run measured for a model's own layers: their FLOPs over their times, over the convention's peak."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benches.row import TIMED, Row
from benches.run.journal import NAME, read_journal
from benches.sweep.shapes import Layer
from kernels.cost_model import MFU_PEAK_FLOPS_PER_S
from reports.environment import load_environment

PLAIN = {"data": "normal", "operands": "contiguous"}  # options that a layer's row must not change


class MeasuredError(ValueError):
    """A run that says nothing about a model's MFU. The message is one line."""


@dataclass(frozen=True)
class LayerTime:
    """One layer's matmul, once: FLOPs, seconds and the row's status; `count` of them in the model."""

    name: str
    count: int
    flops: float
    seconds: float
    status: str


@dataclass(frozen=True)
class Measured:
    """The layers of a model as a run timed them, each with `tokens` rows."""

    run: Path
    device: str
    simulated: bool  # its times come from a model of a GPU
    impl: str
    precision: str
    tokens: int
    layers: tuple[LayerTime, ...]

    @property
    def flops(self) -> float:
        return sum(layer.count * layer.flops for layer in self.layers)

    @property
    def seconds(self) -> float:
        return sum(layer.count * layer.seconds for layer in self.layers)

    @property
    def mfu(self) -> float:
        """Of the forward matmuls; the backward's are taken to run as well."""
        return self.flops / self.seconds / MFU_PEAK_FLOPS_PER_S


def layer_times(run_dir: Path, model: str, model_layers: Sequence[Layer], impl: str, precision: str, tokens: int | None) -> Measured:
    """The layers' times in a run, at the largest m at which all were timed, or at m = `tokens`.

    Raises MeasuredError, which names every layer that is missing, where no m has all of them.
    """
    try:
        rows = read_journal(run_dir).rows
    except OSError as error:
        raise MeasuredError(f"{run_dir}: no readable {NAME}: {error.strerror}") from error
    found: dict[int, dict[str, Row]] = {}
    for row in rows:
        if row.op == "matmul" and (row.impl, row.precision) == (impl, precision) and set(row.dims) == {"m", "n", "k"} and _plain(row):
            for layer in model_layers:
                if (layer.n, layer.k) == (row.dims["n"], row.dims["k"]):
                    found.setdefault(row.dims["m"], {})[layer.name] = row
    timed = {m: {name for name, row in at.items() if row.status in TIMED and row.median_s and row.flops} for m, at in found.items()}
    best = tokens or max(timed, key=lambda m: (len(timed[m]), m), default=0)
    at = found.get(best, {})
    missing = [layer for layer in model_layers if layer.name not in timed.get(best, ())]
    if missing:
        where = f"at m {best} " if best else ""
        lacks = ", ".join(_lack(layer, at) for layer in missing)
        raise MeasuredError(f"{run_dir} has no timed {impl} {precision} matmul {where}of {model}'s {lacks}")
    layers = (_layer_time(layer, at[layer.name]) for layer in model_layers)
    environment = load_environment(run_dir)
    simulated = environment.kind == "simulated"
    return Measured(run_dir, environment.text("device_name"), simulated, impl, precision, best, tuple(layers))


def _plain(row: Row) -> bool:
    """As torch.nn.Linear multiplies: row-major activations by a transposed weight, and inputs as usual."""
    return row.layout == "nt" and all(row.options.get(option, usual) == usual for option, usual in PLAIN.items())


def _lack(layer: Layer, at: dict[str, Row]) -> str:
    status = f", {at[layer.name].status}" if layer.name in at else ""
    return f"{layer.name} (n {layer.n}, k {layer.k}{status})"


def _layer_time(layer: Layer, row: Row) -> LayerTime:
    return LayerTime(layer.name, layer.count, row.flops, float(row.median_s or 0), row.status)

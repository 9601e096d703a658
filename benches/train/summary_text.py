"""A training run's summary at a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from benches.train.session import Result
from benches.units import bytes_text, time_text
from kernels.cost_model import MFU_PEAK_FLOPS_PER_S, predict_phases
from kernels.training.memory import memory
from kernels.training.sizes import config_of, flops, tokens_of, unit_of
from kernels.training.tokens import ENTROPY


def show(result: Result, console: Console) -> None:
    """Prints loss, rates, memory and the breakdown."""
    for line in lines(result):
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    if result.phases_s:
        console.print(breakdown(result))


def lines(result: Result) -> Iterator[str]:
    """What each figure is by stands beside it."""
    if result.first_loss is None or result.last_loss is None:
        yield f"nothing to do: {result.steps} steps are already done"
        return
    yield loss_text(result.first_loss, result.last_loss, result.point.options["model"], result.made_up)
    if result.skipped:
        yield f"skipped    {result.skipped} steps whose gradients overflowed; the loss scale was halved each time"
    if result.step_s:
        point, tokens, unit = result.point, tokens_of(result.point), unit_of(result.point)
        napkin, exact = config_of(point).napkin_flops(tokens, 6), flops(point).model
        yield f"step       {time_text(result.step_s)}, {tokens / result.step_s:,.0f} {unit}/s"
        for name, count in ((f"6·N·{unit}", napkin), ("exact FLOPs", exact)):
            rate = count / result.step_s
            yield f"MFU        {100 * rate / MFU_PEAK_FLOPS_PER_S:.3g}% by {name} ({rate:.3g} FLOP/s of 1979e12/2)"
    m = memory(result.point, "cuda" if result.on.gpu else "cpu")
    parts = ", ".join(f"{bytes_text(getattr(m, name))} {name}" for name in ("weights", "gradients", "optimizer", "activations"))
    yield f"memory     {parts}, by formula; {bytes_text(m.peak)} at the peak"


def loss_text(first: float, last: float, model: str, made_up: bool) -> str:
    """The first and the last loss, and what the best model reaches on made-up data."""
    if model == "deep_linear":
        best = "; the targets are a linear function of the features, so the best model reaches 0" if made_up else ""
        return f"loss       {first:.4g} → {last:.4g}, mean squared error{best}"
    best = f"; the source's entropy is {ENTROPY:.4f}" if made_up else ""
    return f"loss       {first:.4f} → {last:.4f} nats a token{best}"


def breakdown(result: Result) -> Table:
    """Each phase, its share, and its prediction where the GPU is known."""
    predicted = predict_phases(result.point, result.on.gpu) if result.on.gpu else {}
    total = sum(result.phases_s.values())
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("phase")
    for heading in ("time", "share", *(["predicted"] if predicted else [])):
        table.add_column(heading, justify="right")
    for name, seconds in result.phases_s.items():
        table.add_row(name, time_text(seconds), f"{seconds / total:.1%}", *([time_text(predicted[name])] if predicted else []))
    return table

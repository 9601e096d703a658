"""The page's section on training steps: figures worked out by hand, steps without a time, and only where a run has such steps."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from benches.row import Row, new_row
from kernels.registry import OPS
from kernels.training.memory import memory
from reports.report import load_report
from reports.sections.training import training

OP = OPS["train_step"]
DIMS = {"batch": 2, "sequence": 3, "layers": 1, "hidden": 4, "heads": 2, "feedforward": 5, "vocab": 7}
PHASES = {"data": 1e-4, "forward": 2e-4, "backward": 5e-4, "optimizer": 2e-4}


def step(seconds: float | None, precision: str = "fp32", **options: str) -> Row:
    point = OP.point("torch", precision, DIMS, {"model": "transformer", **options})
    if seconds is None:
        return new_row(point, OP.cost(point, "cpu"), "unsupported", "no such units")
    measured = {"median_s": seconds, "phases_s": PHASES, "peak_memory_bytes": 2 * memory(point, "cpu").peak + 512, "scratch_bytes": 512}
    return new_row(point, OP.cost(point, "cpu"), "ok", **measured)


def tables(html: str) -> dict[str, dict[str, list[str]]]:
    """Cells of each table by its heading, then by the step's name."""
    found = {}
    for part in html.split("<h3>")[1:]:
        rows = [re.findall(r"<td.*?</td>", row, re.DOTALL) for row in re.findall(r"<tr>(.*?)</tr>", part, re.DOTALL)]
        cells = [[re.sub(r"<[^>]*>", "", cell).replace("\u00a0", " ") for cell in row] for row in rows if row]
        found[part.split("</h3>", maxsplit=1)[0]] = {row[0]: row[1:] for row in cells}
    return found


@pytest.fixture
def rates(make_run: Callable[..., Path]) -> dict[str, list[str]]:
    """On a GPU: a CPU's page has no MFU."""
    made = training(load_report(make_run("cuda", rows=[step(1e-3), step(2e-3, checkpointing="full")])))
    assert made is not None
    return tables(str(made.body))["Rates"]


@pytest.fixture
def section(make_run: Callable[..., Path]) -> dict[str, dict[str, list[str]]]:
    rows = [step(1e-3), step(2e-3, checkpointing="full"), step(None, "tf32"), step(1e-3, "fp8_e4m3", loading="ahead", optimizer="sgd")]
    made = training(load_report(make_run(rows=rows)))
    assert made is not None
    assert [chart.id for chart in made.charts] == ["training"]
    return tables(str(made.body))


SIZES = "2×3×1×4×2×5×7"


def test_rates(rates: dict[str, list[str]], section: dict[str, dict[str, list[str]]]) -> None:
    """6 tokens a millisecond. 204 parameters: 6 · 204 · 6 FLOPs; exact 3 · (2 · 6 · 152 + 4 · 2 · 9 · 4); again 2 · 2 · 9 · 4 of them."""
    status, median, tokens, napkin, exact, again, _, _ = rates[f"fp32 {SIZES}"]
    assert len(section["Rates"][f"fp32 {SIZES}"]) == 6
    assert (status, median, tokens) == ("ok", "1.000 ms", "6,000")
    assert float(napkin.rstrip("%")) == pytest.approx(6 * 204 * 6 / 1e-3 / 989.5e12 * 100, rel=0.05)
    model = 3 * (2 * 6 * 152 + 4 * 2 * 9 * 4)
    assert float(exact.rstrip("%")) == pytest.approx(model / 1e-3 / 989.5e12 * 100, rel=0.05)
    assert float(again.rstrip("%")) == pytest.approx(2 * 2 * 9 * 4 / model * 100, rel=0.05)


def test_computing_again_earns_no_mfu(rates: dict[str, list[str]]) -> None:
    """Twice the time, so half the MFU, though more was computed."""
    kept, again = rates[f"fp32 {SIZES}"], rates[f"fp32 checkpointing {SIZES}"]
    assert float(again[4].rstrip("%")) == pytest.approx(float(kept[4].rstrip("%")) / 2, rel=0.1)
    assert float(again[5].rstrip("%")) > float(kept[5].rstrip("%"))


def test_phases_stand_beside_their_prediction(section: dict[str, dict[str, list[str]]]) -> None:
    """The optimizer's, by hand: AdamW moves 28 bytes a parameter at the L2's 90 GB/s, by four operators of 1.2 us.

    Without a peak for fp8 its products have none.
    """
    phases = section["Phases"]
    assert phases[f"fp32 {SIZES}"][0::2] == ["100.0 µs", "200.0 µs", "500.0 µs", "200.0 µs"]
    assert phases[f"fp32 {SIZES}"][-1] == "4.863 µs"  # 28 · 204 / 9e10 + 4 · 1.2e-6
    fp8 = phases[f"fp8_e4m3 sgd ahead {SIZES}"]
    assert (fp8[3], fp8[5]) == ("—", "—")
    assert f"tf32 {SIZES}" not in phases


def test_memory_by_formula_beside_measured(section: dict[str, dict[str, list[str]]]) -> None:
    """204 parameters of 4 bytes, AdamW twice that; the made-up measurement is twice the formula."""
    weights, gradients, optimizer, *_, ratio, scratch = section["Memory"][f"fp32 {SIZES}"]
    assert (weights, gradients, optimizer, ratio, scratch) == ("816.0 B", "816.0 B", "1.632 kB", "2.00×", "512.0 B")
    assert section["Memory"][f"tf32 {SIZES}"][-3:] == ["—", "—", "—"]


def test_only_where_there_are_steps(make_run: Callable[..., Path]) -> None:
    assert training(load_report(make_run())) is None


def test_steps_of_another_version_are_left_out(make_run: Callable[..., Path]) -> None:
    strange = step(1e-3).model_copy(update={"options": {"model": "transformer", "optimizer": "lion"}})
    assert training(load_report(make_run(rows=[strange]))) is None

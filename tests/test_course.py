"""The sweep `course` holds the examples of the course notes, at the costs that the notes work out, and docs/course.md leads to each."""

from __future__ import annotations

import re

import pytest

from benches.plan import make_plan
from benches.sweep.load import load_sweep
from benches.units import time_text
from kernels.gpus import DEFAULT_GPU, load_gpu
from kernels.guard import ROOT
from kernels.layout.strided import result, shares_storage
from kernels.registry import OPS
from tests.test_docs import commands_of

PAGE = (ROOT / "docs" / "course.md").read_text(encoding="utf-8")
POINTS = {point.id: point for point in load_sweep("course").points}
FLOPS = {point.id: OPS[point.op].cost(point, "cpu").flops for point in POINTS.values()}
HEADINGS = [
    "Motivating questions",
    "Precisions",
    "Tensor storage",
    "Slicing",
    "Elementwise",
    "Matmul",
    "Einops",
    "FLOPs",
    "Gradients",
    "Parameters",
    "Optimizer",
    "Train loop",
]


def sections() -> dict[str, str]:
    """The text under each heading of the page."""
    parts = re.split(r"^## (.*)$", PAGE, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def test_every_heading_of_the_notes_has_a_command() -> None:
    found = sections()
    assert list(found) == HEADINGS
    assert [heading for heading, text in found.items() if not list(commands_of(text))] == []


@pytest.mark.parametrize(
    ("point", "flops"),
    [
        ("matmul-torch-fp32-16x2x32", 2 * 16 * 32 * 2),
        ("matmul-torch-fp32-4x8x16x2x32-shared", 2 * 4 * 8 * 16 * 32 * 2),
        ("matmul-torch-bf16-1024x64x256", 2 * 1024 * 256 * 64),
        ("elementwise-torch-fp32-add-4096x4096", 4096 * 4096),
        ("einsum-torch-fp32-batch.seq1.hidden+batch.seq2.hidden-batch.seq1.seq2-2x3x4x3", 2 * 2 * 3 * 3 * 4),
        ("einsum-torch-fp32-....seq1.hidden+....seq2.hidden-....seq1.seq2-2x3x4x3", 2 * 2 * 3 * 3 * 4),
        ("gradient-torch-fp32-matmul-forward-1024x256x64", 2 * 1024 * 256 * 64),
        ("gradient-torch-fp32-matmul-backward-1024x256x64", 4 * 1024 * 256 * 64),
        ("gradient-torch-fp32-matmul-both-1024x256x64", 6 * 1024 * 256 * 64),
        # all parameters twice forward and four times backward, without the gradient of the first layer's input
        ("gradient-torch-fp32-deep_linear-both-1024x256x2", 1024 * (6 * (2 * 256**2 + 256) - 2 * 256**2)),
        ("layout-torch-fp32-transpose-4x4", 0),
    ],
)
def test_costs_are_those_of_the_notes(point: str, flops: int) -> None:
    assert FLOPS[point] == flops


def test_the_batched_product_has_the_shapes_of_the_notes() -> None:
    """(4, 8, 16, 32) @ (32, 2) -> (4, 8, 16, 2), four bytes an element."""
    point = POINTS["matmul-torch-fp32-4x8x16x2x32-shared"]
    cost = OPS["matmul"].cost(point, "cpu")
    assert (cost.bytes_read, cost.bytes_written) == (4 * (4 * 8 * 16 * 32 + 32 * 2), 4 * 4 * 8 * 16 * 2)


def test_it_plans_and_only_the_view_of_a_transpose_is_refused() -> None:
    plan = make_plan(load_sweep("course"), load_gpu(DEFAULT_GPU))
    refused = {point.options["function"]: why for point, why in zip(plan.points, plan.unsupported, strict=True) if why}
    assert list(refused) == ["view_of_transpose"]
    assert refused["view_of_transpose"].startswith("PyTorch raises RuntimeError: view size is not compatible")
    assert plan.fits.all()


def test_the_figures_of_the_page_are_those_of_the_sweep() -> None:
    shown = re.findall(r"^    (\S+-torch-\S+) +(\d+)(?: FLOPs)?\b", PAGE, re.MULTILINE)
    assert {point: int(flops) for point, flops in shown} == {point: FLOPS[point] for point, _ in shown}
    assert len(shown) == 8


def test_the_predictions_of_the_page_are_those_of_the_plan() -> None:
    plan = make_plan(load_sweep("course"), load_gpu(DEFAULT_GPU))
    p, order = plan.prediction, [point.id for point in plan.points]
    shown = re.findall(r"^    (\S+-torch-\S+) +\d+ .*?(\S+ [nmu]s) +(\w+)$", PAGE, re.MULTILINE)
    assert len(shown) == 3
    for point, predicted, bound in shown:
        i = order.index(point)
        assert (time_text(float(p.predicted_s[i])), p.bound[i]) == (predicted, bound)


@pytest.mark.parametrize(("name", "described"), re.findall(r"^    (\w+) +(strides .*storage)$", PAGE, re.MULTILINE))
def test_the_strides_of_the_page(name: str, described: str) -> None:
    assert result(name, 4, 4).describe(shares_storage(name, 4, 4)) == described


def test_the_optimizer_figures_of_the_page_are_those_of_the_sweep() -> None:
    shown = re.findall(r"^    (\w+) +(\d+) +(\d+) +(\d+)$", sections()["Optimizer"], re.MULTILINE)
    assert [name for name, *_ in shown] == ["sgd", "adagrad", "adamw"]
    for name, *figures in shown:
        point = POINTS[f"optimizer-torch-fp32-{name}-2x65536"]
        cost, parameters = OPS["optimizer"].cost(point, "cuda"), 2 * 65536
        assert [int(figure) * parameters for figure in figures] == [cost.flops, cost.bytes, cost.memory_bytes]

"""Tiles follow the GPU's SM count: which count is used, which tiles it chooses, and that an H100's tiles are unchanged."""

from __future__ import annotations

import re
from collections.abc import Callable
from types import SimpleNamespace

import pytest
import torch
from torch._subclasses import FakeTensorMode

from benches.run.journal import read_journal
from benches.sweep.load import load_sweep, sweep_names
from kernels.closure import closure
from kernels.compilation import compiling_for, platform_of, sm_count_of
from kernels.einsum import triton_impl as einsum
from kernels.elementwise import configs as elementwise
from kernels.elementwise.triton_impl import element_sizes
from kernels.gpus import load_gpu
from kernels.guard import ROOT
from kernels.inspect_gather import gather
from kernels.matmul import configs as matmul
from kernels.matmul import triton_impl
from kernels.op import Point
from kernels.registry import OPS, impl_of, point_of
from kernels.support import Platform

H100_SMS = 132  # NVIDIA H100 whitepaper, SXM5
CHOOSES: dict[str, Callable[[Point, int], str]] = {
    "matmul": lambda point, sms: str(triton_impl.choose_for(point, sms)),
    "elementwise": lambda point, sms: str(elementwise.choose(*element_sizes(point), point.dims["m"], point.dims["n"], sms)),
    "einsum": lambda point, sms: " + ".join(str(einsum.config_of(launch, point.precision, sms)) for launch in einsum.launches(point)),
}


def test_without_a_gpu_the_count_is_that_of_the_gpu_compiled_for_or_the_default_one() -> None:
    x = torch.empty(1, device="meta")
    assert sm_count_of(x) == sm_count_of(torch.empty(1)) == H100_SMS
    with compiling_for(load_gpu("b200")):
        assert sm_count_of(x) == load_gpu("b200").sm_count == 148
        assert platform_of(x) == Platform("cuda", (10, 0))
        with compiling_for(load_gpu("h100_pcie")):
            assert sm_count_of(x) == 114
        assert sm_count_of(x) == 148
    assert sm_count_of(x) == H100_SMS
    assert platform_of(x) == Platform("cuda", (9, 0))


def test_a_kernels_source_hash_does_not_take_in_how_gpus_are_described() -> None:
    """Otherwise an edit there would count as an edit of every Triton kernel."""
    for op in CHOOSES:
        text = closure((OPS[op].impls["triton"].build, OPS[op].make_inputs), OPS[op])
        assert "sm_count_of" in text
        assert "pydantic" not in text


def test_fake_tensors_are_on_no_board() -> None:
    torch._C._ensureCUDADeviceGuardSet()
    with FakeTensorMode():
        x = torch.empty(1, device="cuda")
        assert x.is_cuda
        assert sm_count_of(x) == H100_SMS


def test_on_a_board_it_is_the_boards_own_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """A slice of a GPU has fewer SMs than its description."""
    monkeypatch.setattr(torch.Tensor, "is_cuda", True)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(multi_processor_count=60))
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 9))
    assert platform_of(torch.empty(1)) == Platform("cuda", (8, 9))
    assert sm_count_of(torch.empty(1)) == 60
    with compiling_for(load_gpu("b200")):
        assert sm_count_of(torch.empty(1)) == 60, "what runs is what the board can hold"


@pytest.mark.parametrize(
    ("gpu", "matmul_config", "block"),
    [
        ("a100_sxm4_80gb", "128x256x64 w8 s4", "4096 w4"),  # 128 tiles of 128 × 256 fill its 108 SMs; 8 · 108 = 864 blocks
        ("h100_pcie", "128x256x64 w8 s4", "4096 w4"),  # 114
        ("h100_sxm5", "128x128x64 w4 s3", "1024 w2"),  # 132; 1,056 blocks
        ("b200", "128x128x64 w4 s3", "1024 w2"),  # 148
    ],
)
def test_fewer_sms_are_filled_by_larger_tiles(gpu: str, matmul_config: str, block: str) -> None:
    """2048 × 2048 in bf16: 8 · 16 tiles, 1,024 blocks of 4,096 elements."""
    sms = load_gpu(gpu).sm_count
    assert str(matmul.choose("bf16", 2048, 2048, 2048, 1, True, sms)) == matmul_config
    assert str(elementwise.choose(2, 2, 2048, 2048, sms)) == block


def test_inspect_compiles_the_tiles_of_the_gpu_that_it_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(einsum, "CLASSES", {"few": ("m k, k n -> m n", {"m": 2048, "n": 2048, "k": 2048})})
    monkeypatch.setattr(einsum, "REDUCTIONS", {})
    bf16 = {
        gpu: [c.config for c in gather([OPS["einsum"]], gpu=gpu and load_gpu(gpu)) if c.precision == "bf16"] for gpu in (None, "h100_pcie")
    }
    assert bf16 == {None: ["128x128x64 w4 s3"], "h100_pcie": ["128x256x64 w8 s4"]}


@pytest.mark.parametrize("run", ["2026-11-26-h100_sxm5-first-look", "h100_sxm5-2026-11-26"])
def test_an_h100_runs_what_it_ran(run: str) -> None:
    """The configs that rows of a board recorded when its 132 SMs were written into the code. Five choices are newer: 128 × 128 at 3
    stages, k split among blocks, the smallest tile of fp32, two warps for the smaller block of elementwise, and tma for large products."""
    rows = [row for row in read_journal(ROOT / "docs" / "validation" / run).rows if row.impl == "triton" and row.config]
    both = {row.point: (row.config, CHOOSES[row.op](point_of(row), H100_SMS)) for row in rows if row.op in CHOOSES}
    kept = {name: (ran, now) for name, (ran, now) in both.items() if not re.search(r"^tma | k\d|128x128x64 w4 s3|64x32x16 w4 s4| w2$", now)}
    assert len(kept) >= 10
    assert {name: configs for name, configs in kept.items() if configs[0] != configs[1]} == {}


@pytest.mark.slow
def test_every_shipped_point_has_the_default_gpus_tiles_where_no_gpu_is() -> None:
    """The tiles that the interpreter builds are an H100's."""
    points = {point.id: point for name in sweep_names() for point in load_sweep(name).points if point.op in CHOOSES}
    triton = [p for p in points.values() if p.impl == "triton" and not impl_of(p).unsupported(p, Platform("cuda", (9, 0)))]
    assert len(triton) > 1000
    here = sm_count_of(torch.empty(1, device="meta"))
    assert [p.id for p in triton if CHOOSES[p.op](p, here) != CHOOSES[p.op](p, H100_SMS)] == []

"""What torch.compile runs with: pinned where it would choose by timing, and recorded."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from benches.correctness import check
from benches.devices.tensors import TensorWorkload
from benches.doctor.selftest import small
from benches.sweep.load import load_sweep
from kernels import torch_modes
from kernels.op import Kernel, Point
from kernels.registry import OPS, impl_of
from kernels.support import Platform
from kernels.torch_modes import PINNED, chosen_kernels, compile_for, describe_configs, pinned
from tests.runs_in import examples

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def on_an_h100() -> dict[str, Any]:
    """What tests/inductor_h100.py prints."""
    environment = {**os.environ, "TRITON_INTERPRET": ""}
    done = subprocess.run(
        [sys.executable, "-m", "tests.inductor_h100"], cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


# Configurations of each kernel by default, the reason for the settings: to be corrected where PyTorch has changed its mind. The third
# column is what the one configuration of each kernel is, pinned.
CHOICES = [
    ("bias, GELU, residual", [2], "1024 w4"),
    ("transpose", [1], "32x32 w4"),
    ("softmax of short rows", [3], "8 w2"),
    ("softmax of long rows", [2], "1x2048 w16"),
    ("sum of rows", [1, 1], "64x8 w4 + 128 w8"),
    ("sum in the middle", [1, 1], "16x32 w4 + 128 w4"),
    ("RMSNorm", [2], "1x2048 w16"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("name", "by_default", "config"), CHOICES)
def test_no_kernel_is_chosen_by_timing(on_an_h100: dict[str, Any], name: str, by_default: list[int], config: str) -> None:
    found = on_an_h100[name]
    assert found["default"]["candidates"] == by_default
    assert found["pinned"]["candidates"] == [1] * len(by_default)
    assert found["pinned"]["before"] is None, "nothing has run"
    assert found["pinned"]["after"] == config
    assert found["pinned"]["modules"] > 1, "a kernel's own module holds it once more"


def test_settings_that_this_pytorch_lacks_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    assert pinned() == PINNED
    monkeypatch.setitem(PINNED, "triton.of_a_later_version", True)
    assert "triton.of_a_later_version" not in pinned()


@pytest.mark.parametrize(
    ("configs", "expected"),
    [
        ([], None),
        ([({"XBLOCK": 1024}, 4, 1)], "1024 w4"),
        ([({"XBLOCK": 1, "R0_BLOCK": 2048}, 16, 1), ({"XBLOCK": 32, "YBLOCK": 32}, 4, 3)], "1x2048 w16 + 32x32 w4 s3"),
        ([({"XBLOCK": 1024}, 4, 1), ({"XBLOCK": 8}, 2, 1), ({"XBLOCK": 1024}, 4, 1)], "1024 w4 ×2 + 8 w2"),
        ([({"XBLOCK": 8, "RSPLIT_SIZE": 64, "NUM_STAGES": 2}, 2, 1)], "8 w2"),
        ([({}, 8, 1)], "w8"),  # a reduction whose only block is the row
    ],
)
def test_configs_for_a_reader(configs: list[tuple[dict[str, int], int, int]], expected: str | None) -> None:
    assert describe_configs(configs) == expected


TEMPLATE = """
triton_tem_fused_mm_0 = async_compile.triton('triton_tem_fused_mm_0', '''
@triton_heuristics.template(

num_stages=3,
num_warps=8,
triton_meta={'signature': {'arg_A': '*bf16'}},
)
@triton.jit
def triton_tem_fused_mm_0(arg_A, arg_B, out_ptr0):
    EVEN_K : tl.constexpr = True
    BLOCK_M : tl.constexpr = 128
    BLOCK_N : tl.constexpr = 64
    BLOCK_K : tl.constexpr = 32
''', device_str='cuda')
"""
CALL = """
# Original ATen: [aten.mm]
        assert_size_stride(arg0_1, (127, 131), (131, 1))
        buf0 = empty_strided_cuda((127, 129), (129, 1), torch.float32)
        extern_kernels.mm(arg0_1, arg1_1, out=buf0)
"""


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("", ""),
        (CALL, "extern_kernels.mm"),
        (TEMPLATE, "triton_tem_fused_mm 128x64x32 w8 s3"),
        (CALL + TEMPLATE + CALL, "extern_kernels.mm + triton_tem_fused_mm 128x64x32 w8 s3"),
        ("buf0 = torch.ops.aten._scaled_mm.default(a, b)", "aten._scaled_mm.default"),
    ],
)
def test_what_inductor_chose(source: str, expected: str) -> None:
    assert chosen_kernels(source) == expected


@pytest.mark.slow
@pytest.mark.compiler
def test_an_autotuned_product_is_right_and_records_its_choice() -> None:
    point = OPS["matmul"].point("torch_compile_autotune", "fp32", {"m": 127, "n": 129, "k": 131})
    inputs = OPS["matmul"].load("make_inputs")(point, "cpu", 1)
    kernel = impl_of(point).load()(point, inputs)
    assert check(OPS["matmul"], point, kernel, inputs).ok
    assert callable(kernel.config)
    chosen = kernel.config()  # on a CPU PyTorch may also write code of its own
    assert chosen is None or "extern_kernels.mm" in chosen


def test_only_a_sweep_that_names_it_autotunes(tmp_path: Path) -> None:
    text = "sweeps:\n  - {op: matmul, precision: bf16, dims: {m: 1, n: 1, k: 1}%s}\n"
    for named, expected in (("", False), (", impl: torch_compile_autotune", True)):
        (tmp_path / "s.yaml").write_text(text % named, encoding="utf-8")
        assert any(point.impl == "torch_compile_autotune" for point in load_sweep(tmp_path / "s.yaml").points) is expected


def test_compiled_code_is_pinned_and_found_anew_for_each_point(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._inductor.codecache import PyCodeCache  # Inductor takes four seconds to import, which collecting tests need not wait for

    asked: list[dict[str, Any]] = []
    monkeypatch.setattr(torch, "compile", lambda function, **settings: asked.append(settings) or function)
    monkeypatch.setattr(torch_modes, "_compiled", {})
    monkeypatch.setattr(PyCodeCache, "modules", [SimpleNamespace(call=None)])
    point = OPS["matmul"].point("torch_compile", "bf16", {"m": 13, "n": 17, "k": 19})
    for _ in range(2):
        compile_for(point, torch.matmul)
    assert asked == [{"dynamic": False, "fullgraph": True, "options": pinned()}]
    assert PyCodeCache.modules == []


H100 = Platform("cuda", (9, 0))


def compiled_points() -> Iterator[Point]:
    """One of each op that torch.compile builds by default, at a small shape of a shipped sweep."""
    for op, found in examples().items():
        for impl in (impl for impl in OPS[op].impls.values() if impl.by_torch_compile and not impl.on_request):
            possible = (point for example in found for point in small(OPS[op], impl.name, "bf16", example))
            yield next(point for point in possible if impl.unsupported(point, H100) is None)


COMPILED = list(compiled_points())


@pytest.mark.parametrize("point", COMPILED, ids=lambda point: point.op)
def test_every_compiled_kernel_records_what_ran(monkeypatch: pytest.MonkeyPatch, point: Point) -> None:
    monkeypatch.setattr(torch, "compile", lambda function, **settings: function)
    monkeypatch.setattr(torch_modes, "_compiled", {})
    kernel = TensorWorkload(point, point, "cpu", seed=3)._last.kernel
    if kernel.config is torch_modes.kernel_configs:
        return
    assert callable(kernel.config)
    before = kernel.config()  # of ops whose config names strides: they stay
    monkeypatch.setattr(torch_modes, "kernel_configs", lambda: "1024 w4")
    assert "strides" in str(before)
    assert kernel.config() == f"{before}; 1024 w4"


def test_a_config_is_read_after_the_run() -> None:
    ran: list[str] = []
    point = OPS["matmul"].point("torch", "bf16", {"m": 3, "n": 5, "k": 7})
    workload = TensorWorkload(point, point, "cpu", seed=3)
    workload._last.kernel = Kernel(lambda: ran.append("8 w2"), lambda: ran[-1] if ran else None)
    assert workload.config is None
    workload._last.kernel.run()
    assert workload.config == "8 w2"


@pytest.mark.slow
@pytest.mark.compiler
def test_forward_and_backward_are_compiled_with_the_same_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._inductor import config as inductor
    from torch._inductor.graph import GraphLowering
    from torch._inductor.utils import fresh_cache

    seen: list[tuple[bool, bool]] = []
    codegen = GraphLowering.codegen

    def recorded(self: Any) -> Any:
        seen.append((inductor.triton.autotune_pointwise, inductor.dynamic_scale_rblock))
        return codegen(self)

    monkeypatch.setattr(GraphLowering, "codegen", recorded)
    point = COMPILED[5]
    with fresh_cache():
        workload = TensorWorkload(point, point, "cpu", seed=3)
        workload.poison()
        workload.launch()
        assert workload.verify().ok
    assert seen == [(False, False)] * 2
    assert (inductor.triton.autotune_pointwise, inductor.dynamic_scale_rblock) == (True, True), "of others' compilations nothing changes"
    assert workload.config is None, "C++ kernels have no configuration"

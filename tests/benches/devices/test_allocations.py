"""Memory that tensors hold, apart from the scratch of the kernels beneath them, which depends on the CPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch.library import Library

from benches.devices import cpu
from benches.devices.allocations import Allocations, allocated, held_by_tensors
from benches.devices.cpu import CpuDevice
from benches.devices.tensors import TensorWorkload
from benches.timing.measure import measure
from kernels.gpus import Ceilings
from kernels.guard import ROOT
from kernels.op import Point
from kernels.registry import OPS

M, K, N = 127, 129, 131
FLOAT = 4  # bytes


def checkpointed(x: torch.Tensor) -> torch.Tensor:
    return torch.utils.checkpoint.checkpoint(lambda t: (t * 2).exp().sum(), x, use_reentrant=False)


# What is called with an (M, K) tensor, and the elements that tensors of the call hold after it and held at most.
CALLS: list[tuple[str, Callable[[torch.Tensor], Any], int, int]] = [
    ("a view", lambda x: x.t()[3:].unsqueeze(0), 0, 0),
    ("in place", lambda x: x.mul_(2), 0, 0),
    ("a sum and what it is of", lambda x: (x + 1).sum(), 1, M * K + 1),
    ("one after the other", lambda x: (x + 1) * 2, M * K, 2 * M * K),
    ("two views of one result", lambda x: (x + 1).split(100), M * K, M * K),
    ("several results", lambda x: torch.aminmax(x, dim=0), 2 * K, 2 * K),
    ("a result that is resized", lambda x: torch.add(x, 1, out=torch.empty(0)), M * K, M * K),
    ("kept for a backward pass", lambda x: torch.nn.Parameter(x).exp().sum(), M * K + 1, M * K + 1),
    ("computed again in it", lambda x: checkpointed(x.requires_grad_()), 1, 2 * M * K),
    ("no numbers", lambda x: x.to("meta") + 1, 0, 0),
]


@pytest.mark.parametrize(("call", "net", "peak"), [c[1:] for c in CALLS], ids=[c[0] for c in CALLS])
def test_a_storage_counts_from_its_operator_until_its_last_tensor_is_gone(call: Callable[..., Any], net: int, peak: int) -> None:
    x = torch.ones(M, K)
    result, found = held_by_tensors(lambda: call(x))
    assert found == Allocations(FLOAT * net, FLOAT * peak)
    del result


def test_a_result_that_is_dropped_later_is_no_longer_held() -> None:
    kept: list[torch.Tensor] = []

    def call() -> None:
        kept.append(torch.ones(M))
        kept.append(torch.ones(K))
        kept.pop(0)
        torch.ones(N)

    assert held_by_tensors(call)[1] == Allocations(FLOAT * K, FLOAT * (K + N))


@pytest.fixture
def with_scratch() -> Iterator[Callable[[torch.Tensor], torch.Tensor]]:
    """An operator that copies its operand twice for itself, as a library packs operands, and returns a vector."""
    library = Library("microbench_tests", "FRAGMENT")
    library.define("with_scratch(Tensor x) -> Tensor")
    library.impl("with_scratch", lambda x: torch.cat([x, x]).sum(0), "CPU")
    yield torch.ops.microbench_tests.with_scratch
    library._destroy()


@pytest.mark.slow
def test_what_an_operator_takes_for_itself_is_scratch(with_scratch: Callable[[torch.Tensor], torch.Tensor]) -> None:
    x = torch.ones(M, K)
    (_, tensors), everything = allocated(lambda: held_by_tensors(lambda: with_scratch(x)))
    assert tensors == Allocations(FLOAT * K, FLOAT * K)
    assert everything == Allocations(FLOAT * K, FLOAT * (2 * M * K + K))


def product(precision: str) -> Point:
    return OPS["matmul"].point("torch", precision, {"m": M, "n": N, "k": K})


@pytest.mark.slow
def test_a_row_has_the_peak_of_the_allocator_and_the_scratch_in_it(
    with_scratch: Callable[[torch.Tensor], torch.Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Greedy(TensorWorkload):
        def launch(self) -> Any:
            with_scratch(self._sets[0].inputs.operands[0])
            return super().launch()

    monkeypatch.setattr(cpu, "TensorWorkload", Greedy)
    device = CpuDevice(Ceilings(peak_flops_per_s={"fp32": 1e11}, bandwidth_bytes_per_s=1e10))
    made = OPS["elementwise"].point("torch", "fp32", {"m": M, "n": K}, {"function": "add"})
    row = measure(made, device, seed=1, timing=False)
    assert row.scratch_bytes == FLOAT * 2 * M * K
    assert row.peak_memory_bytes == row.memory_bytes + FLOAT * (2 * M * K + K)  # the operator's result, which no formula knows


PRODUCT = """
import json
from benches.devices.cpu import CpuDevice
from kernels.gpus import Ceilings
from kernels.registry import OPS
point = OPS["matmul"].point("torch", "bf16", {sizes})
workload = CpuDevice(Ceilings(peak_flops_per_s={{"bf16": 1e11}}, bandwidth_bytes_per_s=1e10)).load(point, 1)
print(json.dumps([workload.peak_memory_bytes, workload.scratch_bytes]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("isa", ["AVX2", "DEFAULT"])
def test_a_bf16_product_holds_the_same_tensors_whatever_the_instruction_set(isa: str) -> None:
    """oneDNN takes the CPU's own instructions where they are fewer than it is allowed. With native bf16 it packs operands: scratch."""
    program = PRODUCT.format(sizes={"m": M, "n": N, "k": K})
    environment = {**os.environ, "ONEDNN_MAX_CPU_ISA": isa}
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, env=environment, capture_output=True, encoding="utf-8", check=True)
    peak, scratch = json.loads(done.stdout.splitlines()[-1])
    assert peak - scratch == OPS["matmul"].cost(product("bf16"), "cpu").memory_bytes

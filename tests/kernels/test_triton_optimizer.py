"""AdamW in Triton: every storage, one tensor and several, at sizes that end anywhere in a block; its counter; its machine code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benches.devices.tensors import TensorWorkload
from benches.timing.measure import gate
from kernels.op import Point
from kernels.optimizer import triton_impl
from kernels.optimizer.data import group, make_inputs
from kernels.optimizer.rules import adamw
from kernels.optimizer.spec import BETA1, BETA2, OP, STEPS_TAKEN

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"  # without a GPU, in Triton's interpreter
SIZES = ((1, 1), (1, 127), (2, 129), (3, 1009), (2, 2053), (5, 1024), (1, 1291))


def point(tensors: int, n: int, precision: str = "fp32", master: str = "none", data: str = "normal") -> Point:
    return OP.point("triton", precision, {"tensors": tensors, "n": n}, {"method": "adamw", "master": master, "data": data})


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "master"), triton_impl.STORED)
@pytest.mark.parametrize("size", SIZES)
def test_right(size: tuple[int, int], precision: str, master: str) -> None:
    made = point(*size, precision, master)
    verdict = gate(TensorWorkload(made, made, DEVICE, 11))
    assert verdict.ok, verdict.problem


@pytest.mark.parametrize("data", ["zeros", "integers"])
def test_other_data(data: str) -> None:
    made = point(2, 131, "bf16", "fp32", data)
    verdict = gate(TensorWorkload(made, made, DEVICE, 11))
    assert verdict.ok, verdict.problem


def test_the_counter_on_the_device_makes_each_step_the_next_and_can_be_put_back() -> None:
    made = point(2, 129)
    inputs = make_inputs(made, DEVICE, 3)
    kernel = triton_impl.build(made, inputs)
    first = [t.clone() for t in inputs.updated]
    for _ in range(2):
        for t, before in zip(inputs.updated, first, strict=True):
            t.copy_(before)
        found = group(made, tuple(t.double() for t in inputs.operands))
        p, state = found.weights[0], (found.state[0][0], found.state[1][0])
        for step in range(STEPS_TAKEN + 1, STEPS_TAKEN + 6):
            kernel.run()
            p, state = adamw(p, found.gradients[0], state, (1 - BETA1**step, 1 - BETA2**step))
            torch.testing.assert_close(inputs.operands[0].double(), p, rtol=1e-5, atol=1e-6)
        assert kernel.reset is not None
        kernel.reset()


@pytest.mark.parametrize(("n", "long"), [(2**31 - 1024, False), (2**31 - 1023, True)])
def test_2_to_the_31_elements_take_64_bit_indices(n: int, long: bool) -> None:
    found = group(point(1, n), make_inputs(point(1, n), "meta", None).operands)
    assert triton_impl.call(found, torch.empty((), device="meta"))[1]["LONG"] is long


def test_64_bit_indices_compute_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    real = triton_impl.call

    def call(*args: object) -> tuple[object, dict[str, object]]:
        tensors, settings = real(*args)
        return tensors, settings | {"LONG": True}

    monkeypatch.setattr(triton_impl, "call", call)
    made = point(2, 2053)
    verdict = gate(TensorWorkload(made, made, DEVICE, 11))
    assert verdict.ok, verdict.problem


def test_offsets_lead_to_each_tensor() -> None:
    """From the first tensor's address, in elements; multiples of 16, so that loads can be 128 bits wide."""
    made = point(3, 127, "bf16", "fp32")
    found = group(made, make_inputs(made, DEVICE, 3).operands)
    tensors, _ = triton_impl.call(found, torch.zeros((), device=DEVICE))
    kinds = (found.masters, found.gradients, *found.state, found.weights)
    assert tensors["offsets"].shape == (5, 3)
    for row, kind in zip(tensors["offsets"].tolist(), kinds, strict=True):
        assert [kind[0].data_ptr() + offset * kind[0].element_size() for offset in row] == [t.data_ptr() for t in kind]
        assert all(offset % 16 == 0 for offset in row)


@pytest.mark.slow
def test_machine_code_for_an_h100(tmp_path: Path) -> None:
    """No spills. Aligned operands are loaded by 128 bits only: 8 elements a thread are two loads in fp32 and one in 16 bits; besides
    them the counter, and four offsets where there are several tensors, or five with masters."""
    path, root = tmp_path / "inspect.json", Path(__file__).resolve().parents[2]
    command = [sys.executable, "-m", "kernels", "inspect", "--gpu", "h100_sxm5", "--op", "optimizer", "--json", str(path)]
    done = subprocess.run(command, cwd=root, env=os.environ | {"TRITON_INTERPRET": ""}, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stdout
    found = json.loads(path.read_text(encoding="utf-8"))["kernels"]
    assert len(found) == len(triton_impl.STORED) * 4
    assert all(kernel["spills"] == 0 for kernel in found)
    for kernel in found:
        if kernel["variant"].startswith("ragged"):
            continue
        master = kernel["variant"].endswith("master")
        wide = 7 if master else 8 if kernel["precision"] == "fp32" else 4
        single = 1 + (4 + master if kernel["variant"].startswith("many") else 0)
        assert (kernel["wide_loads"], kernel["instructions"]["LDG"]) == (wide, wide + single), kernel["id"]

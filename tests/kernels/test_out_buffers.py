"""A kernel that allocates its result is given no output buffer beside it: on an H100 an fp8 copy held 192 MiB where 128 are needed."""

from __future__ import annotations

from functools import partial

import pytest

from benches.correctness import memory_of, tensors
from benches.devices.allocations import held_by_tensors
from benches.devices.tensors import TensorWorkload
from kernels.op import Point
from kernels.registry import OPS, impl_of
from kernels.support import Platform
from tests.kernels.test_torch_impls import SEEDS
from tests.tensor_memory import peak_bytes

CPU = Platform("cpu")
CHAIN, SIZES = SEEDS[5]


def elementwise(precision: str, function: str, to: str = "none", impl: str = "torch") -> Point:
    return OPS["elementwise"].point(impl, precision, {"m": 127, "n": 131}, {"function": function, "to": to})


def matmul(precision: str, impl: str = "torch") -> Point:
    return OPS["matmul"].point(impl, precision, {"m": 127, "n": 128, "k": 144}, {"layout": "nt"})


def layout(function: str, impl: str = "torch") -> Point:
    return OPS["layout"].point(impl, "bf16", {"m": 127, "n": 131}, {"function": function})


def einsum(equation: str, dims: dict[str, int], impl: str = "torch") -> Point:
    return OPS["einsum"].point(impl, "fp32", dims, {"equation": equation})


CASES = [
    (elementwise("fp8_e4m3", "copy"), True),
    (elementwise("bf16", "copy"), True),
    (elementwise("fp32", "cast", "fp8_e5m2"), True),
    (elementwise("bf16", "quantise_rows", "fp8_e4m3"), True),
    (elementwise("fp32", "quantise_blocks", "fp8_e5m2"), True),
    (elementwise("bf16", "gelu"), False),
    (elementwise("bf16", "triu"), False),
    (elementwise("bf16", "bias_gelu_residual"), False),
    (matmul("bf16"), False),
    (matmul("fp8_e4m3"), True),
    (matmul("fp8_e5m2"), True),
    (einsum(CHAIN, dict(SIZES)), True),
    (einsum("a b -> b a", {"a": 101, "b": 127}), True),
    (layout("contiguous"), True),
    (layout("slice"), True),
]


@pytest.mark.parametrize(("point", "allocates"), CASES, ids=lambda value: getattr(value, "id", None))
def test_an_output_buffer_is_the_result_or_has_no_memory(point: Point, allocates: bool) -> None:
    workload = TensorWorkload(point, point, "cpu", seed=3)
    result = tensors(workload.launch())
    out = tensors(workload._last.inputs.out)
    assert OPS[point.op].impls[point.impl].allocates(point) is allocates
    assert memory_of(out) == (set() if allocates else memory_of(result))
    assert [(t.shape, t.dtype) for t in result] == [(t.shape, t.dtype) for t in out]
    assert workload.verify().ok


@pytest.mark.parametrize("impl", ["torch_compile", "triton"])
@pytest.mark.parametrize("make", [lambda impl: elementwise("bf16", "gelu", impl=impl), lambda impl: matmul("bf16", impl)])
def test_compiled_code_allocates_and_triton_is_given_a_buffer(make: object, impl: str) -> None:
    point = make(impl)  # type: ignore[operator]
    out = OPS[point.op].load("make_inputs")(point, "cpu", 1).out
    assert out.is_meta is (impl == "torch_compile")
    assert not OPS["layout"].load("make_inputs")(layout("contiguous", "triton"), "cpu", 1).out.is_meta


@pytest.mark.parametrize("point", [p for p, _ in CASES if p.op in ("elementwise", "matmul")], ids=lambda point: point.id)
def test_memory_is_what_is_allocated(point: Point) -> None:
    """To the byte, with the results that PyTorch makes between the steps of bias_gelu_residual and of quantising."""
    assert peak_bytes(point) == OPS[point.op].cost(point, "cpu").memory_bytes + impl_of(point).left_behind(point)


@pytest.mark.parametrize("point", [p for p, allocates in CASES if allocates and p.op != "layout"], ids=lambda point: point.id)
def test_a_set_holds_one_result(point: Point) -> None:
    """The one before is given up first, so that two launches hold no more than one."""
    workload = TensorWorkload(point, point, "cpu", seed=3)

    def launch(times: int) -> None:
        for _ in range(times):
            workload.launch()

    once, twice = (held_by_tensors(partial(launch, times))[1].peak_bytes for times in (1, 2))
    assert once == twice

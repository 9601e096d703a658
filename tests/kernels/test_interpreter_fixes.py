"""Triton's interpreter with its corrections: expected values are PyTorch's, in fp64 where sums are taken."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
import triton
import triton.language as tl
from triton.language.extra import libdevice
from triton.language.extra.libdevice import rsqrt

from benches.devices.cpu import CpuDevice
from benches.timing.measure import measure
from kernels.compilation import INTERPRETED
from kernels.gpus import Ceilings
from kernels.interpreter_fixes import _once_a_launch, convert, fix_interpreter
from kernels.op import Impl
from kernels.registry import OPS

pytestmark = pytest.mark.skipif(not INTERPRETED, reason="Triton compiles here: kernels.interpreter")
BLOCK = 64
SPECIAL = [0.0, -0.0, 1.0, -1.0, 1.00390625, 1.01171875, 3.3e38, 1e-40, 448.0, 463.9, 465.0, 1e6, -1e6, 57344.0, 6e-8, 0.2421, 15.9]


@pytest.fixture(autouse=True, scope="module")
def corrected() -> None:
    fix_interpreter()
    fix_interpreter()  # a second call changes nothing


@triton.jit
def product(a: tl.tensor, b: tl.tensor, c: tl.tensor, n: tl.constexpr, k: tl.constexpr) -> None:
    rows = tl.arange(0, n)
    inner = tl.arange(0, k)
    x = tl.load(a + rows[:, None] * k + inner[None, :])
    y = tl.load(b + inner[:, None] * n + rows[None, :])
    tl.store(c + rows[:, None] * n + rows[None, :], tl.dot(x, y))


@triton.jit
def arithmetic(x: tl.tensor, y: tl.tensor, out: tl.tensor, n: tl.tensor, WHICH: tl.constexpr, B: tl.constexpr) -> None:
    i = tl.arange(0, B)
    a = tl.load(x + i, mask=i < n)
    b = tl.load(y + i, mask=i < n)
    if WHICH == "add":
        result = a + b
    elif WHICH == "subtract":
        result = a - b
    elif WHICH == "multiply":
        result = a * b
    elif WHICH == "twice":
        result = a * 2.0
    elif WHICH == "larger":
        result = tl.where(a > b, a, b)
    elif WHICH == "clamp":
        result = tl.clamp(a, -0.5, 0.5)
    elif WHICH == "fma":
        result = tl.fma(a, b, a)
    elif WHICH == "negate":
        result = -a
    else:
        result = tl.abs(a)
    tl.store(out + i, result, mask=i < n)


@triton.jit
def reduction(x: tl.tensor, out: tl.tensor, n: tl.tensor, WHICH: tl.constexpr, B: tl.constexpr) -> None:
    i = tl.arange(0, B)
    a = tl.load(x + i, mask=i < n, other=0.0)
    if WHICH == "sum":
        result = tl.sum(a, axis=0)
    elif WHICH == "max":
        result = tl.max(a, axis=0)
    else:
        result = tl.argmax(a, axis=0)
    tl.store(out, result)


@triton.jit
def running_sum(x: tl.tensor, out: tl.tensor, n: tl.tensor, B: tl.constexpr) -> None:
    i = tl.arange(0, B)
    tl.store(out + i, tl.cumsum(tl.load(x + i, mask=i < n, other=0.0), axis=0), mask=i < n)


@triton.jit
def atomic_sum(x: tl.tensor, out: tl.tensor, n: tl.tensor, B: tl.constexpr) -> None:
    i = tl.arange(0, B)
    tl.atomic_add(out + i % 2, tl.load(x + i, mask=i < n), mask=i < n)


@triton.jit
def chosen(out: tl.tensor, first: tl.tensor) -> None:
    if first:
        tl.store(out, 1)
    else:
        tl.store(out, 2)


@triton.jit
def scaled(x: tl.tensor, out: tl.tensor, factor: tl.tensor, n: tl.tensor, B: tl.constexpr) -> None:
    i = tl.arange(0, B)
    tl.store(out + i, tl.load(x + i, mask=i < n) * factor.to(tl.float32), mask=i < n)


@triton.jit
def converted(x: tl.tensor, out: tl.tensor, n: tl.tensor, B: tl.constexpr) -> None:
    i = tl.arange(0, B)
    tl.store(out + i, tl.load(x + i, mask=i < n).to(out.dtype.element_ty), mask=i < n)


@triton.jit
def special(x: tl.tensor, out: tl.tensor, n: tl.tensor, B: tl.constexpr) -> None:
    i = tl.arange(0, B)
    a = tl.load(x + i, mask=i < n, other=1.0)
    tl.store(out + i, rsqrt(a) + libdevice.tanh(a) + libdevice.fast_expf(libdevice.abs(a)), mask=i < n)


@triton.jit
def bessel(x: tl.tensor) -> None:
    tl.store(x, libdevice.j0(tl.load(x)))


@triton.autotune([triton.Config({"B": 64}), triton.Config({"B": 256})], key=["n"])
@triton.jit
def tuned(out: tl.tensor, n: tl.tensor, B: tl.constexpr) -> None:
    i = tl.program_id(0) * B + tl.arange(0, B)
    tl.store(out + i, B, mask=i < n)


def random(*shape: int, dtype: torch.dtype = torch.bfloat16) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0)).to(dtype)


@pytest.mark.slow
@pytest.mark.parametrize("k", [16, 128])
def test_a_product_of_bf16(k: int) -> None:
    a, b, c = random(32, k), random(k, 32), torch.empty(32, 32)
    product[(1,)](a, b, c, 32, k)
    torch.testing.assert_close(c.double(), a.double() @ b.double(), rtol=0, atol=k * 4 * 2**-24)


ARITHMETIC: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "add": torch.add,
    "subtract": torch.sub,
    "multiply": torch.mul,
    "twice": lambda a, b: a * 2,
    "larger": torch.maximum,
    "clamp": lambda a, b: a.clamp(-0.5, 0.5),
    "fma": lambda a, b: (a.double() * b.double() + a.double()).to(a.dtype),
    "negate": lambda a, b: -a,
    "abs": lambda a, b: a.abs(),
}


@pytest.mark.parametrize("n", [1, 61, 64])
@pytest.mark.parametrize("which", ARITHMETIC)
def test_arithmetic_of_bf16_is_pytorchs(which: str, n: int) -> None:
    a, b, out = random(n), random(2 * n)[n:], torch.empty(n, dtype=torch.bfloat16)
    arithmetic[(1,)](a, b, out, n, which, BLOCK)
    assert torch.equal(out, ARITHMETIC[which](a, b))


@pytest.mark.parametrize("n", [1, 61, 64])
def test_reductions_of_bf16(n: int) -> None:
    x, out, index = random(n), torch.empty(1, dtype=torch.bfloat16), torch.empty(1, dtype=torch.int32)
    padded = torch.cat([x, x.new_zeros(BLOCK - n)]).double()
    for which, expected in (("sum", x.double().sum()), ("max", padded.max())):
        reduction[(1,)](x, out, n, which, BLOCK)
        torch.testing.assert_close(out.double(), expected[None], rtol=2**-8, atol=n * 4 * 2**-24)
    reduction[(1,)](x.abs(), index, n, "argmax", BLOCK)
    assert index.item() == x.abs().argmax().item()


def test_a_running_sum_of_bf16() -> None:
    x = torch.arange(-8, 9).to(torch.bfloat16)  # whose sums are exact
    out = torch.empty_like(x)
    running_sum[(1,)](x, out, x.numel(), BLOCK)
    assert torch.equal(out, x.double().cumsum(0).to(torch.bfloat16))


def test_an_atomic_sum_of_bf16() -> None:
    x, out = torch.arange(-8, 9).to(torch.bfloat16), torch.tensor([1.0, 2.0], dtype=torch.bfloat16)
    atomic_sum[(1,)](x, out, x.numel(), BLOCK)
    assert out.tolist() == [1.0 + sum(range(-8, 9, 2)), 2.0 + sum(range(-7, 9, 2))]


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["bf16", "fp16", "fp8_e4m3", "fp8_e5m2"])
def test_somebodys_matmul_is_verified(precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its products and its rounding are the interpreter's: the shipped kernel leaves neither to it."""
    impl = Impl("mine", "tests.kernels.somebodys_kernels:build_matmul", lambda point, platform: None, language="triton")
    monkeypatch.setitem(OPS["matmul"].impls, "mine", impl)  # type: ignore[arg-type]
    monkeypatch.setattr("benches.timing.measure.source_hash", lambda op, impl: None)
    point = OPS["matmul"].point("mine", precision, {"m": 256, "n": 256, "k": 256})
    ceilings = Ceilings(peak_flops_per_s={"fp32": 1e11}, bandwidth_bytes_per_s=1e10)
    row = measure(point, CpuDevice(ceilings), 1)
    assert row.status == "verified", row.reason


@pytest.mark.parametrize(("first", "expected"), [(True, 1), (False, 2)])
def test_a_truth_value_as_an_argument(first: bool, expected: int) -> None:
    out = torch.zeros(1, dtype=torch.int32)
    chosen[(1,)](out, first)
    assert out.item() == expected


@pytest.mark.parametrize("factor", [0.3, -2.0, 1e-30])
def test_a_float_argument_is_an_fp32_scalar(factor: float) -> None:
    x, out = random(61, dtype=torch.float32), torch.empty(61)
    scaled[(1,)](x, out, factor, 61, BLOCK)
    assert torch.equal(out, x * torch.tensor(factor, dtype=torch.float32))


def test_functions_of_libdevice() -> None:
    x, out = random(61, dtype=torch.float32).abs() + 0.1, torch.empty(61)
    special[(1,)](x, out, 61, BLOCK)
    exact = x.double()
    torch.testing.assert_close(out.double(), exact.rsqrt() + exact.tanh() + exact.exp(), rtol=1e-6, atol=0)


def test_a_function_of_libdevice_that_pytorch_lacks() -> None:
    with pytest.raises(Exception, match="extern_elementwise not supported in interpreter mode"):
        bessel[(1,)](torch.ones(1))


@pytest.mark.filterwarnings("ignore:overflow encountered in cast")  # of 1e6 to fp16
@pytest.mark.parametrize("target", [torch.bfloat16, torch.float16, torch.float8_e4m3fn, torch.float8_e5m2, torch.float32])
@pytest.mark.parametrize("source", [torch.float32, torch.float16, torch.bfloat16])
def test_a_conversion_rounds_to_nearest(source: torch.dtype, target: torch.dtype) -> None:
    x = torch.tensor(SPECIAL).to(source)
    out = torch.empty(len(x), dtype=target)
    converted[(1,)](x, out, len(x), BLOCK)
    largest = torch.finfo(target).max
    expected = x.clamp(-largest, largest).to(target) if target.itemsize == 1 else x.to(target)
    assert out.float().tolist() == expected.float().tolist()


@pytest.mark.parametrize("source", [torch.int32, torch.int64])
def test_an_integer_as_bf16_and_back(source: torch.dtype) -> None:
    x = torch.arange(-30, 31).to(source) * 7
    narrow, back = torch.empty(61, dtype=torch.bfloat16), torch.empty(61, dtype=source)
    converted[(1,)](x, narrow, 61, BLOCK)
    converted[(1,)](narrow, back, 61, BLOCK)
    assert torch.equal(narrow, x.to(torch.bfloat16))
    assert torch.equal(back, narrow.to(source))


def test_not_a_number_stays_one() -> None:
    nan = np.array([np.nan], dtype=np.float32)
    kinds: list[Any] = [tl.bfloat16, tl.float8e4nv, tl.float8e5]
    assert all(np.isnan(convert(convert(nan, tl.float32, kind), kind, tl.float32)).all() for kind in kinds)


def test_autotuning_takes_the_first_configuration() -> None:
    out = torch.empty(129, dtype=torch.int32)
    tuned[lambda meta: (triton.cdiv(129, meta["B"]),)](out, 129)
    assert out.unique().tolist() == [64]


@triton.jit
def twice(x: tl.tensor) -> tl.tensor:
    return x + x


@triton.jit
def fourfold(x: tl.tensor, out: tl.tensor, n: tl.tensor, B: tl.constexpr) -> None:
    i = tl.arange(0, B)
    a = tl.load(x + i, mask=i < n)
    tl.store(out + i, twice(twice(a)) + tl.zeros_like(a), mask=i < n)  # `zeros_like` is a function of another module


def test_integers_wrap_around_in_functions_that_a_kernel_calls() -> None:
    x = torch.tensor([1, -3, 2**30 + 5, -(2**31)], dtype=torch.int32)
    for _ in range(2):
        out = torch.zeros_like(x)
        fourfold[(1,)](x, out, 4, 8)
        assert torch.equal(out, x * 4)


def test_after_a_launch_the_language_is_as_it_was() -> None:
    before = {name: getattr(tl, name) for name in ("load", "range", "sum", "zeros_like", "reduce")}
    fourfold[(1,)](torch.ones(4, dtype=torch.int32), torch.zeros(4, dtype=torch.int32), 4, 8)
    with pytest.raises(Exception, match="extern_elementwise not supported in interpreter mode"):
        bessel[(1,)](torch.ones(1))
    assert {name: getattr(tl, name) for name in before} == before


class Scope:
    def __init__(self, events: list[str]) -> None:
        self.events = events

    def restore(self) -> None:
        self.events.append("restored")


def test_the_language_is_changed_once_a_launch_and_module() -> None:
    events: list[str] = []

    def change(kernel: Callable[[], None]) -> Scope:
        events.append(kernel.__globals__["name"])
        return Scope(events)

    one, other, third = (eval("lambda: 0", {"name": name, "tl": tl}) for name in ("one", "other", "third"))
    patch = _once_a_launch(change)
    for _ in range(2):
        launch = patch(one)
        for called in (one, other, one, other, third):
            patch(called)
        launch.restore()
    assert events == ["one", "other", "third", "restored"] * 2


@pytest.mark.parametrize("shape", [[8], [1, 16], [tl.constexpr(4), 2, tl.constexpr(1)]])
def test_blocks_of_one_shape_share_it_and_keep_their_own_type(shape: list[Any]) -> None:
    sizes = [int(size) for size in shape]
    for element in (tl.float32, tl.int1, tl.pointer_type(tl.bfloat16), tl.float32, tl.pointer_type(tl.float16)):
        block = tl.block_type(element, shape)
        assert (block.scalar, list(block.shape), block.numel) == (element, sizes, math.prod(sizes))
        assert str(element) in block.name
        handle = object()
        tensor = tl.tensor(handle, block)
        assert (tensor.handle, tensor.type, tensor.dtype) == (handle, block, element)
        assert [int(size) for size in tensor.shape] == sizes
        assert int(tensor.numel) == math.prod(sizes)
    scalar = tl.tensor(None, tl.int64)
    assert (list(scalar.shape), int(scalar.numel), scalar.type, scalar.dtype) == ([], 1, tl.int64, tl.int64)


@pytest.mark.parametrize("shape", [[], [3], [4, 12]])
def test_a_shape_that_no_block_has_is_refused_each_time(shape: list[int]) -> None:
    for _ in range(2):
        with pytest.raises((TypeError, ValueError)):
            tl.block_type(tl.float32, shape)

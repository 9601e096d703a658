"""Views and copies: strides, offsets and storage against PyTorch's own, costs against real tensors and measured allocations."""

from __future__ import annotations

import random

import pytest
import torch

from kernels.cost_model import predict
from kernels.gpus import load_gpu
from kernels.layout.strided import FUNCTIONS, ROWS, Strided, refused, result, shares_storage
from kernels.layout.torch_impl import CALLS
from kernels.op import Cost, Point
from kernels.precisions import PRECISIONS
from kernels.registry import OPS
from kernels.support import Platform
from tests.tensor_memory import peak_bytes

OP = OPS["layout"]
FORMATS = [name for name in PRECISIONS if name != "tf32"]
CPU = Platform("cpu")
SIZES = (1, 2, 3, 16, 17, 59, 61, 127, 128, 129)
SHAPES = [(1, 1), (1, 7), (7, 1), *((random.Random(i).choice(SIZES), random.Random(-i - 1).choice(SIZES)) for i in range(50))]


def point(name: str, m: int, n: int, precision: str = "fp32", impl: str = "torch") -> Point:
    return OP.point(impl, precision, {"m": m, "n": n}, {"function": name})


HAND = [
    # function, m, n, shape, strides, offset in the operand (m, n), whose element (r, c) lies at r·n + c
    ("slice", 4, 6, (2, 3), (6, 1), 2 * 6 + 3),
    ("slice", 5, 7, (3, 4), (7, 1), 2 * 7 + 3),
    ("step", 5, 7, (3, 4), (14, 2), 0),
    ("row", 5, 7, (7,), (1,), 2 * 7),
    ("column", 5, 7, (5,), (7,), 3),
    ("transpose", 5, 7, (7, 5), (1, 7), 0),
    ("reshape", 5, 7, (7, 5), (5, 1), 0),
    ("view", 5, 7, (35,), (1,), 0),
    ("expand", 5, 7, (5, 7), (0, 1), 0),
    ("view_of_transpose", 1, 7, (7,), (1,), 0),
    ("clone", 5, 7, (5, 7), (7, 1), 0),
    ("contiguous", 5, 7, (7, 5), (5, 1), 0),
    ("reshape_copy", 5, 7, (35,), (1,), 0),
    ("slice_copy", 5, 7, (5, 4), (4, 1), 0),
    ("column_copy", 5, 7, (5,), (1,), 0),
    ("expand_copy", 5, 7, (5, 7), (7, 1), 0),
    ("cat", 5, 7, (5, 14), (14, 1), 0),
]


@pytest.mark.parametrize(("name", "m", "n", "shape", "strides", "offset"), HAND)
def test_by_hand(name: str, m: int, n: int, shape: tuple[int, ...], strides: tuple[int, ...], offset: int) -> None:
    assert result(name, m, n) == Strided(shape, strides, offset)


def stepped(strides: tuple[int, ...], shape: tuple[int, ...]) -> list[int]:
    """Strides of the dims that have more than one element."""
    return [stride for stride, size in zip(strides, shape, strict=True) if size > 1]


@pytest.mark.slow
@pytest.mark.parametrize("name", FUNCTIONS)
def test_strides_storage_and_values_are_pytorchs(name: str) -> None:
    for m, n in SHAPES:
        x, y = torch.randn(m, n), torch.randn(m, n)
        if name in ROWS:
            x = torch.randn(n)
        if refused(name, m, n):
            continue
        made = eval(FUNCTIONS[name].code, {"torch": torch}, {"x": x, "y": y, "m": m, "n": n})
        wanted = result(name, m, n)
        assert (tuple(made.shape), made.storage_offset()) == (wanted.shape, wanted.offset), (m, n)
        assert stepped(made.stride(), made.shape) == stepped(wanted.strides, wanted.shape), (m, n)
        assert (made.untyped_storage().data_ptr() == x.untyped_storage().data_ptr()) == shares_storage(name, m, n), (m, n)
        operands = (x, y) if name == "cat" else (x,)
        assert torch.equal(CALLS[name](made.shape, *operands), made)
        assert torch.equal(OP.load("reference")(point(name, m, n), operands), made.double())


@pytest.mark.parametrize("impl", ["torch", "torch_compile"])
def test_what_is_called_unsupported_is_refused_by_pytorch_and_nothing_else(impl: str) -> None:
    for m, n in SHAPES:
        why = OP.impls[impl].unsupported(point("view_of_transpose", m, n), CPU)
        if m > 1 and n > 1:
            message = "view size is not compatible with input tensor's size and stride"
            assert message in str(why)
            with pytest.raises(RuntimeError, match=message):
                torch.empty(m, n).t().view(m * n)
        else:
            assert why is None
            assert torch.empty(m, n).t().view(m * n).shape == (m * n,)


COSTS = [
    # function, m, n, precision: bytes read, bytes written, memory
    ("transpose", 5, 7, "bf16", 0, 0, 35 * 2),
    ("expand", 5, 7, "fp32", 0, 0, 7 * 4),  # a row is all there is
    ("clone", 5, 7, "bf16", 35 * 2, 35 * 2, 70 * 2),
    ("contiguous", 5, 7, "fp8_e4m3", 35, 35, 70),
    ("contiguous", 1, 7, "fp32", 0, 0, 7 * 4),  # a row transposed is a column of the same memory
    ("slice_copy", 5, 7, "fp32", 5 * 4 * 4, 5 * 4 * 4, (35 + 20) * 4),
    ("column_copy", 5, 7, "fp16", 5 * 2, 5 * 2, 40 * 2),
    ("expand_copy", 5, 7, "fp32", 7 * 4, 35 * 4, 42 * 4),
    ("cat", 5, 7, "bf16", 70 * 2, 70 * 2, 140 * 2),
]


@pytest.mark.parametrize(("name", "m", "n", "precision", "read", "written", "memory"), COSTS)
def test_cost_by_hand(name: str, m: int, n: int, precision: str, read: int, written: int, memory: int) -> None:
    assert OP.cost(point(name, m, n, precision), "cpu") == Cost(0, read, written, memory)


@pytest.mark.slow
@pytest.mark.parametrize("name", FUNCTIONS)
def test_memory_is_what_pytorch_allocates(name: str) -> None:
    for i, (m, n) in enumerate(SHAPES):
        made = point(name, m, n, FORMATS[i % len(FORMATS)])
        if OP.impls["torch"].unsupported(made, CPU):
            continue
        assert peak_bytes(made) == OP.cost(made, "cpu").memory_bytes, made.id


def test_a_view_is_no_kernel_to_the_cost_model() -> None:
    """Nothing is predicted for it and the host alone bounds it; a copy of 2 × 33 MB is bound by memory."""
    found = predict([point("transpose", 4096, 4096, "bf16"), point("contiguous", 4096, 4096, "bf16")], load_gpu("h100_sxm5"))
    assert found.predicted_s[0] == found.roofline_s[0] == 0
    assert found.roofline_s[1] == pytest.approx(2 * 4096 * 4096 * 2 / 3.35e12)
    assert found.bound.tolist() == ["overhead", "memory"]
    view, copy = point("transpose", 127, 129), point("contiguous", 127, 129)
    assert OP.parts(view, OP.cost(view, "cpu")) == []
    assert [part.bytes for part in OP.parts(copy, OP.cost(copy, "cpu"))] == [2 * 127 * 129 * 4]

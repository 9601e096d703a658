"""An op that is given by a reference and inputs: its cost, its outputs, and a tolerance that passes honest kernels and no planted error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from benches.correctness import compare
from kernels.op import Cost, Impl, Inputs, Kernel, Op, Point
from kernels.own_op import own_op
from kernels.precisions import PRECISIONS
from kernels.registry import OPS, register, registered, restore
from kernels.support import Platform
from kernels.tensors import dtype_of

Tensor = torch.Tensor
SIZES = {"m": 127, "n": 129, "k": 61, "b": 3, "s": 67, "d": 32}


@pytest.fixture(autouse=True)
def nothing_stays() -> Iterator[None]:
    before = registered()
    yield
    restore(before)


def operands_of(*shapes: str, shift: float = 0.0) -> Callable[[Point, Any, int | None], tuple[Tensor, ...]]:
    """Normally distributed operands; a shape is a word of its dims' letters."""

    def make(point: Point, device: Any, seed: int | None) -> tuple[Tensor, ...]:
        generator = None if seed is None else torch.Generator(device).manual_seed(seed)
        sizes = [[point.dims[dim] for dim in shape] for shape in shapes]
        return tuple((torch.randn(size, device=device, generator=generator) + shift).to(dtype_of(point.precision)) for size in sizes)

    return make


def rms_norm(x: Tensor, weight: Tensor) -> Tensor:
    wide = x.float()
    return (wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + 1e-6)).to(x.dtype) * weight


REFERENCES: dict[str, tuple[tuple[str, ...], Callable[..., Any]]] = {
    "softmax": (("mn",), lambda x: torch.softmax(x, -1)),
    "linear_relu": (("mk", "kn"), lambda x, w: torch.relu(x @ w)),
    "layer_norm": (("mn", "n"), lambda x, g: F.layer_norm(x, x.shape[-1:], g)),
    "sum": (("mn",), lambda x: x.sum(-1)),
    "cumsum": (("mn",), lambda x: x.cumsum(-1)),
    "gelu": (("mn",), F.gelu),
    "attention": (("bsd", "bsd", "bsd"), lambda q, k, v: F.scaled_dot_product_attention(q[:, None], k[:, None], v[:, None])[:, 0]),
    "rms_norm": (("mn", "n"), rms_norm),  # casts
}


def made(name: str, precision: str, **others: Any) -> tuple[Op, Point, Inputs]:
    shapes, reference = REFERENCES[name]
    dims = tuple(dict.fromkeys("".join(shapes)))
    op = own_op(name, dims, operands_of(*shapes), reference, precisions=tuple(PRECISIONS), **others)
    point = op.point("torch", precision, {dim: SIZES[dim] for dim in dims})
    return op, point, op.load("make_inputs")(point, "cpu", 5)


def honest(reference: Callable[..., Any], operands: tuple[Tensor, ...]) -> dict[str, Tensor]:
    """The reference in the operands' dtype, and a fused kernel: fp32 within, rounded once; in another order where that can be had."""
    own = operands[0].dtype
    flipped = reference(*(t.float() for t in operands))
    return {"own dtype": reference(*operands), "fused": flipped.to(own)}


def planted(result: Tensor) -> dict[str, Tensor]:
    flat = result.reshape(-1)
    largest = int(flat.abs().argmax())
    one, tail = flat.clone(), flat.clone()
    one[largest] *= 1.25
    tail[largest:] = 0
    return {"one element": one.view_as(result), "tail": tail.view_as(result), "rows": result.roll(1, 0), "lost": torch.zeros_like(result)}


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
@pytest.mark.parametrize("name", REFERENCES)
def test_honest_kernels_pass_and_planted_errors_do_not(name: str, precision: str) -> None:
    op, point, inputs = made(name, precision)
    expected = op.load("reference")(point, inputs.operands)
    allowed = op.load("tolerance")(point, inputs.operands, expected)
    assert expected.dtype == allowed.dtype == torch.float64
    for what, result in honest(REFERENCES[name][1], inputs.operands).items():
        assert compare(result, expected, allowed).worst <= 0.9, what
    right = op.impls["torch"].load()(point, inputs).run()
    for what, result in planted(right).items():
        assert not compare(result, expected, allowed).ok, what
    if precision == "fp32":
        assert not compare(right * 1.0002, expected, allowed).ok
        halved = REFERENCES[name][1](*(t.to(torch.bfloat16) for t in inputs.operands)).float()
        assert not compare(halved, expected, allowed).ok, "lower precision inside"


@pytest.mark.parametrize(
    ("name", "source"), [("softmax", "derived"), ("linear_relu", "derived"), ("rms_norm", "estimated"), ("attention", "derived")]
)
def test_a_reference_that_casts_is_estimated(name: str, source: str) -> None:
    op, point, _ = made(name, "bf16")
    assert op.tolerance_source(point) == source


def test_a_reference_that_fails_in_fp64_is_estimated() -> None:
    weight = torch.ones(129, 3)
    op = own_op("fixed", ("m", "n"), operands_of("mn"), lambda x: x @ weight.to(x.device), precisions=["fp32"])
    point = op.point("torch", "fp32", {"m": 5, "n": 129})
    inputs = op.load("make_inputs")(point, "cpu", 1)
    expected = op.load("reference")(point, inputs.operands)
    assert op.tolerance_source(point) == "estimated"
    assert compare(op.impls["torch"].load()(point, inputs).run(), expected, op.load("tolerance")(point, inputs.operands, expected)).ok


def test_cancellation_that_no_kernel_can_help_is_allowed() -> None:
    """Rows near 1000 with a deviation of 1: an fp32 mean errs by more than results near 0 are long."""
    op = own_op("centred", ("m", "n"), operands_of("mn", shift=1000.0), lambda x: x - x.mean(-1, keepdim=True))
    point = op.point("torch", "fp32", {"m": 67, "n": 131})
    inputs = op.load("make_inputs")(point, "cpu", 2)
    expected = op.load("reference")(point, inputs.operands)
    allowed = op.load("tolerance")(point, inputs.operands, expected)
    (x,) = inputs.operands
    one_by_one = x - (x.flip(-1).cumsum(-1)[:, -1:] / 131)
    assert compare(one_by_one, expected, allowed).ok
    assert not compare(one_by_one + 0.02, expected, allowed).ok


@pytest.mark.parametrize(
    ("name", "others", "cost", "source"),
    [
        # 2·127·129·61 = 1,998,726 FLOPs; bytes of bf16: (127·61 + 61·129)·2 read, 127·129·2 written.
        ("linear_relu", {}, Cost(1998726, 31232, 32766, 63998), "counted"),
        ("softmax", {}, Cost(0, 32766, 32766, 65532), "counted"),
        ("softmax", {"flops": lambda point: 5 * point.dims["m"] * point.dims["n"]}, Cost(81915, 32766, 32766, 65532), "given"),
        ("softmax", {"flops": 7, "traffic": lambda point: (10, 20)}, Cost(7, 10, 20, 30), "given"),
    ],
)
def test_costs(name: str, others: dict[str, Any], cost: Cost, source: str) -> None:
    op, point, _ = made(name, "bf16", **others)
    assert (op.cost(point, "cuda"), op.cost_source(point)) == (cost, source)


def test_a_reference_that_looks_at_its_numbers() -> None:
    op = own_op("positive", ("m",), operands_of("m"), lambda x: x * float(x.sum().item() > 0))
    point = op.point("torch", "fp32", {"m": 131})
    inputs = op.load("make_inputs")(point, "cpu", 1)
    assert op.cost(point, "cpu") == Cost(0, 524, 524, 1048)
    assert not op.impls["torch"].load()(point, inputs).capturable


def test_several_results_and_whole_numbers() -> None:
    op = own_op("best", ("m", "n"), operands_of("mn"), lambda x: tuple(x.max(-1)))
    point = op.point("torch", "fp32", {"m": 127, "n": 129})
    inputs = op.load("make_inputs")(point, "cpu", 1)
    expected = op.load("reference")(point, inputs.operands)
    values, indices = op.load("tolerance")(point, inputs.operands, expected)
    assert [out.dtype for out in inputs.out] == [torch.float32, torch.int64]
    assert float(indices.max()) == 0
    result = op.impls["torch"].load()(point, inputs).run()
    assert compare(result[0], expected[0], values).ok
    assert compare(result[1], expected[1], indices).ok
    assert not compare(result[1] + 1, expected[1], indices).ok


def test_a_function_is_an_implementation_too() -> None:
    op, point, inputs = made("softmax", "fp32")
    register(op)
    register("softmax", Impl("mine", lambda point, inputs: Kernel(lambda: inputs.operands[0].softmax(-1)), lambda point, platform: None))
    result = OPS["softmax"].impls["mine"].load()(point, inputs).run()
    assert torch.equal(result, op.impls["torch"].load()(point, inputs).run())


def test_precisions_and_small_shapes() -> None:
    op = own_op("twice", ("m", "n"), operands_of("mn"), lambda x: 2 * x, precisions=["bf16"], small={"n": 64})
    point = op.point("torch", "fp32", {"m": 4096, "n": 4096})
    assert op.impls["torch"].unsupported(point, Platform("cuda", (9, 0))) == "twice is defined for bf16"
    assert op.shrink(point).dims == {"m": 67, "n": 64}

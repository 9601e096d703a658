"""The PyTorch implementations: right on the CPU at ragged shapes, and accepted as CUDA calls on fake tensors, for every op,
precision, layout and function."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path
from unittest.mock import patch

import pytest
import torch
import yaml
from torch._subclasses import FakeTensorMode

from benches.correctness import check, misstrided, tensors
from benches.devices.tensors import TensorWorkload, data_seed
from benches.timing.measure import gate
from kernels.elementwise.spec import FUNCTIONS
from kernels.gradient.spec import DIMS, PASSES
from kernels.op import Kernel, Op, Point
from kernels.optimizer.spec import METHODS
from kernels.precisions import PRECISIONS
from kernels.registry import OPS
from kernels.support import Platform
from kernels.torch_modes import set_precision_mode

pytestmark = pytest.mark.slow

H100 = Platform("cuda", (9, 0))
CPU = Platform("cpu")
SEEDS = (
    ("batch seq1 hidden, batch seq2 hidden -> batch seq1 seq2", {"batch": 3, "seq1": 37, "seq2": 41, "hidden": 61}),
    ("... seq1 hidden, ... seq2 hidden -> ... seq1 seq2", {"z": 2, "y": 3, "seq1": 7, "seq2": 11, "hidden": 61}),
    ("batch head query dim, batch head key dim -> batch head query key", {"batch": 2, "head": 3, "query": 17, "dim": 13, "key": 19}),
    ("batch head query key, batch head key dim -> batch head query dim", {"batch": 2, "head": 3, "query": 17, "dim": 13, "key": 19}),
    ("batch i, i j, batch j -> batch", {"batch": 7, "i": 31, "j": 37}),
    ("a b, b c, c d -> a d", {"a": 11, "b": 127, "c": 5, "d": 17}),
    ("b h r, h d r -> b h d", {"b": 5, "h": 3, "d": 17, "r": 31}),
    ("a b ->", {"a": 101, "b": 127}),
    ("a b -> b a", {"a": 101, "b": 127}),
    ("... h, h k -> ... k", {"q": 3, "w": 5, "h": 61, "k": 7}),
    ("i, j -> i j", {"i": 13, "j": 17}),
    ("b i, b j -> b", {"b": 5, "i": 13, "j": 17}),
)


def matmuls(precision: str) -> Iterator[Point]:
    op = OPS["matmul"]
    n, k = (128, 144) if PRECISIONS[precision].bytes == 1 else (129, 131)
    for layout in ("nn", "nt", "tn", "tt"):
        for operands in ("contiguous", "sliced"):
            yield op.point("torch", precision, {"m": 127, "n": n, "k": k}, {"layout": layout, "operands": operands})
            yield op.point("torch", precision, {"b": 3, "m": 17, "n": 48, "k": 64}, {"layout": layout, "operands": operands})
        yield op.point("torch", precision, {"b": 2, "b1": 3, "m": 17, "n": 48, "k": 64}, {"layout": layout, "rhs": "shared"})
    for data in ("zeros", "integers"):
        yield op.point("torch", precision, {"m": 1, "n": 16, "k": 16}, {"layout": "nt", "data": data})


def elementwises(precision: str) -> Iterator[Point]:
    op = OPS["elementwise"]
    for function in FUNCTIONS:
        entry = FUNCTIONS[function]
        formats = [p for p in PRECISIONS if p != "tf32" and (entry.share is None or PRECISIONS[p].bytes == 1)]
        for to in formats if entry.converts else ["none"]:
            yield op.point("torch", precision, {"m": 127, "n": 131}, {"function": function, "to": to})
    for data in ("zeros", "integers"):
        yield op.point("torch", precision, {"m": 1, "n": 131}, {"function": "bias_gelu_residual", "data": data})


def einsums(precision: str) -> Iterator[Point]:
    for equation, dims in SEEDS:
        for operands in ("contiguous", "sliced"):
            yield OPS["einsum"].point("torch", precision, dims, {"equation": equation, "operands": operands})


def layouts(precision: str) -> Iterator[Point]:
    for function in OPS["layout"].options["function"].choices:
        for m, n in ((127, 131), (1, 131), (131, 1)):
            yield OPS["layout"].point("torch", precision, {"m": m, "n": n}, {"function": function})


PATTERNS = ("b (h w) c -> b c h w", "b h w c -> (b c) h w", "b h w c -> b 1 (c w) h")
REDUCED = ("b h w c -> b c", "b (h w) c -> (c b) ()", "b h w c ->")


def einopses(precision: str) -> Iterator[Point]:
    dims = {"b": 3, "h": 7, "w": 11, "c": 131}
    for pattern in PATTERNS:
        yield OPS["einops"].point("torch", precision, dims, {"pattern": pattern})
    for reduction in ("sum", "mean", "max", "min"):
        for pattern in REDUCED:
            yield OPS["einops"].point("torch", precision, dims, {"pattern": pattern, "reduction": reduction})


def optimizers(precision: str) -> Iterator[Point]:
    op = OPS["optimizer"]
    for impl, method, master in product(("torch", "torch_foreach", "torch_fused"), METHODS, ("none", "fp32")):
        for count, n in ((1, 127), (3, 1009)):
            yield op.point(impl, precision, {"tensors": count, "n": n}, {"method": method, "master": master})
    for data in ("zeros", "integers"):
        yield op.point("torch_foreach", precision, {"tensors": 2, "n": 131}, {"method": "adamw", "data": data})


def gradients(precision: str) -> Iterator[Point]:
    for model, which in product(DIMS, PASSES):
        for sizes in ((127, 129, 5), (1, 31, 1), (17, 1, 3)):
            yield OPS["gradient"].point("torch", precision, dict(zip(DIMS[model], sizes, strict=True)), {"model": model, "pass": which})
    yield OPS["gradient"].point(
        "torch", precision, {"tokens": 7, "width": 31, "layers": 2}, {"model": "deep_linear", "pass": "both", "data": "zeros"}
    )


def transformers(precision: str) -> Iterator[Point]:
    op = OPS["transformer"]
    block = {"batch": 2, "sequence": 19, "hidden": 20, "heads": 5, "feedforward": 31}
    for kinds in product(("swiglu", "gelu"), ("rmsnorm", "layernorm"), ("sdpa", "plain")):
        options = dict(zip(("activation", "norm", "attention"), kinds, strict=True))
        for which in PASSES:
            yield op.point("torch", precision, block, {"scope": "block", "pass": which, **options})
        yield op.point("torch", precision, {**block, "layers": 2, "vocab": 53}, {"scope": "model", "pass": "both", **options})
    for data in ("zeros", "integers"):
        yield op.point("torch", precision, {**block, "batch": 1, "sequence": 1}, {"scope": "block", "pass": "both", "data": data})


FAMILIES = {
    "matmul": matmuls,
    "elementwise": elementwises,
    "einsum": einsums,
    "layout": layouts,
    "einops": einopses,
    "optimizer": optimizers,
    "gradient": gradients,
    "transformer": transformers,
}
POINTS = [point for family in FAMILIES.values() for precision in PRECISIONS for point in family(precision)]


def supported(platform: Platform) -> list[Point]:
    return [p for p in POINTS if OPS[p.op].impls[p.impl].unsupported(p, platform) is None]


@pytest.mark.parametrize("point", supported(CPU), ids=lambda p: p.id)
def test_right_on_the_cpu(point: Point) -> None:
    verdict = gate(TensorWorkload(point, point, "cpu", seed=3))
    assert verdict.ok, verdict.problem


# Two calls that fake CUDA tensors lack where PyTorch was built without CUDA, by the ATen calls that they are made of.


def contiguous(tensor: torch.Tensor) -> torch.Tensor:
    return tensor if tensor.is_contiguous() else tensor.clone(memory_format=torch.contiguous_format)


def indexed(tensor: torch.Tensor, index: int | slice | tuple[int | slice, ...]) -> torch.Tensor:
    dim = 0
    for i in index if isinstance(index, tuple) else (index,):
        if isinstance(i, slice):
            tensor, dim = torch.ops.aten.slice(tensor, dim, i.start, i.stop, i.step or 1), dim + 1
        else:
            tensor = tensor.select(dim, i)
    return tensor


def device_of(point: Point) -> str:
    """Where `run_fake` runs a point."""
    return "cuda" if point.options.get("pass", "forward") == "forward" else "meta"


def run_fake(op: Op, point: Point) -> tuple[tuple[torch.Tensor, ...], tuple[torch.Tensor, ...]]:
    """The call on fake CUDA tensors: shapes, dtypes and layouts are checked as on a GPU, and no memory is touched.

    A backward pass runs on meta tensors: autograd asks for CUDA's own device guard, which PyTorch's CPU build lacks.
    """
    if device_of(point) == "meta":
        inputs = op.load("make_inputs")(point, "meta", None)
        return tensors(op.impls[point.impl].load()(point, inputs).run()), tensors(inputs.out)
    from torch.fx.experimental.symbolic_shapes import ShapeEnv  # half a second, which only the process that runs this file needs

    torch._C._ensureCUDADeviceGuardSet()
    fake = FakeTensorMode(shape_env=ShapeEnv())  # which lets the host read a number, such as an optimizer's count of its steps
    with fake, torch.no_grad(), patch.multiple(torch.Tensor, contiguous=contiguous, __getitem__=indexed):
        inputs = op.load("make_inputs")(point, "cuda", None)
        return tensors(op.impls[point.impl].load()(point, inputs).run()), tensors(inputs.out)


WITHOUT_META = {"sgd": "_fused_sgd_", "momentum": "_fused_sgd_", "adagrad": "_fused_adagrad_"}  # what fake tensors cannot run


def has_meta(point: Point) -> bool:
    return point.impl != "torch_fused" or point.options["method"] not in WITHOUT_META


@pytest.mark.parametrize("point", list(filter(has_meta, supported(H100))), ids=lambda p: p.id)
def test_accepted_as_a_cuda_call(point: Point) -> None:
    results, outs = run_fake(OPS[point.op], point)
    for result, out in zip(results, outs, strict=True):
        assert (result.device.type, result.shape, result.dtype) == (device_of(point), out.shape, out.dtype)
    assert not OPS[point.op].exact_strides or misstrided(results, outs) is None


@pytest.mark.parametrize("function", sorted(set(WITHOUT_META.values())))
def test_fused_steps_that_fake_tensors_cannot_run_have_cuda_kernels(function: str) -> None:
    """By PyTorch's own list of kernels, which is the same in its CPU and CUDA builds."""
    import torchgen

    listed = Path(torchgen.__file__).parent / "packaged" / "ATen" / "native" / "native_functions.yaml"
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # the file has 16,000 lines
    (found,) = [f for f in yaml.load(listed.read_text(encoding="utf-8"), loader) if f["func"].startswith(f"{function}(")]
    assert "CUDA" in found["dispatch"]


@pytest.mark.parametrize(
    "point",
    [p for p in matmuls("fp8_e4m3") if "layout nt" in str(OPS["matmul"].impls["torch"].unsupported(p, H100)) and len(p.dims) == 3],
    ids=lambda p: p.id,
)
def test_what_is_called_unsupported_is_refused_by_pytorch(point: Point) -> None:
    with pytest.raises(RuntimeError):
        run_fake(OPS["matmul"], point)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
@pytest.mark.parametrize("method", ["sgd", "momentum"])
def test_the_gate_sees_that_fused_sgd_in_16_bits_is_wrong_on_cpus(method: str, precision: str) -> None:
    """pytorch/pytorch issue 191763, the reason why it is unsupported there: to be taken back when this fails."""
    point = OPS["optimizer"].point("torch_fused", precision, {"tensors": 1, "n": 127}, {"method": method})
    assert "191763" in str(OPS["optimizer"].impls["torch_fused"].unsupported(point, CPU))
    assert OPS["optimizer"].impls["torch_fused"].unsupported(point, H100) is None
    assert not gate(TensorWorkload(point, point, "cpu", seed=3)).ok


@pytest.mark.parametrize(("given", "to"), [("fp8_e4m3", "fp8_e5m2"), ("fp8_e5m2", "fp8_e4m3")])
def test_inductor_converts_no_fp8_format_to_the_other_on_a_gpu(given: str, to: str) -> None:
    """An assertion of its Triton code, which an H100 met."""
    point = OPS["elementwise"].point("torch_compile", given, {"m": 127, "n": 131}, {"function": "cast", "to": to})
    assert "one fp8 format to the other" in str(OPS["elementwise"].impls["torch_compile"].unsupported(point, H100))
    assert OPS["elementwise"].impls["torch_compile"].unsupported(point, CPU) is None
    assert OPS["elementwise"].impls["triton"].unsupported(replace(point, impl="triton"), H100) is None


@pytest.mark.parametrize("precision", ["fp8_e4m3", "fp8_e5m2"])
def test_pytorch_has_no_fp8_arithmetic(precision: str) -> None:
    point = next(p for p in elementwises(precision) if p.options["function"] == "add")
    assert "no fp8 arithmetic" in str(OPS["elementwise"].impls["torch"].unsupported(point, CPU))
    with pytest.raises(NotImplementedError):
        TensorWorkload(point, point, "cpu", seed=3).launch()


def test_same_seed_same_operands_for_every_implementation() -> None:
    dims = {"m": 13, "n": 17, "k": 19}
    eager, compiled = (OPS["matmul"].point(impl, "bf16", dims) for impl in ("torch", "torch_compile"))
    assert data_seed(eager, 3) == data_seed(compiled, 3) != data_seed(eager, 4)
    first, again = (OPS["matmul"].load("make_inputs")(eager, "cpu", data_seed(eager, 3)).operands[0] for _ in range(2))
    assert torch.equal(first, again)


@pytest.mark.compiler
@pytest.mark.parametrize(
    "point",
    [
        OPS["matmul"].point("torch_compile", "bf16", {"m": 127, "n": 129, "k": 131}, {"layout": "nt"}),
        OPS["matmul"].point("torch_compile", "fp8_e4m3", {"m": 127, "n": 128, "k": 144}, {"layout": "nt"}),
        OPS["elementwise"].point("torch_compile", "bf16", {"m": 127, "n": 131}, {"function": "bias_gelu_residual"}),
        OPS["elementwise"].point("torch_compile", "fp8_e5m2", {"m": 127, "n": 131}, {"function": "gelu"}),
        OPS["elementwise"].point("torch_compile", "fp32", {"m": 127, "n": 131}, {"function": "cast", "to": "fp8_e4m3"}),
        OPS["einsum"].point("torch_compile", "fp32", dict(SEEDS[5][1]), {"equation": SEEDS[5][0]}),
        OPS["layout"].point("torch_compile", "bf16", {"m": 127, "n": 131}, {"function": "slice"}),
        OPS["layout"].point("torch_compile", "fp8_e4m3", {"m": 127, "n": 131}, {"function": "contiguous"}),
        OPS["einops"].point("torch_compile", "bf16", {"b": 3, "h": 7, "w": 11}, {"pattern": "b h w -> (w b) h"}),
        OPS["einops"].point("torch_compile", "bf16", {"b": 3, "h": 7, "w": 11}, {"pattern": "b h w -> w b", "reduction": "mean"}),
        OPS["gradient"].point("torch_compile", "bf16", {"tokens": 127, "width": 37, "layers": 2}, {"model": "deep_linear", "pass": "both"}),
        OPS["transformer"].point(
            "torch_compile",
            "bf16",
            {"batch": 2, "sequence": 19, "hidden": 24, "heads": 3, "feedforward": 41},
            {"scope": "block", "pass": "both", "attention": "plain"},
        ),
    ],
    ids=lambda p: p.id,
)
def test_compiled_is_right(point: Point) -> None:
    verdict = gate(TensorWorkload(point, point, "cpu", seed=3))
    assert verdict.ok, verdict.problem


@pytest.mark.parametrize("precision", ["fp32", "tf32"])
def test_precision_modes_leave_the_older_switches_readable(precision: str) -> None:
    """Inductor and other libraries read them; PyTorch raises an error where the two ways of setting them were mixed."""
    set_precision_mode(precision)
    assert torch.backends.cuda.matmul.allow_tf32 == (precision == "tf32")
    assert torch.get_float32_matmul_precision() == ("high" if precision == "tf32" else "highest")


def test_a_permutation_is_copied_and_a_view_is_no_result() -> None:
    point = OPS["einsum"].point("torch", "fp32", {"i": 13, "j": 17}, {"equation": "i j -> j i"})
    inputs = OPS["einsum"].load("make_inputs")(point, "cpu", 1)
    result = OPS["einsum"].impls["torch"].load()(point, inputs).run()
    assert result.is_contiguous()
    assert check(OPS["einsum"], point, Kernel(lambda: result), inputs).ok
    view = check(OPS["einsum"], point, Kernel(lambda: inputs.operands[0].T), inputs)
    assert view.problem == "the result is a view of an operand, so there is no computation to time"

"""Which kernels a CUDA graph cannot hold, and that torch.optim's own check agrees; what torch.optim refuses is unsupported."""

from __future__ import annotations

from importlib import import_module
from itertools import product
from types import SimpleNamespace
from unittest.mock import patch

import pytest
import torch
from torch._subclasses import FakeTensorMode

from benches.devices.cpu import CpuDevice
from benches.devices.simulated import SimulatedDevice
from benches.devices.tensors import TensorWorkload
from benches.timing.measure import measure
from kernels.gpus import Ceilings
from kernels.op import Kernel, Point, Unsupported
from kernels.optimizer import torch_impl
from kernels.optimizer.spec import METHODS
from kernels.registry import OPS

BLOCK = {"batch": 2, "sequence": 19, "hidden": 24, "heads": 3, "feedforward": 41}
STEP = {"batch": 2, "sequence": 13, "layers": 2, "hidden": 22, "heads": 2, "feedforward": 29, "vocab": 31}


def optimizer(impl: str, method: str, precision: str = "fp32", master: str = "none") -> Point:
    return OPS["optimizer"].point(impl, precision, {"tensors": 2, "n": 131}, {"method": method, "master": master})


def gradient(which: str) -> Point:
    dims = {"tokens": 7, "width": 31, "layers": 2}
    return OPS["gradient"].point("torch", "fp32", dims, {"model": "deep_linear", "pass": which})


def block(which: str) -> Point:
    return OPS["transformer"].point("torch", "fp32", BLOCK, {"scope": "block", "pass": which})


CASES = [
    (OPS["matmul"].point("torch", "fp32", {"m": 13, "n": 17, "k": 19}), True),
    (OPS["elementwise"].point("torch", "bf16", {"m": 13, "n": 17}, {"function": "gelu"}), True),
    *((gradient(which), which != "backward") for which in ("forward", "backward", "both")),
    *((block(which), which != "backward") for which in ("forward", "backward", "both")),
    *((optimizer(impl, method), False) for impl, method in product(("torch", "torch_foreach"), ("rmsprop", "adam", "adamw"))),
    *((optimizer(impl, method), True) for impl, method in product(("torch", "torch_foreach"), ("sgd", "momentum", "adagrad"))),
    (optimizer("torch_foreach", "sgd", "bf16", "fp32"), True),
    (optimizer("torch_foreach", "adamw", "bf16", "fp32"), False),
    (OPS["train_step"].point("torch", "fp32", STEP, {"model": "transformer"}), False),
]


@pytest.mark.slow
@pytest.mark.parametrize(("point", "expected"), CASES, ids=lambda value: getattr(value, "id", None))
def test_what_a_cuda_graph_can_hold(point: Point, expected: bool) -> None:
    assert TensorWorkload(point, point, "cpu", seed=3).capturable is expected


def test_the_simulated_device_holds_everything() -> None:
    assert SimulatedDevice().load(CASES[0][0], seed=1).capturable


def capturing() -> object:
    """PyTorch as it is while a CUDA graph is captured, for those of its checks that ask."""
    stream = SimpleNamespace(is_capturing=lambda: True)
    return patch.multiple(
        torch.accelerator, current_accelerator=lambda check_available=False: torch.device("cuda"), current_stream=lambda: stream
    )


def refused_in_a_capture(kernel: Kernel) -> bool:
    with capturing():  # type: ignore[attr-defined]
        try:
            kernel.run()
        except RuntimeError as error:
            assert "capturable" in str(error)  # noqa: PT017  (some of the kernels raise nothing)
            return True
    return False


@pytest.mark.parametrize(("impl", "method"), list(product(("torch", "torch_foreach"), METHODS)))
def test_torch_optim_refuses_to_capture_the_same(impl: str, method: str) -> None:
    point = optimizer(impl, method)
    kernel = OPS["optimizer"].impls[impl].load()(point, OPS["optimizer"].load("make_inputs")(point, "cpu", 1))
    assert refused_in_a_capture(kernel) is not kernel.capturable


@pytest.mark.parametrize("method", ["adam", "adamw"])
@pytest.mark.parametrize("master", ["none", "fp32"])
def test_fused_steps_can_be_captured_on_a_gpu(method: str, master: str) -> None:
    """On fake CUDA tensors; on a CPU, where nothing is captured, the setting stays off."""
    from torch.fx.experimental.symbolic_shapes import ShapeEnv  # half a second, which only a process that runs this needs

    point = optimizer("torch_fused", method, "bf16", master)
    torch._C._ensureCUDADeviceGuardSet()
    with FakeTensorMode(shape_env=ShapeEnv()), torch.no_grad():
        inputs = OPS["optimizer"].load("make_inputs")(point, "cuda", None)
        kernel = torch_impl.fused(point, inputs)
        assert kernel.capturable
        assert not refused_in_a_capture(kernel)
    assert not torch_impl.fused(point, OPS["optimizer"].load("make_inputs")(point, "cpu", 1)).capturable


@pytest.fixture
def only_on_mps(monkeypatch: pytest.MonkeyPatch) -> object:
    """A PyTorch whose fused optimizers support no device here, by the list that it keeps itself."""
    torch_impl.refusal.cache_clear()
    monkeypatch.setattr(import_module("torch.optim.optimizer"), "_get_fused_kernels_supported_devices", lambda: ["mps"])
    yield
    torch_impl.refusal.cache_clear()


@pytest.mark.parametrize("method", ["sgd", "momentum", "adagrad", "adam", "adamw"])
def test_what_torch_optim_refuses_is_unsupported(only_on_mps: object, method: str) -> None:
    point = optimizer("torch_fused", method)
    inputs = OPS["optimizer"].load("make_inputs")(point, "cpu", 1)
    with pytest.raises(Unsupported, match="requires all the params to be floating point Tensors of supported devices"):
        torch_impl.fused(point, inputs)
    assert OPS["optimizer"].impls["torch"].load()(point, inputs).run() is inputs.out, "what torch.optim does support is built"


@pytest.mark.slow
def test_the_row_of_what_torch_optim_refuses(only_on_mps: object) -> None:
    ceilings = Ceilings(peak_flops_per_s={"fp32": 1e11, "bf16": 1e11}, bandwidth_bytes_per_s=1e10)
    row = measure(optimizer("torch_fused", "adagrad"), CpuDevice(ceilings), seed=1)
    assert (row.status, row.median_s) == ("unsupported", None)
    assert str(row.reason).startswith("PyTorch refuses it: `fused=True` requires")


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        (NotImplementedError("\"fused\" not implemented for 'Half'\nmore"), "PyTorch refuses it: \"fused\" not implemented for 'Half'"),
        (RuntimeError("no"), "PyTorch refuses it: no"),
        (torch.OutOfMemoryError("CUDA out of memory"), torch.OutOfMemoryError),
        (torch.AcceleratorError("an illegal memory access was encountered"), torch.AcceleratorError),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_device_that_fails_is_not_a_refusal(
    monkeypatch: pytest.MonkeyPatch, only_on_mps: object, raised: Exception, expected: str | type[Exception]
) -> None:
    def step(self: object) -> None:
        raise raised

    monkeypatch.setattr(torch.optim.SGD, "step", step)
    asked = ("sgd", "fused", True, torch.float32, torch.device("cpu"))
    if isinstance(expected, str):
        assert torch_impl.refusal(*asked) == expected
    else:
        with pytest.raises(expected):
            torch_impl.refusal(*asked)


def test_rmsprop_has_no_fused_implementation() -> None:
    """The reason why its spec calls it unsupported: to be taken back when this fails."""
    with pytest.raises(TypeError, match="unexpected keyword argument 'fused'"):
        torch.optim.RMSprop([torch.nn.Parameter(torch.zeros(1))], fused=True)  # type: ignore[call-arg]

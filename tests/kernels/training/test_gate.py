"""The gate on training steps: right ones pass in every precision, faulty ones do not, and PyTorch takes the calls as a GPU's."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, cast

import pytest
import torch
from torch._subclasses import FakeTensorMode

from benches.correctness import verify
from benches.devices.tensors import TensorWorkload
from benches.timing.measure import gate
from kernels.op import Inputs, Op, OpError, Point
from kernels.support import Platform
from kernels.torch_modes import set_precision_mode
from kernels.training import data, loader
from kernels.training.loop import Trainer
from kernels.training.sizes import recipe_of
from tests.kernels.training.cases import OP, PRECISIONS, drawn, step

EVEN = {"batch": 2, "sequence": 16, "layers": 2, "hidden": 32, "heads": 2, "feedforward": 48, "vocab": 61}
DEEP = {"tokens": 48, "width": 32, "layers": 3}
H100 = Platform("cuda", (9, 0))


@pytest.mark.slow
@pytest.mark.parametrize("point", drawn(24, seed=5), ids=lambda p: p.id)
def test_right_steps_pass(point: Point) -> None:
    verdict = gate(TensorWorkload(point, point, "cpu", seed=3))
    assert verdict.ok, verdict.problem


@pytest.mark.slow
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("loading", ["direct", "ahead"])
def test_a_step_passes_again_after_others(precision: str, loading: str) -> None:
    """Weights, optimizer state, loss scale and the loader's place are put back before it is checked."""
    point = step(precision, EVEN, loading=loading)
    workload = TensorWorkload(point, point, "cpu", seed=3)
    for _ in range(3):
        workload.launch()
    verdict = gate(workload)
    assert verdict.ok, verdict.problem


Result = tuple[torch.Tensor, ...]


class Once:
    """OP, but reference and tolerance are computed once for each point: the tests here start a point from the same operands."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], Result] = {}

    def load(self, name: str) -> Callable[..., Result]:
        def once(point: Point, *operands: Any) -> Result:
            key = (name, point.id)
            if key not in self._known:
                self._known[key] = OP.load(name)(point, *operands)
            return self._known[key]

        return once

    def __getattr__(self, name: str) -> Any:
        return getattr(OP, name)


ONCE = cast(Op, Once())


def rebuilt(point: Point, inputs: Inputs, spoil: Callable[[Trainer], None]) -> Result:
    """A step of a trainer that something is wrong with."""
    kernel = OP.impls["torch"].load()(point, inputs)
    spoil(dict(kernel.phases)["data"].__self__)  # type: ignore[attr-defined]
    return kernel.run()


def unscaled_scores(trainer: Trainer) -> None:
    for block in trainer.module.blocks:
        block.attention.attend = partial(torch.nn.functional.scaled_dot_product_attention, is_causal=True, scale=1.0)


def not_causal(trainer: Trainer) -> None:
    for block in trainer.module.blocks:
        block.attention.attend = torch.nn.functional.scaled_dot_product_attention


def dropped_residual(trainer: Trainer) -> None:
    block = trainer.module.blocks[0]
    block.forward = lambda x, rotation: block.mlp(block.mlp_norm(x + block.attention(block.attention_norm(x), rotation)))


def forgotten_norm(trainer: Trainer) -> None:
    norm = trainer.module.norm
    norm.forward = lambda x: x * norm.weight


def another_batch(trainer: Trainer) -> None:
    trainer.loader.step = 1


def summed_loss(trainer: Trainer) -> None:
    mean = trainer._loss
    trainer._loss = lambda module, batch: mean(module, batch) * len(batch[0])


def another_rate(trainer: Trainer) -> None:
    trainer.optimizer.param_groups[0]["lr"] *= 1.5


def stale_state(trainer: Trainer) -> None:
    for state in trainer.optimizer.state.values():
        for name in ("exp_avg", "exp_avg_sq"):
            state[name].fill_(1)


def accumulated_gradients(trainer: Trainer) -> None:
    """zero_grad was forgotten."""
    for parameter in trainer.parameters:
        parameter.grad = torch.full_like(parameter, trainer.scaler.get_scale())


ANY = (another_batch, summed_loss, another_rate, stale_state, accumulated_gradients)
TRANSFORMER = (unscaled_scores, not_causal, dropped_residual, forgotten_norm)


@pytest.mark.slow
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(("dims", "spoil"), [*((EVEN, s) for s in (*ANY, *TRANSFORMER)), *((DEEP, s) for s in ANY)])
def test_faulty_steps_do_not_pass(precision: str, dims: dict[str, int], spoil: Callable[[Trainer], None]) -> None:
    point = step(precision, dims)
    set_precision_mode(precision)
    inputs = OP.load("make_inputs")(point, "cpu", 3)
    first = tuple(t.clone() for t in inputs.operands)
    assert not verify(ONCE, point, rebuilt(point, inputs, spoil), inputs, first).ok


@pytest.mark.slow
@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("dims", [EVEN, DEEP])
def test_every_gradient_and_every_update_is_looked_at(precision: str, dims: dict[str, int]) -> None:
    """A gradient of zeros, and a parameter that was not updated, each alone among right ones; momentum, unlike Adam, needs no sign."""
    point = step(precision, dims, optimizer="momentum")
    inputs = OP.load("make_inputs")(point, "cpu", 3)
    first = tuple(t.clone() for t in inputs.operands)
    result = OP.impls["torch"].load()(point, inputs).run()
    count = len(inputs.updated)
    expected = ONCE.load("reference")(point, first)
    tolerance = ONCE.load("tolerance")(point, first, expected)
    for i in range(1, count + 1):
        if precision == "fp8_e4m3" and expected[i].dim() == 1:
            continue  # eight deviations of fp8's rounding can be more than a norm's whole gradient
        assert ((expected[i]).abs() > tolerance[i]).any(), f"gradient {i} could be missing"
    if precision in ("fp32", "fp16"):  # where the step is larger than what rounding lets it be
        for i in range(count):
            assert ((first[i] - expected[1 + count + i]).abs() > tolerance[1 + count + i]).any(), f"update {i} could be missing"
    assert verify(ONCE, point, result, inputs, first).ok


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:torch.cuda.amp.GradScaler is enabled, but CUDA is not available")
@pytest.mark.parametrize("checkpointing", ["none", "full"])
@pytest.mark.parametrize("precision", [*PRECISIONS, "tf32"])
@pytest.mark.parametrize("dims", [EVEN, DEEP])
def test_accepted_as_a_cuda_call(precision: str, dims: dict[str, int], checkpointing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On fake tensors, but for the copy from the host, which a PyTorch built without CUDA refuses. Such a PyTorch also aborts where
    autograd asks for the stream that a CUDA tensor was made on: there only the forward pass, without gradients, can be proved."""
    if dims is DEEP and checkpointing == "full":
        with pytest.raises(OpError, match="would save none"):
            step(precision, dims, checkpointing=checkpointing)
        return
    point = step(precision, dims, checkpointing=checkpointing)
    assert OP.impls["torch"].unsupported(point, H100) is None
    for module in (data, loader):
        monkeypatch.setattr(module, "on_device", lambda tensor, device: torch.empty(tensor.shape, dtype=tensor.dtype, device=device))
    torch._C._ensureCUDADeviceGuardSet()
    with FakeTensorMode(allow_non_fake_inputs=True):
        inputs = OP.load("make_inputs")(point, "cuda", None)
        kernel = OP.impls["torch"].load()(point, inputs)
        if torch.version.cuda:
            result = kernel.run()
        else:
            calls = dict(kernel.phases)
            with torch.no_grad():
                calls["data"]()
                calls["forward"]()
            result = (calls["data"].__self__.loss,)  # type: ignore[attr-defined]
    for tensor, out in zip(result, inputs.out, strict=bool(torch.version.cuda)):
        assert (tensor.device.type, tensor.shape, tensor.dtype) == ("cuda", out.shape, out.dtype)


@pytest.mark.parametrize(
    ("precision", "dims", "platform", "says"),
    [
        ("fp8_e5m2", EVEN, H100, "fp8_e4m3, which uses both"),
        ("fp8_e4m3", EVEN | {"feedforward": 47}, H100, "multiples of 16, not feedforward 47"),
        ("fp8_e4m3", EVEN | {"sequence": 7}, H100, "not tokens 14"),
        ("fp8_e4m3", EVEN, Platform("cuda", (8, 0)), "capability 8.9"),
        ("tf32", EVEN, Platform("cpu"), "TF32 is a mode of NVIDIA's tensor cores"),
    ],
)
def test_what_cannot_run_says_why(precision: str, dims: dict[str, int], platform: Platform, says: str) -> None:
    assert says in str(OP.impls["torch"].unsupported(step(precision, dims), platform))


def test_recipes_follow_from_options() -> None:
    recipe = recipe_of(step("bf16", EVEN, optimizer="sgd", checkpointing="full"))
    assert (recipe.precision, recipe.optimizer, recipe.checkpointing) == ("bf16", "sgd", True)

"""Every cheat of the corpus is wrong, with its cause where that is known, and every honest kernel is not."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from benches import correctness
from benches.correctness import ALIASED, CACHED, CHEATS, INPUTS_CHANGED, LAZY, PATCHED, SETTINGS, UNFINISHED
from benches.devices import integrity, tensors
from benches.devices.base import Settings, TooLittleMemory
from benches.devices.cpu import CpuDevice
from benches.devices.tensors import TensorWorkload
from benches.row import TIMED
from benches.run import bench
from benches.timing import measure as measuring
from benches.timing.measure import gate, measure
from kernels.gpus import Ceilings
from kernels.guard import ROOT
from kernels.op import Impl, Inputs, Kernel, Point
from kernels.registry import OPS
from tests.benches.cheats import corpus, honest

CEILINGS = Ceilings(peak_flops_per_s={"fp32": 1e11, "bf16": 1e11}, bandwidth_bytes_per_s=1e10)
QUICK = Settings(warmup_s=0.0, warmup_max_s=0.01, half_width=0.5, max_s=0.05, min_samples=8, max_samples=8, cache="hot")
DIMS = {"m": 37, "n": 37, "k": 37}  # square, so that an operand can pass for a result
SGD = {"method": "sgd"}

WRONG: dict[str, str | None] = {  # by name in the corpus: the cause, None where it only shows that the result is wrong
    "cached_by_pointer": CACHED,
    "cached_by_shape": CACHED,
    "cached_by_version": CACHED,
    "copied_from_store": CACHED,
    "computed_at_build": CACHED,
    "weights_prepared_at_build": None,
    "first_calls_only": CACHED,
    "every_second_call": CACHED,
    "only_over_nan": CACHED,
    "half_of_the_rows": None,
    "lower_precision": None,
    "lazy_subclass": LAZY,
    "lazy_object": LAZY,
    "lazy_sign": LAZY,
    "another_thread": UNFINISHED,
    "inputs_made_easy": INPUTS_CHANGED,
    "inputs_swapped": INPUTS_CHANGED,
    "operand_returned": ALIASED,
    "reference_read": CACHED,
    "patched_clock": PATCHED,
    "patched_product": PATCHED,
    "patched_widening": PATCHED,
    "patched_where": PATCHED,
    "patched_event": PATCHED,
    "patched_check": PATCHED,
    "more_threads": SETTINGS,
    "coarser_products": SETTINGS,
    "other_dtype": SETTINGS,
}
RIGHT: dict[str, tuple[str, str, dict[str, int], dict[str, str]]] = {
    **{
        name: ("matmul", "fp32", {"m": 37, "n": 41, "k": 131}, {})
        for name in (
            *("writes_to_out", "allocates", "not_contiguous", "joins_threads", "cached_workspace", "cached_config"),
            *("transforms_in_the_call", "other_order", "settings_for_the_call"),
        )
    },
    "wide_accumulator": ("matmul", "bf16", {"m": 37, "n": 41, "k": 127}, {}),
    "updates_in_place": ("optimizer", "fp32", {"n": 131, "tensors": 2}, SGD),
    "view": ("layout", "fp32", {"m": 37, "n": 41}, {"function": "transpose"}),
}


def never_refuses(point: Point, platform: Any) -> None:
    return None


@pytest.fixture(scope="module")
def device() -> CpuDevice:
    made = CpuDevice(CEILINGS)
    made.settings = QUICK
    return made


@pytest.fixture(autouse=True)
def threads_end_in_time(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A thread that computes after its call has returned ends while the device waits for it, however busy the machine is."""
    monkeypatch.setattr(tensors, "sleep", lambda seconds: corpus.join())
    yield
    corpus.join()
    corpus.forget()


def point_of(
    monkeypatch: pytest.MonkeyPatch, module: ModuleType, name: str, op: str, precision: str, dims: dict[str, int], options: dict[str, str]
) -> Point:
    """A point of an implementation that is registered for this test."""
    allocates = OPS[op].impls["torch"].allocates
    own = Impl(name, f"{module.__name__}:{name}", never_refuses, allocates)
    monkeypatch.setitem(OPS[op].impls, name, own)  # type: ignore[arg-type]  # which is a dict
    monkeypatch.setattr(measuring, "source_hash", lambda *names: None)  # reading all that torch's optimizers depend on takes seconds
    return OPS[op].point(name, precision, dims, options)


def cheat(monkeypatch: pytest.MonkeyPatch, name: str) -> Point:
    return point_of(monkeypatch, corpus, name, "matmul", "fp32", DIMS, {})


@pytest.mark.slow
@pytest.mark.parametrize("name", WRONG)
def test_a_cheat_is_wrong(name: str, monkeypatch: pytest.MonkeyPatch, device: CpuDevice) -> None:
    row = measure(cheat(monkeypatch, name), device, seed=1)
    assert (row.status, row.cause, row.median_s) == ("wrong", WRONG[name], None), row.reason
    assert integrity.replaced() == [], "what it replaced is put back, so that later points are not accused"


def public(module: ModuleType) -> set[str]:
    return {name for name, f in vars(module).items() if callable(f) and getattr(f, "__annotations__", {}).get("return") == "Kernel"}


def test_every_kernel_of_the_corpus_is_in_a_table() -> None:
    assert public(corpus) == {*WRONG, "first_set_only"}
    assert public(honest) == set(RIGHT)
    assert set(filter(None, WRONG.values())) == set(CHEATS)


@pytest.mark.slow
@pytest.mark.parametrize("name", RIGHT)
def test_an_honest_kernel_passes(name: str, monkeypatch: pytest.MonkeyPatch, device: CpuDevice) -> None:
    row = measure(point_of(monkeypatch, honest, name, *RIGHT[name]), device, seed=1)
    assert row.status in TIMED, row.reason
    assert row.cause is None or not row.cause.startswith("cheat")
    assert row.fresh_inputs is True


def test_sets_hold_different_values_and_each_is_checked_by_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel that computes the first set's product for all is right on that alone."""
    point = cheat(monkeypatch, "first_set_only")
    corpus._first.clear()
    workload = TensorWorkload(point, point, "cpu", seed=1)
    workload.rotate(3)
    firsts = [s.inputs.operands[0] for s in workload._sets]
    assert len({float(t.sum()) for t in firsts}) == 3
    verdicts = []
    for index in range(3):
        monkeypatch.setattr(tensors.secrets, "choice", lambda sets, index=index: sets[index])
        verdicts.append(gate(workload).ok)
    assert verdicts == [True, False, False]


def test_the_set_that_is_checked_is_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    point = point_of(monkeypatch, honest, "writes_to_out", "matmul", "fp32", DIMS, {})
    workload = TensorWorkload(point, point, "cpu", seed=1)
    workload.rotate(4)
    drawn = set()
    for _ in range(200):  # a set is left out of so many draws once in 10²⁴
        workload.refill()
        drawn.add(workload._next)
    assert drawn == {0, 1, 2, 3}


def test_values_are_other_ones_in_the_same_memory_and_no_version_counter_shows_it(monkeypatch: pytest.MonkeyPatch) -> None:
    point = point_of(monkeypatch, honest, "writes_to_out", "matmul", "fp32", DIMS, {})
    workload = TensorWorkload(point, point, "cpu", seed=1)
    (a, _) = workload._sets[0].inputs.operands
    before, address, version = a.clone(), a.data_ptr(), a._version
    workload.refill()
    assert (a.data_ptr(), a._version) == (address, version)
    assert not (a == before).any()


def test_where_memory_does_not_hold_other_values_the_row_says_so(monkeypatch: pytest.MonkeyPatch, device: CpuDevice) -> None:
    point = point_of(monkeypatch, honest, "writes_to_out", "matmul", "fp32", DIMS, {})
    original, calls = TensorWorkload._make_inputs, 0

    def once(self: TensorWorkload, seed: int) -> Inputs:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise TooLittleMemory("no room")
        return original(self, seed)

    monkeypatch.setattr(TensorWorkload, "_make_inputs", once)
    row = measure(point, device, seed=1)
    assert row.status in TIMED
    assert row.fresh_inputs is False


def test_what_imported_code_replaced_before_makes_every_point_wrong(monkeypatch: pytest.MonkeyPatch, device: CpuDevice) -> None:
    monkeypatch.setattr(torch, "allclose", lambda *a, **k: True)
    point = point_of(monkeypatch, honest, "writes_to_out", "matmul", "fp32", DIMS, {})
    for _ in range(2):
        row = measure(point, device, seed=1)
        assert (row.status, row.cause) == ("wrong", PATCHED)
        assert str(row.reason).startswith("torch.allclose was replaced before the point was measured")


@pytest.mark.parametrize("where", ["build", "run"])
def test_what_a_kernel_that_raises_has_changed_is_undone(where: str, monkeypatch: pytest.MonkeyPatch, device: CpuDevice) -> None:
    """No check follows it, and the next point, which is right, must not be accused."""

    def build(point: Point, inputs: Inputs) -> Kernel:
        def change() -> None:
            monkeypatch.setattr(torch, "allclose", lambda *a, **k: True)
            torch.set_num_threads(torch.get_num_threads() + 1)
            raise RuntimeError("out of luck")

        if where == "build":
            change()
        return Kernel(change)

    threads = torch.get_num_threads()
    monkeypatch.setitem(OPS["matmul"].impls, "raises", Impl("raises", build, never_refuses))  # type: ignore[arg-type]
    monkeypatch.setattr(measuring, "source_hash", lambda *names: None)
    row = measure(OPS["matmul"].point("raises", "fp32", DIMS, {}), device, seed=1)
    assert (row.status, "out of luck" in str(row.reason)) == ("error", True)
    assert (integrity.replaced(), torch.get_num_threads()) == ([], threads)
    following = measure(point_of(monkeypatch, honest, "writes_to_out", "matmul", "fp32", DIMS, {}), device, seed=1)
    assert following.status in TIMED, following.reason


def test_work_on_another_stream_is_seen_as_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A device whose side stream works only when somebody waits for all of it: a copy is ordered behind the current stream alone."""
    side: list[Any] = []

    def synchronize() -> None:
        while side:
            side.pop()()

    def build(point: Point, inputs: Inputs) -> Kernel:
        a, b = inputs.operands

        def run() -> torch.Tensor:
            side.append(lambda: torch.matmul(a, b, out=inputs.out))
            return inputs.out

        return Kernel(run)

    monkeypatch.setattr(corpus, "other_stream", build, raising=False)
    monkeypatch.setattr(tensors, "synchronize", synchronize)
    point = cheat(monkeypatch, "other_stream")
    workload = TensorWorkload(point, point, "cpu", seed=1)
    workload._device = "cuda"
    monkeypatch.setattr(workload, "_make_inputs", lambda seed: OPS["matmul"].load("make_inputs")(point, "cpu", seed))
    workload.launch()
    synchronize()
    verdict = gate(workload)
    assert (verdict.ok, verdict.cause) == (False, UNFINISHED)


def test_a_launch_that_waits_for_its_other_stream_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    def build(point: Point, inputs: Inputs) -> Kernel:
        a, b = inputs.operands
        side = [lambda: torch.matmul(a, b, out=inputs.out)]
        return Kernel(lambda: [work() for work in side][-1])

    monkeypatch.setattr(corpus, "joined_stream", build, raising=False)
    point = cheat(monkeypatch, "joined_stream")
    assert gate(TensorWorkload(point, point, "cpu", seed=1)).ok


@pytest.mark.parametrize(
    ("result", "words"),
    [
        ([torch.zeros(3)], "the result is a list"),
        (3.0, "the result is a float"),
        (torch.zeros(3).to_sparse(), "the result holds no values"),
        (torch.zeros(3, device="meta"), "the result holds no values"),
        (torch.zeros(3, dtype=torch.complex64).conj(), "the result holds no values"),
        (torch.nn.Parameter(torch.zeros(3)), None),
        (torch.zeros(3), None),
    ],
)
def test_what_is_not_a_plain_tensor_is_named(result: Any, words: str | None) -> None:
    found = correctness.unreal(correctness.tensors(result))
    assert found is None if words is None else str(found).startswith(words)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float8_e4m3fn, torch.int64, torch.bool, torch.complex64], ids=str)
def test_values_are_compared_bit_for_bit(dtype: torch.dtype) -> None:
    whole = torch.arange(1, 40).reshape(3, 13).to(dtype)
    some, same = whole[:, :7], whole[:, :7].clone()
    assert correctness.same_bits((some,), (same,))
    correctness.bits(same)[1, 2] += 1
    assert not correctness.same_bits((some,), (same,))


def test_nan_equals_itself_and_zero_is_not_minus_zero() -> None:
    nan = torch.full((3,), torch.nan)
    assert correctness.same_bits((nan,), (nan.clone(),))
    assert not correctness.same_bits((torch.zeros(3),), (-torch.zeros(3),))


def test_the_device_is_opened_before_other_peoples_code_is_imported(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    done: list[str] = []
    monkeypatch.setattr(bench, "open_device", lambda *a: done.append("open") or CpuDevice(CEILINGS))  # type: ignore[func-returns-value]
    monkeypatch.setattr(bench, "load_imports", lambda names: done.append("import"))
    monkeypatch.setattr(bench, "Sentinels", lambda *a, **named: None)
    bench.Bench("cpu", tmp_path, 1, {}, imports=["mine.py"])
    assert done == ["open", "import"]


def test_every_cause_is_documented() -> None:
    text = (ROOT / "docs" / "checks.md").read_text(encoding="utf-8")
    assert set(re.findall(r"`(cheat_\w+)`", text)) == set(CHEATS)

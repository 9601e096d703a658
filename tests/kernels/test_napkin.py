"""The napkin's formulas: hand-computed values and published figures as tables, and what must hold at any size."""

from __future__ import annotations

from itertools import pairwise
from math import inf, isclose

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels.napkin.memory import (
    Memory,
    activations_on_gpu,
    factor_of_layer,
    largest_parameters,
    parameter_bytes,
    state_on_gpu,
)
from kernels.napkin.setup import Batch, Links, Shape, Split
from kernels.napkin.training import (
    all_reduce_bytes,
    bubble_fraction,
    gradient_traffic,
    micro_batches,
    replica_bandwidth,
    ring_bandwidth,
    step_time,
    training_days,
    training_flops,
)
from kernels.parameter_copies import OPTIMIZER_STATES, SCHEMES

PEAK = 1979e12 / 2
MIXED_ADAM = parameter_bytes(SCHEMES["mixed"], "adam")
GPT3 = Shape(layers=96, hidden=12288, heads=96)
MT_NLG = Shape(layers=105, hidden=20480, heads=128)
H100 = Links(node=450e9, network=50e9, gpus_per_node=8)
IDEAL = Links(node=inf, network=inf, gpus_per_node=8)


@pytest.mark.parametrize(
    ("parameters", "tokens", "gpus", "mfu", "days"),
    [
        (70e9, 15e12, 1024, 0.5, 143.9),  # docs/cost_model.md
        (70e9, 15e12, 2048, 0.5, 72.0),
        (70e9, 15e12, 1024, 0.25, 287.9),
        (1e9, 1e9, 1, 1.0, 0.0702),  # 6e18 / 989.5e12 = 6064 s
    ],
)
def test_days(parameters: float, tokens: float, gpus: int, mfu: float, days: float) -> None:
    assert training_days(training_flops(parameters, tokens), PEAK * mfu, gpus) == pytest.approx(days, abs=0.05 if days > 1 else 5e-5)


@pytest.mark.parametrize(
    ("scheme", "optimizer", "bytes_"),
    [
        ("fp32", "adamw", 4 + 4 + (4 + 4)),
        ("mixed", "adamw", 2 + 2 + 4 + 4 + 4),
        ("mixed", "adam", 16),
        ("mixed", "sgd", 2 + 2 + 4),
        ("mixed_fp32_gradients", "adamw", 2 + 4 + 4 + 4 + 4),
        ("bf16", "adamw", 2 + 2 + 2 + 2),
        ("fp32", "sgd", 8),
        ("fp32", "momentum", 12),
        ("fp32", "adagrad", 12),
        ("fp32", "rmsprop", 12),
    ],
)
def test_bytes_of_a_parameter(scheme: str, optimizer: str, bytes_: int) -> None:
    assert parameter_bytes(SCHEMES[scheme], optimizer).total == bytes_


def test_optimizers_are_those_of_the_course() -> None:
    assert set(OPTIMIZER_STATES) == {"sgd", "momentum", "adagrad", "rmsprop", "adam", "adamw"}


# Rajbhandari et al. 2020, figure 1: 7.5e9 parameters, 64 replicas, K = 12.
@pytest.mark.parametrize(("stage", "gigabytes"), [(0, 120), (1, 31.4), (2, 16.6), (3, 1.9)])
def test_zero_paper_figure_1(stage: int, gigabytes: float) -> None:
    assert state_on_gpu(7.5e9, MIXED_ADAM, Split(zero=stage), 64).total / 1e9 == pytest.approx(gigabytes, abs=0.05)


# The same paper, table 1: gigabytes a GPU for 7.5e9, 128e9 and 1e12 parameters at some degrees of data parallelism.
@pytest.mark.parametrize(
    ("parameters", "replicas", "stages"),
    [(7.5e9, 4, (52.5, 41.3, 30)), (7.5e9, 1024, (30.1, 15.1, 0.12)), (128e9, 64, (536, 284, 32)), (1e12, 1024, (4011, 2013, 15.6))],
)
def test_zero_paper_table_1(parameters: float, replicas: int, stages: tuple[float, ...]) -> None:
    found = [state_on_gpu(parameters, MIXED_ADAM, Split(zero=stage), replicas).total / 1e9 for stage in (1, 2, 3)]
    assert found == pytest.approx(stages, rel=0.025)


@pytest.mark.parametrize(
    ("gpus", "scheme", "split", "parameters"),
    [
        (8, "fp32", Split(zero=3), 40e9),  # docs/cost_model.md: 640e9 / 16
        (8, "mixed", Split(zero=3), 40e9),
        (8, "fp32", Split(zero=0), 5e9),  # 80e9 / 16
        (8, "fp32", Split(tensor=8), 40e9),
        (8, "fp32", Split(tensor=2, pipeline=4), 40e9),
        (8, "bf16", Split(zero=3), 80e9),
        (8, "mixed", Split(zero=1), 80e9 / (2 + 2 + 12 / 8)),
    ],
)
def test_largest_model(gpus: int, scheme: str, split: Split, parameters: float) -> None:
    assert largest_parameters(80e9, parameter_bytes(SCHEMES[scheme], "adamw"), split, split.replicas(gpus)) == pytest.approx(parameters)


# Korthikanti et al. 2022, section 5: 5·a·s/h is 80 for GPT-3 and 64 for MT-NLG, and dropping it saves 70% and 65%.
@pytest.mark.parametrize(("shape", "attention", "saved"), [(GPT3, 80, 0.70), (MT_NLG, 64, 0.65)])
def test_selective_recomputation_of_published_models(shape: Shape, attention: int, saved: float) -> None:
    batch = Batch(sequence=2048, sequences=1)
    kept, selective = (factor_of_layer(shape, batch, how) for how in ("none", "selective"))
    assert (kept, selective) == (34 + attention, 34)
    assert 1 - selective / kept == pytest.approx(saved, abs=0.005)


@pytest.mark.parametrize(
    ("split", "recompute", "factor"),  # the rows of the same paper's table 2, for GPT-3 at t = 8
    [
        (Split(), "none", 34 + 80),
        (Split(tensor=8), "none", 10 + 24 / 8 + 80 / 8),
        (Split(tensor=8, sequence=True), "none", (34 + 80) / 8),
        (Split(tensor=8), "selective", 10 + 24 / 8),
        (Split(tensor=8, sequence=True), "selective", 34 / 8),
        (Split(tensor=8), "full", 2),
    ],
)
def test_activations_of_gpt3(split: Split, recompute: str, factor: float) -> None:
    batch = Batch(sequence=2048, sequences=1536)
    bytes_ = activations_on_gpu(GPT3, batch, split, 100, recompute)  # type: ignore[arg-type]
    assert bytes_ == pytest.approx(2048 * 1 * 12288 * factor * 96)


def test_activations_by_hand() -> None:
    assert activations_on_gpu(GPT3, Batch(2048, 8), Split(), 8, "none") == 275_414_777_856


@pytest.mark.parametrize(("pipeline", "rounds", "layers"), [(1, 8, 96), (8, 8, 96), (8, 100, 96), (8, 4, 48), (8, 1, 12)])
def test_a_pipeline_s_first_stage_holds_micro_batches_of_its_layers(pipeline: int, rounds: int, layers: int) -> None:
    bytes_ = activations_on_gpu(GPT3, Batch(2048, 8), Split(pipeline=pipeline), rounds, "full")
    assert bytes_ == 2048 * 12288 * 2 * layers


@pytest.mark.parametrize(("ranks", "bytes_", "sent"), [(1, 100, 0), (2, 100, 100), (4, 100, 150), (1000, 100, 199.8)])
def test_ring(ranks: int, bytes_: float, sent: float) -> None:
    assert all_reduce_bytes(ranks, bytes_) == pytest.approx(sent)


@pytest.mark.parametrize(
    ("ranks", "in_node", "bandwidth"),
    [(8, 8, 450e9), (16, 8, 400e9), (16, 1, 50e9), (1, 1, 450e9), (16, 16, 450e9), (32, 16, 450e9)],
)
def test_a_ring_leaves_a_node_through_all_its_adapters(ranks: int, in_node: int, bandwidth: float) -> None:
    assert ring_bandwidth(ranks, in_node, H100) == bandwidth


def test_replicas_of_a_node_share_its_adapters() -> None:
    assert [replica_bandwidth(Split(tensor=t), 128, H100) for t in (1, 2, 4, 8, 16)] == [400e9, 200e9, 100e9, 50e9, 50e9]


# Rajbhandari et al. 2020, section 7: 2Ψ elements up to stage 2, 3Ψ in stage 3; here of two bytes, in one micro-batch.
@pytest.mark.parametrize(("stage", "elements"), [(0, 2), (1, 2), (2, 2), (3, 3)])
def test_traffic_of_the_zero_paper(stage: int, elements: int) -> None:
    assert gradient_traffic(1e9, MIXED_ADAM, Split(zero=stage), 64, 1) == pytest.approx(63 / 64 * elements * 1e9 * 2)


@pytest.mark.parametrize(("stage", "elements"), [(0, 2), (1, 2), (2, 4 + 1), (3, 4 + 8)])
def test_who_keeps_no_whole_copy_sends_in_each_micro_batch(stage: int, elements: int) -> None:
    assert gradient_traffic(1e9, MIXED_ADAM, Split(zero=stage), 64, 4) == pytest.approx(63 / 64 * elements * 1e9 * 2)


def test_a_step_by_hand() -> None:
    """70e9 parameters, 1,024 GPUs as 128 replicas of 8: 16 micro-batches of 8,192 tokens."""
    batch, split = Batch(8192, 2048), Split(tensor=8, zero=1)
    one = step_time(70e9, MIXED_ADAM, Shape(80, 8192, 64), batch, split, H100, 1024, PEAK / 2)
    assert one.compute_s == pytest.approx(6 * 70e9 * 8192 * 2048 / (1024 * PEAK / 2))
    assert one.tensor_s == pytest.approx(16 * 80 * 4 * (2 * 7 / 8 * 8192 * 8192 * 2) / 450e9)
    assert one.data_s == pytest.approx(127 / 128 * 2 * 2 * 70e9 / 8 / 50e9)
    assert (one.bubble_s, one.pipeline_s, one.hidden_s) == (0, 0, 0)


def test_a_pipeline_by_hand() -> None:
    """4 stages in one node, 8 micro-batches: 3/8 of the busy time is idle; a stage sends activations and gradients."""
    one = step_time(1e9, MIXED_ADAM, Shape(8, 1024, 8), Batch(512, 8), Split(pipeline=4), H100, 4, 1e12)
    assert bubble_fraction(4, 8) == 3 / 8
    assert one.pipeline_s == pytest.approx(8 * 2 * 2 * 512 * 1024 / 450e9)
    assert one.bubble_s == pytest.approx(3 / 8 * (one.compute_s + one.pipeline_s))
    assert one.data_s == 0


def test_overlap_hides_no_more_than_compute_takes() -> None:
    def at(overlap: float, network: float) -> tuple[float, float]:
        links = Links(network, network, 1)
        one = step_time(1e9, MIXED_ADAM, None, Batch(128, 64), Split(), links, 64, 1e15, overlap=overlap)
        return one.data_s, one.hidden_s

    whole, none = at(0, 1e12)
    assert none == 0
    assert at(1, 1e15)[0] == 0
    compute = 6e9 * 128 / 1e15
    assert at(1, 1e12) == pytest.approx((whole - compute, compute))


def test_full_recomputation_does_forward_twice() -> None:
    once, twice = (step_time(1e9, MIXED_ADAM, None, Batch(128, 64), Split(), IDEAL, 8, 1e15, how).compute_s for how in ("none", "full"))
    assert twice / once == pytest.approx(8 / 6)


MODELS = st.builds(Memory, *(st.floats(0.5, 16) for _ in range(3)))
DEGREES = st.sampled_from([1, 2, 4, 8])
SPLITS = st.builds(Split, DEGREES, DEGREES, st.integers(0, 3), st.booleans())
BATCHES = st.builds(Batch, st.integers(1, 32_768), st.integers(8, 100_000), st.integers(1, 8))
GPUS = st.integers(1, 100_000)


@pytest.mark.slow
@given(BATCHES, SPLITS, GPUS, GPUS, st.floats(1e6, 1e13))
def test_more_gpus_never_take_longer_over_ideal_links(batch: Batch, split: Split, some: int, more: int, parameters: float) -> None:
    few, many = sorted((some * split.replica_gpus, (some + more) * split.replica_gpus))
    shape = Shape(64, 4096, 32)
    slow, fast = (step_time(parameters, MIXED_ADAM, shape, batch, split, IDEAL, n, PEAK).total_s for n in (few, many))
    assert fast <= slow * (1 + 1e-12)


@given(BATCHES, GPUS)
def test_a_step_over_ideal_links_is_the_ideal(batch: Batch, gpus: int) -> None:
    one = step_time(1e9, MIXED_ADAM, None, batch, Split(), IDEAL, gpus, PEAK).total_s
    ideal = training_flops(1e9, batch.tokens) / (PEAK * gpus)
    if gpus * batch.micro <= batch.sequences:
        assert isclose(one, ideal, rel_tol=1e-9)
    else:
        assert one > ideal


@given(MODELS, DEGREES, DEGREES, GPUS, st.floats(1, 1e13))
def test_a_higher_stage_never_holds_more(each: Memory, tensor: int, pipeline: int, replicas: int, parameters: float) -> None:
    held = [state_on_gpu(parameters, each, Split(tensor, pipeline, zero), replicas).total for zero in range(4)]
    assert all(later <= earlier for earlier, later in pairwise(held))
    whole = each.total * parameters / (tensor * pipeline)
    assert held[0] == pytest.approx(whole)
    assert held[3] == pytest.approx(whole / replicas)


@pytest.mark.slow
@given(MODELS, SPLITS, GPUS, st.floats(1e9, 1e12))
def test_the_largest_model_fills_the_memory(each: Memory, split: Split, replicas: int, free: float) -> None:
    largest = largest_parameters(free, each, split, replicas)
    assert state_on_gpu(largest, each, split, replicas).total == pytest.approx(free)
    assert largest_parameters(free, each, split, replicas + 1) >= largest * (1 - 1e-12)


@given(BATCHES, GPUS)
def test_a_replica_has_at_least_one_micro_batch(batch: Batch, replicas: int) -> None:
    assert micro_batches(batch, replicas) >= 1

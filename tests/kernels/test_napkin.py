"""The napkin's formulas: hand-computed values and published figures as tables, and what must hold at any size."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from math import inf, isclose

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernels.models.architecture import Architecture, plain_gpt
from kernels.napkin.memory import (
    Fullest,
    Memory,
    Step,
    activations_of_layer,
    fullest,
    largest_parameters,
    parameter_bytes,
    state_on_gpu,
)
from kernels.napkin.setup import Batch, Links, Split
from kernels.napkin.training import (
    StepTime,
    Traffic,
    all_reduce_bytes,
    bubble_fraction,
    gradient_traffic,
    micro_batches,
    replica_bandwidth,
    ring_bandwidth,
    step_time,
    token_flops,
    training_days,
    training_flops,
)
from kernels.parameter_copies import OPTIMIZER_STATES, SCHEMES
from kernels.registry import OPS
from kernels.training.memory import memory
from kernels.training.sizes import config_of

PEAK = 1979e12 / 2
MIXED_ADAM = parameter_bytes(SCHEMES["mixed"], "adam")
MIXED = SCHEMES["mixed"]
GPT3 = replace(plain_gpt(96, 12288, 96), dropout=True)
MT_NLG = replace(plain_gpt(105, 20480, 128), dropout=True)
LLAMA3_8B = Architecture(32, 4096, 32, 8, 128, 14336, 128256, "swiglu", "rmsnorm", positions="rope")
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
def test_selective_recomputation_of_published_models(shape: Architecture, attention: int, saved: float) -> None:
    kept, selective = (activations_of_layer(shape, MIXED, Split(), 2048, how, "plain") / shape.d_model for how in ("none", "selective"))
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
    assert activations_of_layer(GPT3, MIXED, split, 2048, recompute, "plain") == pytest.approx(12288 * factor)  # type: ignore[arg-type]


def held(split: Split, shape: Architecture = GPT3, gpus: float = 1.0, sequences: float = 8, **how: object) -> Fullest:
    """Memory of a GPU besides the state."""
    step = Step(shape, MIXED, Batch(2048, sequences), **how)  # type: ignore[arg-type]
    return fullest(Memory(0, 0, 0), step, split, gpus)


@pytest.mark.parametrize(("pipeline", "rounds", "layers"), [(8, 8, 96), (8, 100, 96), (8, 4, 48), (8, 1, 12)])
def test_a_pipeline_s_first_stage_holds_micro_batches_of_its_layers(pipeline: int, rounds: int, layers: int) -> None:
    found = held(Split(pipeline=pipeline), gpus=pipeline, sequences=rounds, recompute="full")
    assert found.stage == "first stage" or layers == 12
    assert found.memory.activations == 2048 * 12288 * 2 * layers


@pytest.mark.parametrize(
    ("split", "layers"),  # of one micro-batch, that the first stage holds; Korthikanti et al. 2022, section 4.2.3: 1 + (p − 1)/(p·v) of all
    [
        (Split(pipeline=8), 96),
        (Split(pipeline=8, virtual=3), 96 * (1 + 7 / 24)),
        (Split(pipeline=8, schedule="zb_h1"), 96),
        (Split(pipeline=8, schedule="zb_h2"), 12 * 15),
        (Split(pipeline=5), 20 * 5),  # 96 layers over 5 stages: 20 and four times 19
    ],
)
def test_schedules_and_uneven_stages(split: Split, layers: float) -> None:
    assert held(split, gpus=split.pipeline, sequences=1000, recompute="full").memory.activations == pytest.approx(2048 * 12288 * 2 * layers)


@pytest.mark.parametrize(
    ("split", "fraction"),
    [
        (Split(pipeline=8), 7 / 16),
        (Split(pipeline=8, virtual=4), 7 / 64),  # (p − 1)/(v·m)
        (Split(pipeline=8, schedule="zb_h1"), 7 / 48),
        (Split(pipeline=8, schedule="zb_h2"), 0),
        (Split(), 0),
    ],
)
def test_bubbles(split: Split, fraction: float) -> None:
    assert bubble_fraction(split, 16) == pytest.approx(fraction)


def test_logits_of_llama3_8b_do_not_fit() -> None:
    """131,072 tokens × 128,256 words × 4 B are 67e9 B a copy: with ZeRO 3 on 8 GPUs and full recomputation, one hardly fits 80e9."""
    state = state_on_gpu(LLAMA3_8B.parameters, MIXED_ADAM, Split(zero=3), 8)
    step = Step(LLAMA3_8B, MIXED, Batch(131_072, 8), recompute="full")
    found = fullest(state, step, Split(zero=3), 8)
    assert found.moment == "at the loss"
    assert found.memory.logits == 3 * 131_072 * 128_256 * 4
    assert found.memory.total > 200e9
    fused = fullest(state, replace(step, loss="fused"), Split(zero=3), 8)
    assert fused.memory.logits == 0
    assert fused.memory.total < found.memory.total - 2 * 131_072 * 128_256 * 4


@pytest.mark.parametrize(
    ("dims", "checkpointing"),
    [
        ((4, 1024, 12, 768, 12, 2048, 50304), "none"),
        ((8, 512, 24, 1024, 16, 4096, 32000), "none"),
        ((1, 4096, 16, 2048, 16, 5504, 128256), "none"),
        ((2, 2048, 32, 4096, 32, 11008, 32000), "full"),
        ((4, 1024, 12, 768, 12, 2048, 50304), "full"),
        ((1, 127, 8, 1024, 8, 2752, 129), "none"),
    ],
)
@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_memory_is_that_of_a_train_step(dims: tuple[int, ...], checkpointing: str, precision: str) -> None:
    """One GPU, ZeRO 0, the same attention: within 15% of kernels/training/memory.py, which tensors on a CPU agree with."""
    names = ("batch", "sequence", "layers", "hidden", "heads", "feedforward", "vocab")
    options = {"model": "transformer", "checkpointing": checkpointing, "optimizer": "adamw", "loading": "direct"}
    point = OPS["train_step"].point("torch", precision, dict(zip(names, dims, strict=True)), options)
    batch, sequence, layers, hidden, heads, feedforward, vocab = dims
    shape = replace(plain_gpt(layers, hidden, heads), d_ff=feedforward, vocab=vocab, activation="swiglu", norm="rmsnorm")
    shape = replace(shape, positions="learned", context=sequence)
    scheme = SCHEMES["autocast" if precision == "bf16" else "fp32"]
    state = state_on_gpu(shape.parameters, parameter_bytes(scheme, "adamw"), Split(), 1)
    step = Step(shape, scheme, Batch(sequence, batch, batch), recompute=checkpointing)  # type: ignore[arg-type]
    assert shape.parameters == config_of(point).parameters
    assert fullest(state, step, Split(), 1).memory.total == pytest.approx(memory(point, "cuda").peak, rel=0.15)


@pytest.mark.parametrize(
    ("heads", "window", "windowed", "sequence", "causal", "flops"),
    [
        (2, 0, 0, 10, False, 2 * 2 * 2 * (8 + 8) * 10),  # 2 layers × 2 FLOPs × 2 heads × (8 + 8) × 10 keys
        (2, 0, 0, 10, True, 2 * 2 * 2 * (8 + 8) * 5),
        (2, 4, 1, 10, True, 2 * 2 * 16 * (5 + (4 - 16 / 20))),  # one layer sees min(i, 4): 4 − 4²/(2·10)
        (2, 40, 2, 10, True, 2 * 2 * 2 * (8 + 8) * 5),
        (1, 4, 2, 10, False, 2 * 2 * 1 * 16 * 4),
    ],
)
def test_attention_flops(heads: int, window: int, windowed: int, sequence: int, causal: bool, flops: float) -> None:
    a = Architecture(2, heads * 8, heads, heads, 8, 32, window=window, windowed_layers=windowed)
    assert a.attention_flops(sequence, causal) == pytest.approx(flops)


@pytest.mark.parametrize(
    ("frozen", "recompute", "kernel", "products", "attention", "again"),
    [
        (False, "none", "flash", 6e9, 3.0, 0),
        (False, "full", "flash", 6e9, 3.0, 2e9 + 1.0),
        (False, "selective", "plain", 6e9, 3.0, 1.0),
        (False, "selective", "flash", 6e9, 3.0, 0),
        (True, "none", "flash", 4e9 + 6e7, 3.0, 0),  # LoRA: 4·N, and 6·N of the adapter
        (True, "full", "flash", 4e9 + 6e7, 3.0, 2 * 1.01e9 + 1.0),
    ],
)
def test_flops_a_token(frozen: bool, recompute: str, kernel: str, products: float, attention: float, again: float) -> None:
    """`attention` and `again` in units of the scores' forward FLOPs."""
    shape = plain_gpt(12, 768, 12)
    scores = shape.attention_flops(1024, causal=True)
    found = token_flops(1e9, 1e7 if frozen else 0, frozen, shape, 1024, True, recompute, kernel)  # type: ignore[arg-type]
    assert (found.products, found.attention) == pytest.approx((products, attention * scores))
    expected = again if again < 2 else (again - 1.0) + scores
    assert found.again == pytest.approx(scores if again == 1.0 else expected)


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
    assert gradient_traffic(1e9, 1e9, MIXED_ADAM, Split(zero=stage), 64, 1) == pytest.approx(63 / 64 * elements * 1e9 * 2)


@pytest.mark.parametrize(("stage", "elements"), [(0, 2), (1, 2), (2, 4 + 1), (3, 4 + 8)])
def test_who_keeps_no_whole_copy_sends_in_each_micro_batch(stage: int, elements: int) -> None:
    assert gradient_traffic(1e9, 1e9, MIXED_ADAM, Split(zero=stage), 64, 4) == pytest.approx(63 / 64 * elements * 1e9 * 2)


def step(parameters: float, shape: Architecture | None, batch: Batch, split: Split, links: Links, gpus: float, **how: float) -> StepTime:
    """A step whose FLOPs are 6·N a token, on GPUs that reach `speed`."""
    speed = how.pop("speed", PEAK)
    traffic = Traffic(parameters, parameters, MIXED_ADAM)
    return step_time(6 * parameters, traffic, shape, batch, split, links, gpus, speed, **how)  # type: ignore[arg-type]


def test_a_step_by_hand() -> None:
    """70e9 parameters, 1,024 GPUs as 128 replicas of 8: 16 micro-batches of 8,192 tokens."""
    batch, split = Batch(8192, 2048), Split(tensor=8, zero=1)
    one = step(70e9, plain_gpt(80, 8192, 64), batch, split, H100, 1024, speed=PEAK / 2)
    assert one.compute_s == pytest.approx(6 * 70e9 * 8192 * 2048 / (1024 * PEAK / 2))
    assert one.tensor_s == pytest.approx(16 * 80 * 4 * (2 * 7 / 8 * 8192 * 8192 * 2) / 450e9)
    assert one.data_s == pytest.approx(127 / 128 * 2 * 2 * 70e9 / 8 / 50e9)
    assert (one.bubble_s, one.pipeline_s, one.hidden_s, one.context_s, one.expert_s) == (0, 0, 0, 0, 0)


def test_a_pipeline_by_hand() -> None:
    """4 stages in one node, 8 micro-batches: 3/8 of the busy time is idle; a stage sends activations and gradients."""
    one = step(1e9, plain_gpt(8, 1024, 8), Batch(512, 8), Split(pipeline=4), H100, 4, speed=1e12)
    assert one.pipeline_s == pytest.approx(8 * 2 * 2 * 512 * 1024 / 450e9)
    assert one.bubble_s == pytest.approx(3 / 8 * (one.compute_s + one.pipeline_s))
    assert one.data_s == 0


def test_a_pipeline_waits_for_the_stage_with_most_layers() -> None:
    """126 layers over 16 stages: 8 and 7 of them, where the mean is 7.875."""
    even, uneven = (step(1e9, plain_gpt(n, 1024, 8), Batch(512, 64), Split(pipeline=16), IDEAL, 16).compute_s for n in (128, 126))
    assert uneven / even == pytest.approx(8 / 7.875)


def test_context_and_expert_parallelism_by_hand() -> None:
    """2 context-parallel GPUs hand on keys and values of half the sequence three times; tokens go to 2 experts and back, twice."""
    shape = replace(plain_gpt(4, 1024, 8), experts=8, active_experts=2, d_expert=64)
    one = step(1e9, shape, Batch(512, 1), Split(context=2), H100, 2)
    assert one.context_s == pytest.approx(4 * 3 * (512 / 2) * 2 * 1024 * 2 / 450e9)
    spread = step(1e9, shape, Batch(512, 4), Split(expert=4), H100, 4)
    assert spread.expert_s == pytest.approx(4 * 4 * (512 * 1024 * 2) * 2 * 3 / 4 / 450e9)


def test_hybrid_sharding_by_hand() -> None:
    """8 of 64 GPUs share: scatter and gathers among 8, then an eighth of the gradients is reduced among the 8 groups."""
    found = gradient_traffic(1e9, 1e9, MIXED_ADAM, Split(zero=3, hsdp=8), 64, 1)
    assert found == pytest.approx(7 / 8 * 3 * 2e9 + 2 * 7 / 8 * 2e9 / 8)
    assert gradient_traffic(1e9, 1e9, MIXED_ADAM, Split(zero=3, hsdp=64), 64, 1) == pytest.approx(63 / 64 * 3 * 2e9)


def test_overlap_hides_no_more_than_compute_takes() -> None:
    def at(overlap: float, network: float) -> tuple[float, float]:
        one = step(1e9, None, Batch(128, 64), Split(), Links(network, network, 1), 64, speed=1e15, overlap=overlap)
        return one.data_s, one.hidden_s

    whole, none = at(0, 1e12)
    assert none == 0
    assert at(1, 1e15)[0] == 0
    compute = 6e9 * 128 / 1e15
    assert at(1, 1e12) == pytest.approx((whole - compute, compute))


MODELS = st.builds(Memory, *(st.floats(0.5, 16) for _ in range(3)))
DEGREES = st.sampled_from([1, 2, 4, 8])
SPLITS = st.builds(Split, DEGREES, DEGREES, st.integers(0, 3), st.booleans())
BATCHES = st.builds(Batch, st.integers(1, 32_768), st.integers(8, 100_000), st.integers(1, 8))
GPUS = st.integers(1, 100_000)


@pytest.mark.slow
@given(BATCHES, SPLITS, GPUS, GPUS, st.floats(1e6, 1e13))
def test_more_gpus_never_take_longer_over_ideal_links(batch: Batch, split: Split, some: int, more: int, parameters: float) -> None:
    few, many = sorted((some * split.replica_gpus, (some + more) * split.replica_gpus))
    shape = plain_gpt(64, 4096, 32)
    slow, fast = (step(parameters, shape, batch, split, IDEAL, n).total_s for n in (few, many))
    assert fast <= slow * (1 + 1e-12)


@given(BATCHES, GPUS)
def test_a_step_over_ideal_links_is_the_ideal(batch: Batch, gpus: int) -> None:
    one = step(1e9, None, batch, Split(), IDEAL, gpus).total_s
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

"""Grouped-query attention, rope and tied heads: modules against references made otherwise, formulas against what is allocated."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from benches.devices.allocations import held_by_tensors
from benches.devices.tensors import TensorWorkload
from benches.sweep.load import SweepError, load_sweep
from benches.timing.measure import gate
from kernels.models import activations
from kernels.models.config import ROPE_BASE, Transformer
from kernels.models.modules import Attention, TransformerModel, attend_fused, attend_plain, build, cross_entropy, rotated, rotation_of
from kernels.op import OpError, Point
from kernels.parts import Contraction
from kernels.registry import OPS
from kernels.support import Platform
from kernels.training.memory import memory
from kernels.training.sizes import flops
from kernels.transformer.data import make_inputs
from kernels.transformer.spec import OP
from studies.planted_models import LLAMA, with_formula
from tests.kernels.test_models import counted
from tests.kernels.test_transformer import check_formula, flops_that_torch_counts
from tests.tensor_memory import peak_bytes

BLOCK = {"batch": 2, "sequence": 17, "hidden": 48, "heads": 6, "kv_heads": 2, "feedforward": 29}
STEP = {"batch": 2, "sequence": 16, "layers": 2, "hidden": 96, "heads": 6, "kv_heads": 2, "feedforward": 48, "vocab": 61}
LLAMA3_8B = Transformer(128256, 32, 4096, 32, 14336, "swiglu", "rmsnorm", 8192, kv_heads=8, position="rope")


def drawn(seed: int) -> Point:
    """A small ragged block or model: every group, position, head, attention, norm and precision of a CPU."""
    rng = random.Random(seed)
    kv_heads, group = rng.choice((1, 2, 3)), rng.choice((1, 2, 3))
    dims = {
        "batch": rng.choice((1, 2, 3)),
        "sequence": rng.choice((2, 17, 31)),
        "heads": kv_heads * group,
        "feedforward": rng.choice((7, 129)),
    }
    dims["hidden"] = dims["heads"] * rng.choice((2, 4, 16, 34))
    options = {
        "scope": rng.choice(("block", "model")),
        "pass": rng.choice(("forward", "backward", "both")),
        "position": rng.choice(("none", "rope")),
        "attention": rng.choice(("sdpa", "plain")),
        "norm": rng.choice(("rmsnorm", "layernorm")),
        "activation": rng.choice(("swiglu", "gelu")),
    }
    if group > 1 or rng.random() < 0.3:
        dims["kv_heads"] = kv_heads
    if options["scope"] == "model":
        dims |= {"layers": rng.choice((1, 2, 3)), "vocab": rng.choice((2, 53, 211))}
        options["head"] = rng.choice(("untied", "tied"))
    return OP.point("torch", rng.choice(("fp32", "bf16", "fp16")), dims, options)


def drawn_step(seed: int) -> Point:
    """A small training step of the same parts, and of every kind of checkpointing; sizes that outweigh what peak memory leaves out."""
    rng = random.Random(seed)
    precision = ("fp32", "bf16", "fp16", "fp8_e4m3")[seed % 4]
    multiple = 16 if precision == "fp8_e4m3" else 1
    kv_heads, group, attention = rng.choice((1, 2)), rng.choice((1, 2, 3)), rng.choice(("sdpa", "plain"))
    heads = kv_heads * group
    dims = {
        "batch": rng.choice((1, 2, 3)),
        "sequence": multiple * rng.choice((2, 5)) if multiple > 1 else rng.choice((7, 31)),
        "layers": rng.choice((1, 2, 3)),
        "hidden": heads * (16 if multiple > 1 else 14),
        "heads": heads,
        "feedforward": multiple * rng.choice((2, 5)) if multiple > 1 else rng.choice((29, 53)),
        "vocab": rng.choice((2, 31, 211)),
    }
    again = ("none", "selective", "full") if attention == "plain" else ("none", "full")
    return step(
        precision,
        dims | ({"kv_heads": kv_heads} if group > 1 else {}),
        attention=attention,
        position=rng.choice(("none", "rope")),
        head=rng.choice(("untied", "tied")),
        checkpointing=rng.choice(again),
    )


def step(precision: str, dims: dict[str, int], **options: str) -> Point:
    return OPS["train_step"].point("torch", precision, dims, {"model": "transformer", **options})


@pytest.mark.parametrize(
    ("op", "dims", "options", "id_"),
    [
        ("transformer", {}, {}, "transformer-torch-bf16-block-both-2x17x48x6x2x29"),
        ("transformer", {"kv_heads": None}, {}, "transformer-torch-bf16-block-both-2x17x48x6x29"),
        ("transformer", {"kv_heads": 6}, {}, "transformer-torch-bf16-block-both-2x17x48x6x6x29"),
        ("transformer", {}, {"position": "rope", "attention": "plain"}, "transformer-torch-bf16-block-both-2x17x48x6x2x29-plain-rope"),
        ("train_step", {"kv_heads": None}, {}, "train_step-torch-bf16-transformer-2x16x2x96x6x48x61"),
        ("train_step", {}, {"head": "tied"}, "train_step-torch-bf16-transformer-2x16x2x96x6x2x48x61-tied"),
        ("train_step", {}, {"checkpointing": "full"}, "train_step-torch-bf16-transformer-2x16x2x96x6x2x48x61-checkpointing"),
        (
            "train_step",
            {"kv_heads": None},
            {"checkpointing": "selective", "attention": "plain"},
            "train_step-torch-bf16-transformer-2x16x2x96x6x48x61-selective_checkpointing-plain",
        ),
    ],
)
def test_ids_have_what_is_given_and_not_default(op: str, dims: dict[str, int | None], options: dict[str, str], id_: str) -> None:
    sizes = (BLOCK if op == "transformer" else STEP) | dims
    leading = {"scope": "block", "pass": "both"} if op == "transformer" else {"model": "transformer"}
    given = {name: size for name, size in sizes.items() if size is not None}
    assert OPS[op].point("torch", "bf16", given, leading | options).id == id_


SWEEP = "name: x\nsweeps:\n  - {{op: train_step, impl: torch, precision: fp32, model: transformer, {}}}\n"
DIMS = "dims: {batch: 2, sequence: 16, layers: 2, hidden: 96, heads: 6, feedforward: 48, vocab: 61"
DEEP = {"tokens": 4, "width": 4, "layers": 2}


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        (DIMS + ", kv_heads: 4}", "kv_heads 4 do not divide heads 6"),
        (DIMS + ", kv_heads: 12}", "kv_heads 12 do not divide heads 6"),
        (DIMS + ", kv_heads: 0}", "kv_heads"),
        (DIMS + ", kv_head: 2}", "unknown dim 'kv_head' (did you mean kv_heads?)"),
        (DIMS.replace("96", "90") + "}, position: rope", "hidden 90 / heads 6 = 15 is odd"),
        (DIMS + "}, position: alibi", "position"),
        (DIMS + "}, checkpointing: selective", "use attention: plain"),
    ],
)
def test_a_mistake_in_a_sweep_is_a_line_that_names_its_place(entry: str, says: str, tmp_path) -> None:  # type: ignore[no-untyped-def]
    path = tmp_path / "x.yaml"
    path.write_text(SWEEP.format(entry), encoding="utf-8")
    with pytest.raises(SweepError) as raised:
        load_sweep(path)
    (line,) = str(raised.value).splitlines()
    assert "x.yaml:3: " in line
    assert says in line


@pytest.mark.parametrize(
    ("op", "dims", "options", "says"),
    [
        ("transformer", BLOCK, {"scope": "block", "pass": "both", "head": "tied"}, "only a model's can be tied"),
        (
            "train_step",
            {"tokens": 4, "width": 4, "layers": 2},
            {"model": "deep_linear", "position": "rope"},
            "position is the transformer's",
        ),
        ("train_step", DEEP, {"model": "deep_linear", "attention": "plain"}, "attention is the"),
    ],
)
def test_options_of_what_is_not_there_are_refused(op: str, dims: dict[str, int], options: dict[str, str], says: str) -> None:
    with pytest.raises(OpError, match=says):
        OPS[op].point("torch", "fp32", dims, options)


@pytest.mark.slow
def test_a_block_of_llama3_8b_has_its_published_parameters() -> None:
    """218.1e6 by its configuration (hidden 4096, 32 heads, 8 of k and v, feedforward 14336), and 8.03e9 in all, as its model card says."""
    assert LLAMA3_8B.block_parameters == 4096 * (2 * 4096 + 2 * 1024 + 3 * 14336) + 2 * 4096 == 218_112_000
    assert LLAMA3_8B.parameters == pytest.approx(8.03e9, rel=1e-3)
    with torch.device("meta"):
        module = TransformerModel(replace(LLAMA3_8B, layers=1))
    weights = {name: tuple(p.shape) for name, p in module.named_parameters()}
    assert weights == replace(LLAMA3_8B, layers=1).weights
    assert "positions.weight" not in weights


@pytest.mark.parametrize("depth", [2, 10, 128])
@pytest.mark.parametrize(("dtype", "within"), [(torch.float64, 1e-12), (torch.float32, 1e-6), (torch.bfloat16, 3e-2)])
def test_rope_is_a_complex_multiplication(depth: int, dtype: torch.dtype, within: float) -> None:
    """Also far along a sequence, where angles computed in fp32 would be off by 1e-4."""
    x = torch.randn(2, 3, 1031, depth, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).to(dtype)
    pairs = torch.complex(x[..., : depth // 2].double(), x[..., depth // 2 :].double())
    angles = torch.tensor([[s / ROPE_BASE ** (2 * i / depth) for i in range(depth // 2)] for s in range(1031)], dtype=torch.float64)
    exact = pairs * torch.polar(torch.ones_like(angles), angles)
    found = rotated(x, rotation_of(torch.empty(1, 1031, 1, dtype=dtype), depth))
    assert found.dtype == dtype
    torch.testing.assert_close(found.double(), torch.cat((exact.real, exact.imag), -1), rtol=0, atol=within)


@pytest.mark.parametrize("attend", [attend_fused, attend_plain])
@pytest.mark.parametrize(("heads", "kv_heads"), [(6, 6), (6, 3), (6, 2), (5, 1)])
def test_each_head_attends_to_that_of_its_group(attend, heads: int, kv_heads: int) -> None:  # type: ignore[no-untyped-def]
    """Head by head, by PyTorch's own attention of one head; gradients of k and v add up over their group."""
    drawn_from = torch.Generator().manual_seed(2)
    q, k, v = (torch.randn(2, n, 13, 7, dtype=torch.float64, generator=drawn_from, requires_grad=True) for n in (heads, kv_heads, kv_heads))
    group = heads // kv_heads
    expected = torch.stack(
        [F.scaled_dot_product_attention(q[:, h], k[:, h // group], v[:, h // group], is_causal=True) for h in range(heads)], 1
    )
    found = attend(q, k, v)
    torch.testing.assert_close(found, expected)
    for mine, its in zip(torch.autograd.grad(found.sum(), (q, k, v)), torch.autograd.grad(expected.sum(), (q, k, v)), strict=True):
        torch.testing.assert_close(mine, its)


def test_grouped_16_bit_attention_needs_no_copies() -> None:
    """PyTorch's kernel takes the groups itself, forwards and backwards, and gives what copies give."""
    q, k, v = (
        torch.randn(2, n, 13, 8, dtype=torch.bfloat16, generator=torch.Generator().manual_seed(n)).requires_grad_() for n in (6, 2, 2)
    )
    wide = attend_fused(q.float(), k.float(), v.float())
    torch.testing.assert_close(attend_fused(q, k, v).float(), wide, rtol=0.02, atol=0.02)
    for mine, its in zip(
        torch.autograd.grad(attend_fused(q, k, v).sum(), (q, k, v)), torch.autograd.grad(wide.sum(), (q, k, v)), strict=True
    ):
        torch.testing.assert_close(mine.float(), its.float(), rtol=0.05, atol=0.05)


def test_a_tied_head_is_a_linear_layer_that_shares_the_embeddings_weight() -> None:
    """And its gradient is the sum of both uses', which the same model with two equal weights shows apart."""
    sizes = (53, 2, 24, 3, 37, "swiglu", "rmsnorm", 19)
    tied = build(Transformer(*sizes, head="tied"), "cpu", torch.float64, 1)  # type: ignore[arg-type]
    apart = build(Transformer(*sizes), "cpu", torch.float64, 1)  # type: ignore[arg-type]
    apart.load_state_dict({**tied.state_dict(), "head.weight": tied.embedding.weight.detach().clone()})  # type: ignore[union-attr]
    shared = nn.Linear(24, 53, bias=False, dtype=torch.float64)
    shared.weight = tied.embedding.weight  # type: ignore[union-attr,assignment]
    inputs, targets = torch.randint(53, (2, 2, 19), generator=torch.Generator().manual_seed(7))
    last: list[torch.Tensor] = []
    tied.norm.register_forward_hook(lambda module, given, result: last.append(result))  # type: ignore[union-attr,operator]
    logits = tied(inputs)
    torch.testing.assert_close(logits, shared(last[0]))
    cross_entropy(logits, targets).backward()
    cross_entropy(apart(inputs), targets).backward()
    both = apart.embedding.weight.grad + apart.head.weight.grad  # type: ignore[union-attr,operator]
    torch.testing.assert_close(tied.embedding.weight.grad, both, rtol=1e-5, atol=1e-8)  # type: ignore[union-attr]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(8))
def test_the_formula_is_the_module_in_fp64(seed: int) -> None:
    made = drawn(1000 + seed)
    check_formula(OP.point("torch", "fp32", made.dims, {**made.options, "pass": "both"}))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(80))
def test_memory_is_what_is_allocated(seed: int) -> None:
    """To the byte."""
    made = drawn(seed)
    assert OP.cost(made, "cpu").memory_bytes == peak_bytes(made)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(40))
def test_flops_are_those_torch_counts_and_parts_make_them_up(seed: int) -> None:
    made = drawn(seed)
    cost = OP.cost(made, "cpu")
    assert cost.flops == flops_that_torch_counts(made)
    found = sum(2 * p.times * p.batch * p.m * p.n * p.k for p in OP.parts(made, cost) if isinstance(p, Contraction))
    assert OP.least_flops(made, cost) <= found <= cost.flops


@pytest.mark.slow
@pytest.mark.parametrize("made", [*(drawn(seed) for seed in range(12)), *(drawn_step(seed) for seed in (1, 4, 7))], ids=lambda p: p.id)
def test_right_results_pass(made: Point) -> None:
    verdict = gate(TensorWorkload(made, made, "cpu", seed=3))
    assert verdict.ok, verdict.problem


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(("name", "faulty"), [(n, f) for n, errors in LLAMA.items() for f in errors])
def test_wrong_groups_and_rotations_do_not_pass(precision: str, name: str, faulty) -> None:  # type: ignore[no-untyped-def]
    made = OP.point("torch", precision, BLOCK, {"scope": "block", "pass": "both", "position": "rope"})
    inputs = make_inputs(made, "cpu", 3)
    found = with_formula(name, faulty)(made, inputs, ())
    expected = OP.load("reference")(made, inputs.operands)
    allowed = OP.load("tolerance")(made, inputs.operands, expected)
    assert any(((f.double() - e).abs() > a).any() for f, e, a in zip(found, expected, allowed, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(40))
def test_a_steps_memory_is_what_its_forward_pass_leaves_and_its_step_holds(seed: int) -> None:
    """What is kept, to the byte, also where blocks or attention are computed again; the peak is an estimate."""
    made = drawn_step(seed)
    built = OPS["train_step"].impls["torch"].load()(made, OPS["train_step"].load("make_inputs")(made, "cpu", 1))
    calls = dict(built.phases)
    calls["data"]()
    _, found = held_by_tensors(calls["forward"])
    loss = calls["data"].__self__.loss  # type: ignore[attr-defined]
    assert found.net_bytes - loss.element_size() == memory(made, "cpu").activations
    del built, calls, loss
    assert memory(made, "cpu").peak == pytest.approx(peak_bytes(made), rel=0.2 if made.precision == "fp8_e4m3" else 0.15)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [s for s in range(40) if s % 4 != 3])
def test_a_steps_flops_are_those_torch_counts(seed: int) -> None:
    made = drawn_step(seed)
    built = OPS["train_step"].impls["torch"].load()(made, OPS["train_step"].load("make_inputs")(made, "cpu", 1))
    calls = dict(built.phases)
    calls["data"]()

    def forward() -> torch.Tensor:
        calls["forward"]()
        return calls["data"].__self__.loss  # type: ignore[attr-defined,no-any-return]

    assert sum(counted(forward)) == OPS["train_step"].cost(made, "cpu").flops


def test_selective_recomputation_spares_scores_and_adds_their_product() -> None:
    """Korthikanti et al. 2022, section 5: 5·a·s²·b bytes a layer with dropout in 16 bits; without it the probabilities, 2·a·s²·b. Copies of
    q, k and v are kept in place of the product that they are columns of. Again is q·kᵀ, 2·b·s²·h."""
    dims = {**STEP, "kv_heads": 6}
    kept, again = (step("bf16", dims, attention="plain", checkpointing=c) for c in ("none", "selective"))
    scores = 2 * 6 * 16**2
    assert memory(kept, "cpu").activations - memory(again, "cpu").activations == 2 * 2 * scores
    assert memory(kept, "cuda").activations - memory(again, "cuda").activations == 2 * (2 + 4) * scores  # and in fp32
    assert flops(again).again == 2 * 2 * scores * 16
    assert flops(again).model == flops(kept).model


@pytest.mark.parametrize("position", ["none", "rope"])
def test_attending_again_changes_no_gradient(position: str) -> None:
    sizes = (53, 2, 24, 6, 37, "swiglu", "rmsnorm", 19, "plain", 2, position)
    module = build(Transformer(*sizes), "cpu", torch.float64, 1)  # type: ignore[arg-type]
    inputs, targets = torch.randint(53, (2, 2, 19), generator=torch.Generator().manual_seed(7))
    found = []
    for again in (False, True):
        for child in module.modules():
            if isinstance(child, Attention):
                child.checkpoint = again
        found.append(torch.autograd.grad(cross_entropy(module(inputs), targets), list(module.parameters())))
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize("precision", ["bf16", "fp8_e4m3"])
def test_a_shrunk_point_keeps_groups_pairs_and_what_fp8_takes(precision: str) -> None:
    made = step(precision, {**STEP, "hidden": 4096, "heads": 32, "kv_heads": 8}, position="rope")
    small = OPS["train_step"].shrink(made)
    assert (small.dims["heads"], small.dims["kv_heads"]) == (6, 2)
    assert OPS["train_step"].impls["torch"].unsupported(small, Platform("cpu")) is None
    block = OP.point(
        "torch", "bf16", {**BLOCK, "hidden": 4096, "heads": 32, "kv_heads": 8}, {"scope": "block", "pass": "both", "position": "rope"}
    )
    assert OP.shrink(block).dims["hidden"] == 6 * 6


def test_tables_are_kept_once() -> None:
    one, three = (Transformer(53, n, 24, 3, 37, "swiglu", "rmsnorm", 19, position="rope") for n in (1, 3))
    a_block = activations.block(one, 2, 19, 4, "cpu")
    assert activations.model(three, 2, 19, 4, "cpu") - activations.model(one, 2, 19, 4, "cpu") == 2 * a_block

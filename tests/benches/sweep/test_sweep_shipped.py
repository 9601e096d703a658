"""The shipped sweeps hold what they promise, and the models' layers follow from the published architectures."""

from collections.abc import Set
from pathlib import Path

import pytest

from benches.sweep.load import load_sweep, sweep_names
from benches.sweep.shapes import made_model, model_names, read_model
from kernels.registry import OPS
from kernels.strict_yaml.problems import SweepError
from kernels.support import Platform
from tests.runs_in import runs_in

BANDS = {
    **{"smoke": (60, 160), "nightly": (600, 1000), "full": (4000, 20000), "edges": (500, 2000), "calibrate": (500, 900)},
    **{"first_contact": (100, 160), "gradients": (80, 120), "layout": (80, 120), "models": (40, 80), "optimizer": (60, 100)},
    **{"training": (30, 60), "course": (40, 60)},
}
H100 = Platform("cuda", (9, 0))


def test_every_shipped_sweep_has_a_band():
    assert set(BANDS) == set(sweep_names())


@pytest.mark.slow
@pytest.mark.parametrize("name", BANDS)
def test_loads_and_resolves(name: str, tmp_path: Path):
    sweep = load_sweep(name)
    low, high = BANDS[name]
    assert low <= len(sweep.points) <= high
    assert sweep.name == name
    assert len({point.id for point in sweep.points}) == len(sweep.points)
    path = tmp_path / "sweep.yaml"
    path.write_text(sweep.resolved, encoding="utf-8")
    assert [vars(point) for point in load_sweep(path).points] == [vars(point) for point in sweep.points]


@pytest.mark.slow
@pytest.mark.parametrize("name", BANDS)
def test_few_points_cannot_run_on_an_h100_and_all_fit_in_it(name: str):
    points = load_sweep(name).points
    unsupported = [point for point in points if OPS[point.op].impls[point.impl].unsupported(point, H100)]
    assert len(unsupported) <= max(2, 0.02 * len(points))
    assert max(OPS[point.op].cost(point, "cuda").memory_bytes for point in points) < 80e9 / 4  # references in fp64 take four times as much


@pytest.mark.slow
@pytest.mark.parametrize("name", ["smoke", "nightly"])
def test_every_op_in_every_implementation_and_precision(name: str):
    found = {(point.op, point.impl, point.precision) for point in load_sweep(name).points}
    assert missing_entries(found) == [], f"mend configs/sweeps/{name}.yaml"


def missing_entries(found: Set[tuple[str, str, str]]) -> list[str]:
    """What a sweep of these ops, implementations and precisions lacks, one line each: it must hold every implementation, and just the
    precisions in which an op runs, and for Triton those in which that runs."""
    lines = []
    for op in OPS.values():
        if not any(o == op.name for o, _, _ in found):
            lines.append(f"no entry with op: {op.name}")
            continue
        wanted = [impl.name for impl in op.impls.values() if not impl.on_request]
        lines += [f"op: {op.name} without impl: {i}" for i in wanted if not any((o, impl) == (op.name, i) for o, impl, _ in found)]
        lines += lacking(f"op: {op.name}", {precision for o, _, precision in found if o == op.name}, runs_in(op.name))
        for impl in (impl.name for impl in op.impls.values() if impl.language == "triton"):
            met = {precision for o, i, precision in found if (o, i) == (op.name, impl)}
            if met:  # without any, the implementation itself is missing
                lines += lacking(f"op: {op.name}, impl: {impl}", met, runs_in(op.name, impl))
    return lines


def lacking(entry: str, found: Set[str], runs: Set[str]) -> list[str]:
    """A line for each precision that is missing, and for each that should not be there."""
    missing = [f"{entry} without precision: {precision}" for precision in sorted(runs - found)]
    return missing + [f"{entry} with precision: {precision}, in which it does not run" for precision in sorted(found - runs)]


@pytest.mark.slow
def test_what_a_sweep_lacks_is_named() -> None:
    found = {(point.op, point.impl, point.precision) for point in load_sweep("smoke").points}
    left_out = {("matmul", "torch_compile"), ("optimizer", "triton", "bf16")}
    kept = {key for key in found if key[0] != "einops" and key[:2] not in left_out and key not in left_out}
    assert missing_entries(kept | {("layout", "torch", "tf32")}) == [
        "op: matmul without impl: torch_compile",
        "op: layout with precision: tf32, in which it does not run",
        "no entry with op: einops",
        "op: optimizer, impl: triton without precision: bf16",
    ]


def test_smoke_is_small_enough_for_a_laptop():
    points = load_sweep("smoke").points
    assert sum(point.impl == "torch_compile" for point in points) <= len(OPS) + 1
    for point in points:
        if point.impl == "torch":
            flops = OPS[point.op].cost(point, "cuda").flops
            assert flops <= (2**26 if point.precision in ("bf16", "fp16") else 2**32)


@pytest.mark.slow
def test_nightly_takes_half_an_hour():
    points = load_sweep("nightly").points
    assert 1.5 * len(points) + 5 * sum(point.impl == "torch_compile" for point in points) < 30 * 60


# By the released weights or the model card: total and active parameters.
PARAMETERS = {
    "llama3_8b": (8.030e9, 8.030e9),
    "llama3_70b": (70.55e9, 70.55e9),
    "llama3_405b": (405.85e9, 405.85e9),
    "gpt3_175b": (174.6e9, 174.6e9),
    "qwen3_32b": (32.76e9, 32.76e9),
    "qwen3_235b_a22b": (235.09e9, 22.19e9),
    "mixtral_8x7b": (46.70e9, 12.88e9),
    "deepseek_v3": (671.0e9, 37.55e9),
    "gpt_oss_120b": (116.83e9, 5.75e9),
}


def test_every_shipped_model_has_its_published_size():
    assert set(model_names()) == set(PARAMETERS)
    for name, sizes in PARAMETERS.items():
        a = read_model(name).architecture
        assert (a.parameters, a.active_parameters) == pytest.approx(sizes, rel=0.001)


@pytest.mark.parametrize("name", PARAMETERS)
def test_layers_follow_from_the_architecture(name: str):
    model = read_model(name)
    a = model.architecture
    assert model.layers == made_model(name, a).layers
    shapes = {layer.name: (layer.n, layer.k, layer.count) for layer in model.layers}
    if not a.kv_rank:
        assert shapes["qkv"] == ((a.heads + 2 * a.kv_heads) * a.head_dim, a.d_model, a.layers)
        assert shapes["attn_out"] == (a.d_model, a.heads * a.head_dim, a.layers)
    assert shapes["lm_head"] == (a.vocab, a.d_model, 1)
    if a.experts:
        assert shapes["expert_gate_up"] == (2 * a.d_expert, a.d_model, (a.layers - a.dense_layers) * a.experts)
    elif name == "gpt3_175b":
        assert shapes["up"] == (4 * a.d_model, a.d_model, a.layers)
    else:
        assert shapes["gate_up"] == (2 * a.d_ff, a.d_model, a.layers)


def test_a_sweep_takes_the_layers_of_a_configuration(tmp_path: Path):
    """A path is seen from the sweep's folder; the labels have the folder's name."""
    folder = tmp_path / "tiny"
    folder.mkdir()
    config = '{"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, '
    (folder / "config.json").write_text(config + '"intermediate_size": 96, "vocab_size": 127}', encoding="utf-8")
    sweep = "name: s\nsweeps:\n- {op: matmul, impl: torch, precision: fp32, shapes_from: tiny/config.json, dims: {tokens: 3}}\n"
    (tmp_path / "s.yaml").write_text(sweep, encoding="utf-8")
    points = load_sweep(str(tmp_path / "s.yaml")).points
    assert [(p.dims["n"], p.dims["k"]) for p in points] == [(128, 64), (64, 64), (192, 64), (64, 96), (127, 64)]
    (tmp_path / "s.yaml").write_text(sweep.replace("tiny/config.json", "tiny/none.json"), encoding="utf-8")
    with pytest.raises(SweepError, match=r"s\.yaml:3: shapes_from: file not found"):
        load_sweep(str(tmp_path / "s.yaml"))

"""Every kind of question, each with an answer worked out by hand or taken from a source; contradictions; published runs."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from kernels.gpus import gpu_names, load_gpu
from kernels.strict_yaml.problems import SweepError
from reports.__main__ import main
from reports.napkin.answer import ANSWERS, answer
from reports.napkin.answer_text import show
from reports.napkin.keys import ASKS, KEYS
from reports.napkin.napkin_charts import plots
from reports.napkin.published import EXPLAIN, published
from reports.napkin.question import load_question
from reports.napkin.steps import Answer
from studies.accounting import PAGE, with_tables

Ask = Callable[[str], Answer]


@pytest.fixture
def ask(tmp_path: Path) -> Ask:
    """Answers a question given as text."""

    def answered(text: str) -> Answer:
        path = tmp_path / "mine.yaml"
        path.write_text(text, encoding="utf-8")
        return answer(load_question(str(path)))

    return answered


TRAIN = "ask: training_time\nmodel: 70e9\ntokens: 15e12\ngpus: 1024\nmfu: 0.5\n"
MEMORY = "ask: memory\nmodel: llama3_8b\ngpus: 64\n"
MFU = "ask: mfu\nmodel: 1e9\ngpus: 8\n"
SERVE = "ask: inference\nmodel: llama3_8b\nprompt: 1000\ngenerated: 100\n"
GPT = "{layers: 12, d_model: 768, heads: 12, vocab: 50257}"
L8 = 8_030_261_248
L8_TABLE = 128256 * 4096

# What a GPU achieves at MFU 0.5: 494.75e12 FLOP/s.
BY_HAND = [
    ("ask: gpus\nmodel: 70e9\ntokens: 15e12\ndays: 143.9266\nmfu: 0.5\n", "gpus_exact", 1024),
    ("ask: gpus\nmodel: 70e9\ntokens: 15e12\ndays: 100\nmfu: 0.5\n", "gpus", 1474),  # 1,473.8
    ("ask: gpus\nmodel: 70e9\ntokens: 15e12\ndays: 100\nmfu: 0.5\nparallel: {tensor: 8}\n", "gpus", 1480),
    ("ask: tokens\nmodel: 70e9\ngpus: 1024\ndays: 143.9266\nmfu: 0.5\n", "tokens", 15e12),
    (TRAIN, "gpu_hours", 6.3e24 / 494.75e12 / 3600),
    (TRAIN, "tokens_per_s_gpu", 494.75e12 / 420e9),
    (MFU + "tokens_per_s: 1e5\n", "mfu", 6e9 * 1e5 / 8 / 989.5e12),
    (MFU + "step_s: 2\nbatch: {sequence: 1000, sequences: 200}\n", "mfu", 6e9 * 1e5 / 8 / 989.5e12),
    (MFU + "gpu_hours: 100\ntokens: 4.5e9\n", "mfu", 6e9 * 4.5e9 / 360_000 / 989.5e12),
    (MFU + "tokens_per_s: 1e5\nrecompute: full\n", "hfu", 8e9 * 1e5 / 8 / 989.5e12),
    ("ask: checkpoint\nmodel: 70e9\nwrite_bytes_per_s: 10e9\n", "bytes", 70e9 * 12),  # fp32 master, 4 + 4
    ("ask: checkpoint\nmodel: 70e9\nwrite_bytes_per_s: 10e9\n", "seconds", 84),
    ("ask: cost\nmodel: 70e9\ntokens: 15e12\ngpus: 1024\nmfu: 0.5\nusd_per_gpu_hour: 2\n", "usd", 2 * 6.3e24 / 494.75e12 / 3600),
    ("ask: cost\nmodel: 70e9\ntokens: 15e12\ngpus: 1024\nmfu: 0.5\nwatts: 700\n", "kwh", 0.7 * 6.3e24 / 494.75e12 / 3600),
    ("ask: memory\nmodel: 10e9\ngpus: 8\n", "bytes", 160e9),
    ("ask: memory\nmodel: 10e9\ngpus: 8\nzero: 3\noptimizer: adamw_8bit\n", "bytes", 10e9 / 8 * (2 + 2 + 4 + 2 * (1 + 4 / 2048))),
    ("ask: memory\nmodel: 10e9\ngpus: 8\nzero: 3\nparallel: {hsdp: 4}\n", "bytes", 160e9 / 4),
    ("ask: memory\nmodel: 10e9\ngpus: 8\nzero: 3\nparallel: {context: 4}\n", "bytes", 160e9 / 8),  # context GPUs share too
    # LoRA on 12 layers of 768: 16 · (n + k) of qkv, out, up and down is 16 · 12 · (3072 + 1536 + 3840 + 3840) parameters.
    (f"ask: memory\nmodel: 124e6\narchitecture: {GPT}\ngpus: 1\nadapter: {{rank: 16}}\n", "bytes", 248e6 + 2_359_296 * 16),
    (f"ask: memory\nmodel: 124e6\narchitecture: {GPT}\ngpus: 1\nadapter: {{rank: 16, weights: nf4}}\n", "weights_bytes", 68_686_592),
    # DeepSeek-V3's experts among 64 of 2,048 / 16 GPUs: 654e9 of 671e9 parameters, 2 bytes each.
    (
        "ask: memory\nmodel: deepseek_v3\ngpus: 2048\nparallel: {pipeline: 16, expert: 64}\n",
        "weights_bytes",
        2 / 16 * ((671_026_404_352 - 58 * 256 * 3 * 7168 * 2048) + 58 * 256 * 3 * 7168 * 2048 / 64),
    ),
    # Llama 3 8B: a token's cache is 32 layers × 8 heads × (128 + 128) × 2 B; decoding reads weights but the table, and caches.
    (SERVE, "cache_bytes", 1100 * 32 * 8 * 256 * 2),
    (SERVE, "largest_batch", (80e9 - 2 * L8) // (1100 * 131_072)),
    (SERVE, "decode_s", (2 * (L8 - L8_TABLE) + 1050 * 131_072) / 3.35e12),
    (SERVE, "prefill_s", (2 * 1000 * (7_504_658_432 - L8_TABLE) + 2 * L8_TABLE + 1000 * 2 * 32 * 32 * 256 * 500) / 989.5e12),
    (SERVE + "kv_precision: fp8_e4m3\n", "cache_bytes", 1100 * 32 * 8 * 256),
    # DeepSeek-V3's report: about 70 kB a token, (512 + 64) · 61 · 2 B.
    ("ask: inference\nmodel: deepseek_v3\ngpus: 16\nprompt: 1\ngenerated: 1\n", "cache_bytes", 2 * 70_272),
    ("ask: largest_model\ngpus: 8\nscheme: fp32\nzero: 3\n", "parameters", 40e9),
]


@pytest.mark.parametrize(("text", "result", "value"), BY_HAND)
def test_answers_by_hand(ask: Ask, text: str, result: str, value: float) -> None:
    assert ask(text).results[result] == pytest.approx(value, rel=1e-4)


def test_every_kind_of_question_is_asked_here() -> None:
    assert {re.match(r"ask: (\w+)", text).group(1) for text, _, _ in BY_HAND} == set(ASKS) == set(ANSWERS)  # type: ignore[union-attr]


def test_the_largest_model_with_activations_is_smaller_and_fills_the_memory(ask: Ask) -> None:
    text = "ask: largest_model\ngpus: 8\nzero: 3\n"
    alone, batch = ask(text), ask(text + "batch: {sequence: 4096, micro: 1}\n")
    assert 0.2 * alone.results["parameters"] < batch.results["parameters"] < alone.results["parameters"]
    more = ask(text + "batch: {sequence: 8192, micro: 1}\n")
    assert more.results["parameters"] < batch.results["parameters"]
    none = ask(text + "batch: {sequence: 1000000000, micro: 1}\n")
    assert none.results["parameters"] == 0
    assert "Not even a model of one layer fits" in none.remarks[-1]
    assert plots(none, "q")


def test_real_layouts_are_answered(ask: Ask) -> None:
    """Llama 3.1 405B's: 126 layers over 16 stages, the fullest with 8."""
    text = TRAIN.replace("70e9", "llama3_405b").replace("1024", "16384") + "zero: 2\n"
    text += "parallel: {tensor: 8, pipeline: 16}\nbatch: {sequence: 8192, sequences: 2048}\n"
    found = ask(text)
    layers = next(step.how for group in found.groups for step in group.steps if step.what == "activations")
    assert "8 layers" in layers
    assert any("the stage with most layers" in step.how for group in found.groups for step in group.steps)
    chunks = ask(text.replace("pipeline: 16", "pipeline: 16, virtual: 4"))
    assert chunks.results["days_with_communication"] < found.results["days_with_communication"]


def test_lora_takes_four_flops_of_frozen_weights(ask: Ask) -> None:
    found = ask(f"ask: training_time\nmodel: 124e6\narchitecture: {GPT}\ntokens: 1e9\ngpus: 1\nmfu: 0.5\nadapter: {{rank: 16}}\n")
    assert found.results["flops"] == pytest.approx(1e9 * (4 * 124e6 + 6 * 2_359_296))


def test_a_question_takes_a_configuration_beside_it(tmp_path: Path) -> None:
    config = '{"model_type": "llama", "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 96, '
    (tmp_path / "tiny.json").write_text(config + '"vocab_size": 127}', encoding="utf-8")
    (tmp_path / "q.yaml").write_text("ask: memory\nmodel: ./tiny.json\ngpus: 1\n", encoding="utf-8")
    parameters = 2 * (4 * 64 * 64 + 3 * 64 * 96 + 2 * 64) + 64 + 2 * 127 * 64
    assert answer(load_question(str(tmp_path / "q.yaml"))).results["bytes"] == 16 * parameters


ARCH = "architecture: {layers: 4, d_model: 64, heads: 4}\n"
CONTRADICTIONS = [
    ("ask: memory\ngpus: 8", "1: model: missing: a number of parameters"),
    ("ask: memory\nmodel: 1e9", "1: gpus: missing: how many GPUs"),
    (MEMORY + "tokens: 1e12", "4: tokens: memory does not use it"),
    (MEMORY + "mfu: 0.5", "4: mfu: memory does not use it"),
    (MEMORY + "memory: sheet", "4: memory: unknown memory 'sheet' (did you mean datasheet?)"),
    (MEMORY + "gpu: h200_sxm\nmemory: board", "5: memory: h200_sxm's file has no board_memory_bytes"),
    (MEMORY + "attention: flsh", "4: attention: unknown attention 'flsh' (did you mean flash?)"),
    (MEMORY + "loss: half", "4: loss: unknown loss 'half'"),
    (MEMORY + "parallel: {virtual: 2}", "4: parallel.virtual: needs parallel.pipeline"),
    (MEMORY + "parallel: {schedule: zb_h1}", "4: parallel.schedule: zb_h1 needs parallel.pipeline of 2 or more"),
    (MEMORY + "parallel: {pipeline: 4, schedule: zb_h2, virtual: 2}", "4: parallel.virtual: chunks are for 1f1b, not for zb_h2"),
    (MEMORY + "parallel: {schedule: gpipe}", "4: parallel.schedule: unknown parallel.schedule 'gpipe'"),
    (MEMORY + "parallel: {pipeline: 32, virtual: 2}", "4: parallel.pipeline: 32 stages of 2 chunks are more than 32 layers"),
    (MEMORY + "parallel: {tensor: 64}", "4: parallel.tensor: 64 does not divide 32 heads"),
    (MEMORY + "parallel: {expert: 8}", "4: parallel.expert: the model has no experts"),
    (MEMORY.replace("llama3_8b", "mixtral_8x7b") + "parallel: {expert: 16}", "4: parallel.expert: 16 does not divide 8 experts"),
    (MEMORY.replace("llama3_8b", "mixtral_8x7b") + "parallel: {tensor: 16, expert: 8}", "4: parallel.expert: 8 does not divide the 4 GPUs"),
    (MEMORY + "parallel: {hsdp: 8}", "4: parallel.hsdp: needs zero of 1 to 3"),
    (MEMORY + "zero: 3\nparallel: {hsdp: 5}", "5: parallel.hsdp: 5 does not divide the 64 GPUs"),
    (MEMORY + "parallel: {context: 3}", "3: gpus: 64 is not a multiple of tensor · pipeline · context = 3"),
    (MEMORY + "parallel: {context: 8}\nbatch: {sequence: 1001}", "4: parallel.context: 8 does not divide a sequence of 1,001 tokens"),
    (MEMORY + ARCH, "4: architecture: leave it out: llama3_8b has its own"),
    ("ask: memory\ngpus: 8\n" + ARCH, "3: architecture.vocab: missing: without `model` the parameters are the architecture's"),
    ("ask: memory\nmodel: 1e9\ngpus: 8\narchitecture: {layers: 4, d_model: 64, heads: 4, head: 1}", "4: head: unknown key in an archi"),
    (MEMORY + "adapter: {weights: nf4}", "4: adapter.rank: missing: LoRA"),
    (MEMORY + "adapter: {rank: 8, weights: fp4}", "4: adapter.weights: unknown adapter.weights 'fp4'"),
    ("ask: memory\nmodel: 1e9\ngpus: 1\nadapter: {rank: 8}", "4: architecture: missing: how many parameters an adapter has"),
    ("ask: memory\nmodel: nowhere/config.json\ngpus: 1", "2: model: file not found"),
    (TRAIN + "hfu: 0.4", "6: hfu: give mfu or hfu: they differ by recomputation"),
    (TRAIN.replace("mfu: 0.5", "overlap: 0"), "1: mfu: missing: model FLOPs utilization"),
    (TRAIN + "days: 10", "6: days: training_time does not use it"),
    (TRAIN + "parameters: matmul", "6: parameters: matmul needs a model or an architecture with its vocabulary"),
    (TRAIN + "attention_flops: none", "6: attention_flops: unknown attention_flops 'none'"),
    (TRAIN.replace("mfu: 0.5", "hfu: 1.2"), "5: hfu: '1.2' is too large: at most 1"),
    (TRAIN + "gpu: h100_pcie\nbatch: {sequence: 8, sequences: 4096}", "1: links.network: missing: h100_pcie's file has no speed for it"),
    ("ask: gpus\nmodel: 1e9\ntokens: 1e12\nmfu: 0.5", "1: days: missing: how long the run may take"),
    ("ask: gpus\nmodel: 1e9\ntokens: 1e12\nmfu: 0.5\ndays: 3\ngpus: 8", "6: gpus: gpus does not use it"),
    ("ask: tokens\nmodel: 1e9\ngpus: 8\nmfu: 0.5\ndays: 0", "5: days: '0' is too small"),
    (MFU, "1: mfu: give one of tokens_per_s, step_s, gpu_hours, not none"),
    (MFU + "tokens_per_s: 1\nstep_s: 1", "1: mfu: give one of tokens_per_s, step_s, gpu_hours, not tokens_per_s and step_s"),
    (MFU + "step_s: 1", "4: step_s: needs batch.sequence and batch.sequences"),
    (MFU + "gpu_hours: 1", "4: gpu_hours: needs tokens: how many they took"),
    (MFU + "tokens_per_s: 1\ntokens: 5", "5: tokens: goes with gpu_hours, not with tokens_per_s"),
    (SERVE + "batch: {sequence: 8}", "5: batch: needs an integer, not a mapping"),
    (SERVE + "kv_precision: fp9", "5: kv_precision: unknown kv_precision 'fp9'"),
    (SERVE.replace("llama3_8b", "8e9"), "2: architecture: missing: key and value cache depend on it"),
    (SERVE.replace("prompt: 1000\n", ""), "1: prompt: missing: inference: tokens of each prompt"),
    (SERVE + "zero: 3", "5: zero: inference does not use it"),
    ("ask: checkpoint\nmodel: 1e9", "1: write_bytes_per_s: missing: checkpoint: bytes/s"),
    ("ask: cost\nmodel: 1e9\ntokens: 1e12\ngpus: 8\nmfu: 0.5", "1: usd_per_gpu_hour: missing: give it, or watts, or both"),
    ("ask: cost\nmodel: 1e9\ntokens: 1e12\ngpus: 8\nmfu: 0.5\nusd_per_gpu_hour: -1", "6: usd_per_gpu_hour: '-1' is too small"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("text", "problem"), CONTRADICTIONS)
def test_contradictions_are_one_clear_line(tmp_path: Path, text: str, problem: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(SweepError) as error:
        load_question(str(path))
    assert [line for line in error.value.problems if not line.startswith(f"{path}:{problem}")] == []


def test_each_key_belongs_to_a_question() -> None:
    assert {key.name: set(key.asks) - set(ASKS) for key in KEYS.values() if not key.asks or set(key.asks) - set(ASKS)} == {}
    assert {key.name for key in KEYS.values() if set(key.needed) - set(key.asks)} == set()


def test_what_ten_percent_change(ask: Ask) -> None:
    """Tokens are proportional to time, GPUs inversely."""
    found = {one.key: (one.less, one.more) for one in ask(TRAIN).sensitivity}
    assert found["tokens"] == pytest.approx((-0.1, 0.1))
    assert found["gpus"] == pytest.approx((1 / 0.9 - 1, 1 / 1.1 - 1))
    assert set(found) == {"tokens", "gpus", "mfu", "peak", "model"}
    money = ask("ask: cost\nmodel: 70e9\ntokens: 15e12\ngpus: 1024\nmfu: 0.5\nusd_per_gpu_hour: 2\n")
    assert {one.key for one in money.sensitivity} == {"tokens", "mfu", "peak", "model", "usd_per_gpu_hour"}


@pytest.fixture(scope="module")
def runs() -> list:
    return published()


def test_answers_agree_with_published_runs(runs: list) -> None:
    assert len(runs) >= 50
    far = [f"{run.id}: {run.deviation:+.2%}, allowed {run.allowed:.2%}" for run in runs if abs(run.deviation) > run.allowed]
    assert far == []


def test_what_deviates_has_a_number_for_its_cause_or_is_unexplained(runs: list) -> None:
    vague = [run.id for run in runs if abs(run.deviation) > EXPLAIN and "unexplained" not in run.cause and not re.search(r"\d", run.cause)]
    assert vague == []


def test_published_runs_are_printed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    assert main(["napkin", "--published"]) == 0
    out = capsys.readouterr().out
    for said in ("Megatron-LM", "published 84 days, answered 83.21 days: -0.9%", "(not checked)", "more than 3% off."):
        assert said in out


def test_a_wrong_table_of_runs_is_a_line_each(tmp_path: Path) -> None:
    path = tmp_path / "runs.yaml"
    path.write_text("runs:\n- {id: a}\n- 5\n", encoding="utf-8")
    with pytest.raises(SweepError, match=r"runs\.yaml:2: runs: missing; valid: source") as error:
        published(path)
    assert "3: runs: a run is a mapping with id" in str(error.value)


def test_the_docs_hold_the_tables() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert with_tables(text) == text, "run python -m studies.accounting --write"


def test_each_kind_of_answer_has_a_picture_of_what_changes_it(ask: Ask, capsys: pytest.CaptureFixture[str]) -> None:
    """On the page the last chart, on the terminal bars."""
    for name in sorted(ASKS):
        found = ask(next(text for text, _, _ in BY_HAND if text.startswith(f"ask: {name}\n")))
        assert plots(found, "q")[-1].title == "Effect of changing each assumption by 10%", name
        show(found, Console(width=100))
        assert re.search(r"[+-]\d+\.\d% +█", capsys.readouterr().out), name


def test_networks_of_gpus_have_a_source() -> None:
    """A100: HDR; H100: NDR. What nobody has read is not there."""
    found = {name: load_gpu(name).network_bytes_per_s for name in gpu_names()}
    assert {name: found[name] for name in ("a100_sxm4_80gb", "h100_sxm5")} == {"a100_sxm4_80gb": 25e9, "h100_sxm5": 50e9}
    assert set(found.values()) <= {None, 25e9, 50e9}

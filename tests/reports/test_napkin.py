"""`python -m reports napkin`: answers, mistakes, the MFU of a run, the page."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from math import isfinite
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benches.row import Row, new_row
from benches.sweep.shapes import read_model
from kernels.cost_model import MFU_PEAK_FLOPS_PER_S
from kernels.gpus import GPU_DIR
from kernels.registry import OPS
from kernels.strict_yaml.problems import SweepError
from reports.__main__ import main
from reports.napkin.answer import answer
from reports.napkin.keys import KEYS
from reports.napkin.measured import MeasuredError, layer_times
from reports.napkin.napkin_charts import plots
from reports.napkin.napkin_page import html
from reports.napkin.question import load_question, question_names
from reports.napkin.steps import Answer
from reports.units import compact
from studies.accounting import keys_table
from tests.reports.chromium import opened

ROOT = Path(__file__).resolve().parents[2]
TRAIN = "ask: training_time\nmodel: 70e9\ntokens: 15e12\ngpus: 1024\nmfu: 0.5\n"
LARGEST = "ask: largest_model\ngpus: 8\n"
SHAPE = "architecture: {layers: 80, d_model: 8192, heads: 64}\n"
BATCH = "batch: {sequence: 8192, sequences: 2048}\n"


@pytest.fixture
def ask(tmp_path: Path) -> Callable[[str], Answer]:
    """Answers a question given as text."""

    def answered(text: str) -> Answer:
        path = tmp_path / "mine.yaml"
        path.write_text(text, encoding="utf-8")
        return answer(load_question(str(path)))

    return answered


def value(found: Answer, group: str, what: str) -> float:
    """The value of a step in the group whose title begins so."""
    return next(s.value for g in found.groups if g.title.startswith(group) for s in g.steps if s.what == what)


def test_both_shipped_questions_are_answered(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    assert main(["napkin"]) == 0
    out = capsys.readouterr().out
    assert {"train_70b_15t", "largest_on_8_h100"} <= set(question_names())
    for said in ("143.9 days", "40e9 parameters (40.0 B)", "= 6.3e24 FLOP", "6 × 70e9 parameters × 15e12 tokens", "640e9 B / 16 B", "4+4"):
        assert said in out, said
    assert max(map(len, out.splitlines())) <= 80
    assert "\x1b" not in out


@pytest.mark.slow
def test_neither_torch_nor_triton_is_imported() -> None:
    code = "import sys; from reports.__main__ import main; main(['napkin']); assert not {'torch', 'triton'} & set(sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("text", "headline"),
    [
        (TRAIN, "143.9 days"),
        (TRAIN.replace("1024", "128"), "1,151 days (3.15 years)"),
        (TRAIN + "gpu: a100_sxm4_80gb\n", "456.5 days"),  # 6.3e24 / (312e12 · 0.5 · 1024)
        (TRAIN + "gpu: a100_sxm4_80gb\npeak: convention\n", "143.9 days"),
        (TRAIN.replace("70e9", "llama3_70b"), "145.1 days"),  # 70.55e9
        (TRAIN.replace("70e9", "llama3_70b") + "parameters: matmul\n", "142.9 days"),  # 69.5e9: without the embedding table
        (TRAIN.replace("70e9", "llama3_70b") + "parameters: non_embedding\n", "140.7 days"),  # 68.45e9: without the head too
        (TRAIN.replace("70e9", "deepseek_v3"), "77.21 days"),  # 37.55e9 of 671e9
        (LARGEST, "5e9 parameters (5.0 B)"),
        (LARGEST + "zero: 3\nscheme: fp32\n", "40e9 parameters (40.0 B)"),
        (LARGEST + "zero: 3\ngpu: h200_sxm\n", "70.5e9 parameters (70.5 B)"),  # 141e9 · 8 / 16
        (LARGEST + "zero: 3\nreserve: 20e9\n", "30e9 parameters (30.0 B)"),
        (LARGEST + "zero: 3\noptimizer: sgd\nscheme: bf16\n", "160e9 parameters (160.0 B)"),
        (LARGEST + "zero: 3\nscheme: {weights: 1, gradients: 1, master: 2, state: 1}\n", "106.7e9 parameters (106.7 B)"),
    ],
)
def test_headlines(ask: Callable[[str], Answer], text: str, headline: str) -> None:
    assert ask(text).headline == headline


def test_mixed_precision_beside_fp32(ask: Callable[[str], Answer]) -> None:
    """By hand: 640e9 B over 4+4+4+4, 2+2+4+4+4, 2+4+4+4+4 and 2+2+2+2 bytes."""
    found = ask(LARGEST + "zero: 3\nscheme: fp32\n")
    largest = {name: value(found, "The same in each scheme", name) for name in ("fp32", "mixed", "mixed_fp32_gradients", "bf16")}
    assert largest == pytest.approx({"fp32": 40e9, "mixed": 40e9, "mixed_fp32_gradients": 640e9 / 18, "bf16": 80e9})
    held = ask(TRAIN)  # one replica of 70e9 parameters on each GPU, no activations counted
    assert value(held, "Memory of a GPU in each scheme", "mixed_fp32_gradients") == pytest.approx(70e9 * 18)


def test_a_named_model_s_parameters_are_told_apart(ask: Callable[[str], Answer]) -> None:
    """GPT-3: 12 · h² a layer and biases and norms of 13 · h, two of h at the end, and embeddings that are the head too."""
    found = ask(TRAIN.replace("70e9", "gpt3_175b"))
    h = 12288
    layers = 96 * (12 * h**2 + 13 * h) + 2 * h
    assert found.question.subject is not None
    assert found.question.subject.total == layers + (50257 + 2048) * h
    assert value(found, "Parameters", "non-embedding") == layers
    assert value(found, "Parameters", "multiplied") == 96 * 12 * h**2 + 50257 * h
    llama = ask(TRAIN.replace("70e9", "llama3_8b"))
    assert (value(llama, "Parameters", "total"), value(llama, "Parameters", "multiplied")) == (8_030_261_248, 7_504_658_432)


def test_communication_counts_with_a_batch_alone(ask: Callable[[str], Answer]) -> None:
    assert not any("with communication" in group.title for group in ask(TRAIN).groups)
    assert any("has no batch" in remark for remark in ask(TRAIN).remarks)
    with_batch = ask(TRAIN + BATCH)
    days = value(with_batch, "The same with communication", "in days")
    assert days > 143.9
    assert value(with_batch, "The same with communication", "MFU then") == pytest.approx(0.5 * 143.9266 / days, rel=1e-5)


def test_memory_says_whether_it_fits(ask: Callable[[str], Answer]) -> None:
    assert any(remark.startswith("It does not fit") for remark in ask(TRAIN).remarks)
    fits = ask(TRAIN + SHAPE + BATCH + "zero: 3\nrecompute: full\n")
    assert any(remark.startswith("It fits") for remark in fits.remarks)
    assert value(fits, "Memory", "layer keeps") == 2 * 8192
    assert value(fits, "Memory", "activations") == 2 * 8192 * 8192 * 80
    terms = ("weights", "gradients", "optimizer", "activations", "working set", "gathered")
    assert value(fits, "Memory", "together") == pytest.approx(sum(value(fits, "Memory", term) for term in terms))
    assert sum(value(fits, "Memory", term) for term in terms[:3]) == pytest.approx(70e9 * 16 / 1024)


LONG = (
    "ask: training_time\nmodel: llama3_8b\ntokens: 1e12\ngpus: 8\nmfu: 0.4\nzero: 3\nrecompute: full\n"
    "batch: {sequence: 131072, sequences: 8}\n"
)


def test_a_model_whose_logits_do_not_fit_is_told_what_would(ask: Callable[[str], Answer]) -> None:
    """Each change that is named is tried: with it, it fits."""
    found = ask(LONG)
    assert value(found, "Memory", "logits") == 3 * 131_072 * 128_256 * 4
    advice = next(remark for remark in found.remarks if remark.startswith("It fits with"))
    assert "parallel.tensor: 8 (" in advice
    assert "% time" in advice
    changed = ask(LONG + "parallel: {tensor: 8}\n")
    assert any(remark.startswith("It fits a GPU") for remark in changed.remarks)
    assert any("more GPUs" in remark for remark in ask(LONG.replace("gpus: 8", "gpus: 1")).remarks)


def test_attention_of_8b_at_128k_is_about_twice_its_weights(ask: Callable[[str], Answer]) -> None:
    """12·L·d·s a token for whole squares, half of that if causal: 206e9 or 103e9 beside 48e9."""
    found = ask(LONG)
    assert value(found, "The same with attention", "attention") == 6 * 32 * 4096 * 131_072
    assert found.results["days_with_attention"] / found.results["days"] == pytest.approx(1 + 103.08e9 / 48.18e9, rel=1e-3)
    full = ask(LONG + "attention_flops: full\n")
    assert value(full, "The same with attention", "attention") == 12 * 32 * 4096 * 131_072


def test_the_shipped_questions_keep_their_answers_and_say_what_attention_adds() -> None:
    found = answer(load_question("train_70b_15t"))
    assert found.headline == "143.9 days"
    assert found.beneath == ("155 days with attention (half squares), 7.7% more",)
    assert answer(load_question("largest_on_8_h100")).results["parameters"] == pytest.approx(40e9)


def test_mfu_and_hfu_are_two_things(ask: Callable[[str], Answer]) -> None:
    """Megatron-LM's run of 1e12 parameters: 8·N·T at 163e12 FLOP/s is 84 days; at that MFU it would be 63."""
    megatron = "ask: training_time\nmodel: 1e12\ntokens: 450e9\ngpus: 3072\ngpu: a100_sxm4_80gb\nrecompute: full\n"
    by_hfu, by_mfu = ask(megatron + f"hfu: {163 / 312}\n"), ask(megatron + f"mfu: {163 / 312}\n")
    assert by_hfu.results["days"] == pytest.approx(8 * 1e12 * 450e9 / (3072 * 163e12 * 86_400))
    assert by_mfu.results["days"] == pytest.approx(by_hfu.results["days"] * 6 / 8)
    assert by_hfu.results["mfu"] == pytest.approx(163 / 312 * 6 / 8)
    assert by_mfu.results["hfu"] == pytest.approx(163 / 312 * 8 / 6)


def test_board_and_datasheet(ask: Callable[[str], Answer]) -> None:
    """81,559 MiB are 85.52e9 B: 5.2e9 parameters take 83.2e9."""
    text = "ask: memory\nmodel: 5.2e9\ngpus: 1\n"
    assert "does not fit" in ask(text).remarks[0]
    assert "By the board, which has 85.52e9 B, it fits." in ask(text).remarks[0]
    by_board = ask(text + "memory: board\n").remarks[0]
    assert by_board.startswith("It fits a GPU: 83.2e9 B of 85.52e9 B by the board. By the datasheet")


def test_the_network_is_the_gpu_s(ask: Callable[[str], Answer]) -> None:
    taken = {a.key: (a.value, a.origin) for a in ask(TRAIN + BATCH + "gpu: a100_sxm4_80gb\n").question.assumptions}
    assert taken["links.network"] == ("25e9", "the file of a100_sxm4_80gb")


def test_more_replicas_than_micro_batches_are_said(ask: Callable[[str], Answer]) -> None:
    assert any("some GPUs idle" in remark for remark in ask(TRAIN.replace("1024", "4096") + BATCH).remarks)


def test_each_assumption_says_where_it_comes_from(ask: Callable[[str], Answer]) -> None:
    taken = {a.key: (a.value, a.origin) for a in ask(TRAIN + BATCH).question.assumptions}
    assert taken["gpus"] == ("1024", "line 4")
    assert taken["gpu"] == ("h100_sxm5", "default")
    assert taken["links.node"] == ("450e9", "the file of h100_sxm5")
    assert taken["links.network"] == ("50e9", "the file of h100_sxm5")
    assert taken["batch.micro"] == ("1", "default")


def test_a_question_may_bring_its_own_gpu(tmp_path: Path) -> None:
    """A file beside the question."""
    h100 = (GPU_DIR / "h100_sxm5.yaml").read_text(encoding="utf-8")
    mine = h100.replace("name: h100_sxm5", "name: mine").replace("80_000_000_000", "16_000_000_000")
    (tmp_path / "mine.yaml").write_text(mine, encoding="utf-8")
    (tmp_path / "question.yaml").write_text(LARGEST + "zero: 3\ngpu: ./mine.yaml\n", encoding="utf-8")
    question = load_question(str(tmp_path / "question.yaml"))
    assert (question.gpu.name, question.gpu.memory_bytes) == ("mine", 16e9)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("gpus: 8", "1: ask: missing"),
        ("ask: train_time\ngpus: 8", "1: ask: unknown ask 'train_time' (did you mean training_time?)"),
        (TRAIN + "mufu: 1", "6: mufu: unknown key (did you mean mfu?)"),
        (LARGEST + "tokens: 1e12", "3: tokens: largest_model does not use it"),
        (LARGEST + "parallel: {sequence: maybe}", "3: parallel.sequence: unknown parallel.sequence 'maybe'; valid: true, false"),
        (LARGEST + "links: {node: 1e9}", "3: links: largest_model does not use it"),
        (LARGEST.replace("8", "eight"), "2: gpus: 'eight' is not an integer"),
        (LARGEST.replace("8", "0"), "2: gpus: '0' is too small"),
        (LARGEST + "gpu: ./h900.yaml", "3: gpu: {folder}/h900.yaml:1: GPU: file not found"),
        (LARGEST + "gpu: h100_smx5", "3: gpu: unknown gpu 'h100_smx5' (did you mean h100_sxm5?)"),
        (LARGEST + "scheme: fp31", "3: scheme: unknown scheme 'fp31' (did you mean fp32?)"),
        (LARGEST + "scheme: {weights: 2}", "3: scheme.master: missing"),
        (LARGEST + "scheme: {weights: 0, gradients: 1, master: 0, state: 0}", "3: scheme.weights: '0' is too small"),
        (LARGEST + "optimizer: adamv", "3: optimizer: unknown optimizer 'adamv' (did you mean adam"),
        (LARGEST + "zero: 4", "3: zero: '4' is too large: at most 3"),
        (LARGEST + "reserve: 80e9", "3: reserve: is all of the GPU's"),
        (LARGEST + "parallel: [8]", "3: parallel: needs a mapping of keys, not a list"),
        (LARGEST + "parallel: {tensor: 3}", "2: gpus: 8 is not a multiple of tensor · pipeline = 3"),
        (TRAIN.replace("70e9", "llama_70b"), "2: model: unknown model 'llama_70b' (did you mean llama3_70b?)"),
        (TRAIN.replace("70e9", "7O e9"), "2: model: '7O e9' is not a number"),
        (TRAIN.replace("15e12", '"15e12"'), "3: tokens: '15e12' is text: write the number without quotes"),
        (TRAIN.replace("15e12", "inf"), "3: tokens: 'inf' is not a number"),
        (TRAIN.replace("15e12", ""), "3: tokens: needs a number, but no value is given"),
        (TRAIN.replace("15e12", "[1]"), "3: tokens: needs a number, not a list"),
        (TRAIN.replace("0.5", "50"), "5: mfu: '50' is too large: at most 1"),
        (TRAIN.replace("0.5", "0"), "5: mfu: '0' is too small: at least 1e-12"),
        (TRAIN.replace("0.5", "{measured: nowhere}"), "5: mfu.measured: needs a `model` of configs/models"),
        (TRAIN.replace("0.5", "{}"), "5: mfu.measured: missing"),
        (TRAIN + "peak: fp7", "6: peak: unknown peak 'fp7'"),
        (TRAIN + "gpu: a100_sxm4_80gb\npeak: fp8_e4m3", "7: peak: a100_sxm4_80gb has no peak in fp8_e4m3"),
        (TRAIN + "architecture: {layers: 80}", "6: architecture.d_model: missing"),
        (TRAIN.replace("70e9", "llama3_8b") + SHAPE, "6: architecture: leave it out: llama3_8b has its own"),
        (TRAIN + "batch: {sequence: 8192}", "6: batch.sequences: missing"),
        (TRAIN + "batch: {sequence: 8, sequences: 2, micro: 4}", "6: batch.micro: 4 sequences at once of 2"),
        (TRAIN + BATCH + "parallel: {tensor: 8}", "7: architecture: missing: how much divided layers send"),
        (TRAIN + BATCH + SHAPE + "parallel: {pipeline: 128}", "8: parallel.pipeline: 128 stages are more than 80 layers"),
        (TRAIN + BATCH + SHAPE + "parallel: {tensor: 128}", "8: parallel.tensor: 128 does not divide 64 heads"),
        (TRAIN + "recompute: all", "6: recompute: unknown recompute 'all'"),
        (TRAIN + "links: {node: fast}", "6: links.node: 'fast' is not a number"),
        (TRAIN + "overlap: 1.5", "6: overlap: '1.5' is too large: at most 1"),
        ("", "1: question: the file is empty"),
        ("- 1", "1: question: the file must hold a mapping of keys, not a list"),
        ("a: {", "1: YAML: "),
    ],
)
def test_mistakes(tmp_path: Path, text: str, problem: str, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    assert main(["napkin", str(path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert any(line.startswith(f"{path}:{problem.replace('{folder}', str(tmp_path))}") for line in captured.err.splitlines()), captured.err


PIECES = st.one_of(
    st.sampled_from(["70e9", "1e-12", "1e30", "0", "-1", "8", "1024", "0.5", "1", "true", "mixed", "fp32", "adamw", "llama3_8b", "none"]),
    st.sampled_from(["h100_pcie", "convention", "{}", "[]", "~", "''", "{measured: x}", "{tensor: 8, pipeline: 2}", "full", "nan"]),
    st.sampled_from(
        ["{sequence: 1}", "{sequence: 8, sequences: 64, micro: 2}", "{rank: 8, weights: nf4}", "{expert: 8, context: 2}", "board"]
    ),
    st.sampled_from(["{layers: 3, d_model: 129, heads: 3, vocab: 127}", "plain", "fused", "causal", "matmul", "autocast", "adamw_8bit"]),
    st.sampled_from(["{sequence: 1, sequences: 8}", "{layers: 2, d_model: 4, heads: 8}", "{node: 1, network: 1e30, gpus_per_node: 1}"]),
)


GROUPS = sorted({name.split(".")[0] for name in KEYS})
BASES = [
    *(TRAIN, LARGEST, "ask: memory\nmodel: mixtral_8x7b\ngpus: 8\n", "ask: gpus\nmodel: 1e9\ntokens: 1e12\ndays: 3\nmfu: 0.5\n"),
    *("ask: tokens\nmodel: 1e9\ngpus: 8\ndays: 3\nhfu: 0.5\n", "ask: mfu\nmodel: llama3_8b\ngpus: 8\ntokens_per_s: 1e5\n"),
    *("ask: inference\nmodel: gpt_oss_120b\nprompt: 9\ngenerated: 7\n", "ask: checkpoint\nmodel: 1e9\nwrite_bytes_per_s: 1e9\n"),
    "ask: cost\nmodel: deepseek_v3\ntokens: 1e12\ngpus: 8\nmfu: 0.5\nwatts: 700\n",
]


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
@given(st.sampled_from(BASES), st.dictionaries(st.sampled_from(GROUPS), PIECES, max_size=6))
def test_any_question_is_answered_or_its_mistakes_have_lines(tmp_path: Path, base: str, changes: dict[str, str]) -> None:
    keys = dict(line.split(": ") for line in base.splitlines()) | changes
    path = tmp_path / "any.yaml"
    path.write_text("".join(f"{key}: {text}\n" for key, text in keys.items()), encoding="utf-8")
    mistakes, found = [], []
    try:
        found = [answer(load_question(str(path)))]
    except SweepError as error:
        mistakes = error.problems
    assert found or mistakes
    assert all(re.match(rf"{re.escape(str(path))}:\d+: [\w.]+: ", line) for line in mistakes), mistakes
    for one in found:
        assert all(isfinite(step.value) and step.text for group in one.groups for step in group.steps)
        assert plots(one, "q")


@pytest.mark.parametrize(
    ("number", "text"),
    [
        *((0, "0"), (1024, "1,024"), (86400, "86,400"), (0.5, "0.5"), (143.9266, "143.9"), (40e9, "40e9"), (6.3e24, "6.3e24")),
        *((989.5e12, "989.5e12"), (999_999.9, "1,000,000"), (1e6, "1e6"), (1.5e-6, "1.5e-6"), (999.96e9, "1e12"), (-2e9, "-2e9")),
    ],
)
def test_numbers_as_on_a_napkin(number: float, text: str) -> None:
    assert compact(number) == text


def test_all_mistakes_of_all_questions_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [tmp_path / "a.yaml", tmp_path / "b.yaml"]
    for path in paths:
        path.write_text(TRAIN.replace("15e12", "x").replace("0.5", "2") + "zero: 7\n", encoding="utf-8")
    assert main(["napkin", *map(str, paths), "train_70b"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.rsplit("/", 1)[-1].split(" ")[0] for line in lines[:6]] == [f"{f}.yaml:{at}" for f in "ab" for at in ("3:", "5:", "6:")]
    assert "(did you mean train_70b_15t?)" in lines[6]


def layers_run(folder: Path, mfu: float, leave_out: str = "", status: str = "ok", tokens: tuple[int, ...] = (64, 4096)) -> Path:
    """A run that timed llama3_8b's layers at this MFU; its small m, at half of it."""
    rows: list[Row] = []
    for m in tokens:
        for layer in read_model("llama3_8b").layers:
            point = OPS["matmul"].point("torch", "bf16", {"m": m, "n": layer.n, "k": layer.k}, {"layout": "nt"})
            seconds = 2 * m * layer.n * layer.k / (MFU_PEAK_FLOPS_PER_S * (mfu if m > 64 else mfu / 2))
            if layer.name == leave_out and m > 64:
                rows.append(new_row(point, OPS["matmul"].cost(point, "cuda"), "oom", "too large"))
            else:
                rows.append(new_row(point, OPS["matmul"].cost(point, "cuda"), status, None, median_s=seconds))
    folder.mkdir()
    (folder / "rows.jsonl").write_text("".join(row.model_dump_json() + "\n" for row in rows), encoding="utf-8")
    (folder / "environment.json").write_text('{"device_kind": "cuda", "device_name": "an H100"}', encoding="utf-8")
    return folder


def test_the_mfu_of_a_run_is_its_layers_flops_over_their_times(ask: Callable[[str], Answer], tmp_path: Path) -> None:
    run = layers_run(tmp_path / "run", 0.625)
    found = ask(TRAIN.replace("70e9", "llama3_8b").replace("0.5", f"{{measured: {run}}}"))
    assert value(found, "Measured MFU: torch bf16, 4,096 tokens, an H100", "MFU") == pytest.approx(0.625)
    assert value(found, "Training time", "one GPU") == pytest.approx(0.625 * MFU_PEAK_FLOPS_PER_S)
    assert found.question.timing.measured.seconds == pytest.approx(  # type: ignore[union-attr]
        2 * 4096 * 7_504_658_432 / (0.625 * MFU_PEAK_FLOPS_PER_S)
    )
    small = ask(TRAIN.replace("70e9", "llama3_8b").replace("0.5", f"{{measured: {run}, tokens: 64}}"))
    assert value(small, "Measured", "MFU") == pytest.approx(0.3125)


def test_a_simulated_mfu_is_not_called_measured(ask: Callable[[str], Answer], tmp_path: Path) -> None:
    run = layers_run(tmp_path / "run", 0.5)
    (run / "environment.json").write_text('{"device_kind": "simulated", "device_name": "simulated H100"}', encoding="utf-8")
    found = ask(TRAIN.replace("70e9", "llama3_8b").replace("0.5", f"{{measured: {run}}}"))
    assert "simulated MFU 0.5" in found.asked
    assert any("SIMULATED" in remark for remark in found.remarks)
    assert not any(group.title.startswith("Measured") for group in found.groups)


def test_a_layer_that_was_not_timed_is_named(tmp_path: Path) -> None:
    model = read_model("llama3_8b")
    run = layers_run(tmp_path / "run", 0.5, leave_out="down")
    assert layer_times(run, model.name, model.layers, "torch", "bf16", None).tokens == 64, "the largest m with all layers"
    with pytest.raises(MeasuredError, match=r"no timed torch bf16 matmul at m 4096 of llama3_8b's down \(n 4096, k 14336, oom\)$"):
        layer_times(run, model.name, model.layers, "torch", "bf16", 4096)
    with pytest.raises(MeasuredError, match=r"no timed triton bf16 matmul of llama3_8b's qkv .*attn_out .*gate_up .*down .*lm_head"):
        layer_times(run, model.name, model.layers, "triton", "bf16", None)


def test_a_measured_mfu_is_of_the_convention(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = layers_run(tmp_path / "run", 0.5)
    path = tmp_path / "mine.yaml"
    path.write_text(TRAIN.replace("70e9", "llama3_8b").replace("0.5", f"{{measured: {run}}}") + "peak: bf16\n", encoding="utf-8")
    assert main(["napkin", str(path)]) == 2
    assert ":6: peak: leave it out" in capsys.readouterr().err


def test_layers_less_sure_are_named(ask: Callable[[str], Answer], tmp_path: Path) -> None:
    run = layers_run(tmp_path / "run", 0.5, status="noisy")
    found = ask(TRAIN.replace("70e9", "llama3_8b").replace("0.5", f"{{measured: {run}}}"))
    assert any(remark.startswith("Less sure than the rest: qkv") for remark in found.remarks)


def test_the_docs_say_of_every_key_what_the_page_says() -> None:
    assert keys_table() in (ROOT / "docs" / "accounting.md").read_text(encoding="utf-8"), "run python -m studies.accounting --write"


def page() -> str:
    return html([answer(load_question(name)) for name in question_names()])


def test_the_page_has_each_question_s_steps_assumptions_and_charts() -> None:
    text = re.sub(r'<script type="application/gzip;base64".*?</script>', "", page(), flags=re.DOTALL)
    assert text.count('class="answer"') == len(question_names())
    assert "143.9 days" in text
    assert "40e9 parameters (40.0 B)" in text
    assert re.findall(r'data-chart="\w+?_(\w+)"', text) == ["memory", "largest", "changes", "days", "memory", "largest", "changes"]
    assert "default-src 'none'" in text
    assert not re.findall(r"""(?:src|href)=["'](?!#)[^"']""", text)
    for key in ("links.network", "overlap", "recompute"):
        assert f"<code>{key}</code>" in text


def test_the_page_escapes_a_hostile_question(tmp_path: Path) -> None:
    path = tmp_path / "<img src=x onerror=alert(1)>.yaml"
    path.write_text(LARGEST, encoding="utf-8")
    assert "<img" not in html([answer(load_question(str(path)))])


def test_a_page_that_cannot_be_written_is_one_line_and_exit_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["napkin", "largest_on_8_h100", "-o", str(tmp_path / "missing" / "page.html")]) == 2
    assert capsys.readouterr().err.startswith("error: ")


@pytest.mark.browser
@pytest.mark.slow
def test_the_charts_are_drawn(tmp_path: Path) -> None:
    path = tmp_path / "napkin.html"
    assert main(["napkin", "-o", str(path)]) == 0
    dom, log = opened(path, tmp_path / "profile")
    assert 'data-ready="yes"' in dom
    assert len(re.findall(r'class="[^"]*svg-container', dom)) == 7
    assert "barlayer" in dom
    assert not re.search(r"CONSOLE.*(error|refused|violates)", log, re.IGNORECASE), log

"""`python -m benches train`: it trains, saves and goes on; bad input is exit code 2 and one line."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from benches.__main__ import main
from kernels.training import checkpoint

SIZES = {"batch": 2, "sequence": 8, "layers": 1, "hidden": 16, "heads": 2, "feedforward": 24, "vocab": 19}
SMALL = ["--device=cpu", "--precision=fp32", *(f"--{name}={size}" for name, size in SIZES.items())]


DEEP_LINEAR = ["--model=deep_linear", "--device=cpu", "--precision=fp32", "--tokens=32", "--width=13", "--layers=2"]


def train(*arguments: str, sizes: Sequence[str] = SMALL) -> int:
    return main(["train", *sizes, *arguments])


def test_it_trains_and_says_what_it_cost(capsys: pytest.CaptureFixture[str]) -> None:
    assert train("--steps", "40") == 0
    out = capsys.readouterr().out
    assert "train_step-torch-fp32-transformer-2x8x1x16x2x24x19-ahead on cpu: 2,960 parameters, 40 steps" in out
    first, last = map(float, re.search(r"loss +([\d.]+) → ([\d.]+) nats a token; the source's entropy is 1.2130", out).groups())  # type: ignore[union-attr]
    assert last < first
    for words in ("tokens/s", "by 6·N·tokens", "by exact FLOPs", "11.8 kB weights", "data", "forward", "backward", "optimizer"):
        assert words in out


def test_the_deep_linear_model_finds_the_function_behind_its_targets(capsys: pytest.CaptureFixture[str]) -> None:
    assert train("--steps", "150", "--learning-rate", "0.01", sizes=DEEP_LINEAR) == 0
    out = capsys.readouterr().out
    assert "train_step-torch-fp32-deep_linear-32x13x2-ahead on cpu: 351 parameters, 150 steps" in out  # 2·13² + 13
    first, last = map(float, re.search(r"loss +(\S+) → (\S+), mean squared error; .* reaches 0", out).groups())  # type: ignore[union-attr]
    assert last < 0.01
    assert first > 0.5  # the targets' variance is near 1, and so is the error of a model that has learnt nothing
    for words in ("rows/s", "by 6·N·rows", "by exact FLOPs", "1.4 kB weights", "data", "forward", "backward", "optimizer"):
        assert words in out


@pytest.mark.slow
@pytest.mark.parametrize("sizes", [SMALL, DEEP_LINEAR], ids=["transformer", "deep_linear"])
def test_a_run_in_two_parts_ends_as_one_in_one(sizes: Sequence[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole, parts = str(tmp_path / "whole.pt"), str(tmp_path / "parts.pt")
    assert train("--steps", "20", "--checkpoint", whole, sizes=sizes) == 0
    assert train("--steps", "9", "--checkpoint", parts, sizes=sizes) == 0
    assert train("--steps", "20", "--checkpoint", parts, sizes=sizes) == 0
    assert "20 steps, after 9 steps from" in capsys.readouterr().out
    one, two = (checkpoint.load(Path(p)) for p in (whole, parts))
    assert all((one["module"][name] == two["module"][name]).all() for name in one["module"])
    assert train("--steps", "20", "--checkpoint", parts, sizes=sizes) == 0
    assert "nothing to do: 20 steps are already done" in capsys.readouterr().out


def test_it_trains_on_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "t.bin"
    path.write_bytes(np.arange(400, dtype="<u2").tobytes())
    assert train("--steps", "3", "--data", str(path), "--vocab", "400") == 0
    assert "entropy" not in capsys.readouterr().out


def test_the_deep_linear_model_trains_on_rows_of_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "rows.npy"
    np.save(path, np.random.default_rng(0).standard_normal((50, 14), np.float32))
    assert train("--steps", "3", "--data", str(path), sizes=DEEP_LINEAR) == 0
    assert "reaches 0" not in capsys.readouterr().out
    assert train("--steps", "3", "--data", str(path), "--width", "14", sizes=DEEP_LINEAR) == 2
    assert capsys.readouterr().err.strip() == f"error: {path}: float32 of shape (50, 14): float32 of shape (rows, 15) is needed"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--heads", "2"], "error: --heads: the deep_linear model has no such size; it has --tokens, --width, --layers"),
        (["--checkpointing"], "error: a deep linear model keeps its layers' inputs and nothing else"),
        (["--precision", "fp8_e4m3"], "error: --precision fp8_e4m3: torch._scaled_mm needs multiples of 16, not width 13"),
    ],
)
def test_the_deep_linear_model_refuses_in_a_line(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(*arguments, sizes=DEEP_LINEAR) == 2
    err = capsys.readouterr().err.strip()
    assert err.startswith(says)
    assert "\n" not in err


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--data", "nowhere.npy"], "error: nowhere.npy: No such file or directory"),
        (["--width", "3"], "error: --width: the transformer model has no such size; it has --batch, --sequence, --layers"),
        (["--heads", "3"], "error: 3 heads do not divide hidden 16"),
        (["--precision", "fp8_e4m3"], "error: --precision fp8_e4m3: torch._scaled_mm needs multiples of 16, not feedforward 24"),
        (["--precision", "tf32"], "error: --precision tf32: TF32 is a mode of NVIDIA's tensor cores"),
        (["--checkpoint", "/nowhere/c.pt", "--steps", "1"], "error: /nowhere/c.pt: cannot be written: No such file or directory"),
    ],
)
def test_bad_input_is_one_line(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert train(*arguments) == 2
    err = capsys.readouterr().err.strip()
    assert err.startswith(says)
    assert "\n" not in err


def test_a_vocabulary_too_small_for_the_file_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.save(tmp_path / "t.npy", np.full(99, 19, np.uint16))
    assert train("--data", str(tmp_path / "t.npy")) == 2
    assert capsys.readouterr().err.strip() == "error: token 19 is outside the vocabulary of 19"


def test_a_checkpoint_of_other_batches_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "c.pt"
    assert train("--steps", "1", "--checkpoint", str(path)) == 0
    assert train("--steps", "2", "--checkpoint", str(path), "--seed", "5") == 2
    assert capsys.readouterr().err.startswith(f"error: {path}: was trained with")
    path.write_bytes(path.read_bytes()[:-100])
    assert train("--steps", "2", "--checkpoint", str(path)) == 2
    assert capsys.readouterr().err.strip() == f"error: {path}: no checkpoint, or only a part of one"


@pytest.mark.parametrize("arguments", [["--steps", "0"], ["--batch", "-1"], ["--learning-rate", "nan"], ["--precision", "fp8_e5m2"]])
def test_senseless_arguments_end_with_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        train(*arguments)
    assert ended.value.code == 2

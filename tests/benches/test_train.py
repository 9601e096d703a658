"""`python -m benches train`: it trains, saves and goes on; bad input is exit code 2 and one line."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from benches.__main__ import main
from kernels.training import checkpoint

SIZES = {"batch": 2, "sequence": 8, "layers": 1, "hidden": 16, "heads": 2, "feedforward": 24, "vocab": 19}
SMALL = ["--device=cpu", "--precision=fp32", *(f"--{name}={size}" for name, size in SIZES.items())]


def train(*arguments: str) -> int:
    return main(["train", *SMALL, *arguments])


def test_it_trains_and_says_what_it_cost(capsys: pytest.CaptureFixture[str]) -> None:
    assert train("--steps", "40") == 0
    out = capsys.readouterr().out
    assert "train_step-torch-fp32-transformer-2x8x1x16x2x24x19-ahead on cpu: 2,960 parameters, 40 steps" in out
    first, last = map(float, re.search(r"loss +([\d.]+) → ([\d.]+) nats a token; the source's entropy is 1.2130", out).groups())  # type: ignore[union-attr]
    assert last < first
    for words in ("tokens/s", "by 6·N·tokens", "by exact FLOPs", "11.8 kB weights", "data", "forward", "backward", "optimizer"):
        assert words in out


@pytest.mark.slow
def test_a_run_in_two_parts_ends_as_one_in_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    whole, parts = str(tmp_path / "whole.pt"), str(tmp_path / "parts.pt")
    assert train("--steps", "20", "--checkpoint", whole) == 0
    assert train("--steps", "9", "--checkpoint", parts) == 0
    assert train("--steps", "20", "--checkpoint", parts) == 0
    assert "20 steps, after 9 steps from" in capsys.readouterr().out
    one, two = (checkpoint.load(Path(p)) for p in (whole, parts))
    assert all((one["module"][name] == two["module"][name]).all() for name in one["module"])
    assert train("--steps", "20", "--checkpoint", parts) == 0
    assert "nothing to do: 20 steps have been made" in capsys.readouterr().out


def test_it_trains_on_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "t.bin"
    path.write_bytes(np.arange(400, dtype="<u2").tobytes())
    assert train("--steps", "3", "--data", str(path), "--vocab", "400") == 0
    assert "entropy" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--data", "nowhere.npy"], "error: nowhere.npy: No such file or directory"),
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

"""The loop learns what can be learnt, does the same twice, and goes on from a checkpoint as if it had never stopped: bit by bit."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from kernels.models.config import DeepLinear, Transformer
from kernels.models.modules import build, loss
from kernels.training import checkpoint
from kernels.training.checkpoint import CheckpointError
from kernels.training.loader import Loader, samples, windows
from kernels.training.loop import Trainer, train
from kernels.training.prepare import prepare
from kernels.training.recipe import OPTIMIZERS, Recipe
from kernels.training.tokens import ENTROPY, open_rows, open_tokens, write_rows, write_tokens

SMALL = Transformer(29, 2, 16, 2, 32, "swiglu", "rmsnorm", context=16)
PRECISIONS = ("fp32", "bf16", "fp16", "fp8_e4m3")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data")
    write_tokens(path / "tokens.npy", SMALL.vocab, 100_000, seed=1)
    write_rows(path / "rows.npy", 16, 500, seed=1)
    return path


def trainer(folder: Path, recipe: Recipe, config: Transformer | DeepLinear = SMALL, seed: int = 3, ahead: bool = True) -> Trainer:
    if isinstance(config, DeepLinear):
        source = samples(open_rows(folder / "rows.npy", config.width), 64, seed)
    else:
        source = windows(open_tokens(folder / "tokens.npy"), config.vocab, 4, config.context, seed)
    module = prepare(build(config, "cpu", torch.float32, seed), recipe)
    return Trainer(module, loss, Loader(source, "cpu", ahead=ahead), recipe)


def losses(made: Trainer, steps: int) -> list[float]:
    found = [float(step.loss) for step in train(made, steps)]
    made.loader.close()
    return found


def same(a: Trainer, b: Trainer) -> bool:
    return all(torch.equal(x, y) for x, y in zip(a.parameters, b.parameters, strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("precision", PRECISIONS)
def test_two_runs_are_the_same_and_another_seed_is_not(folder: Path, precision: str, checkpointing: bool) -> None:
    recipe = Recipe(precision, checkpointing=checkpointing)
    first, again, other = trainer(folder, recipe), trainer(folder, recipe, ahead=False), trainer(folder, recipe, seed=4)
    assert losses(first, 5) == losses(again, 5) != losses(other, 5)
    assert same(first, again)


@pytest.mark.slow
@pytest.mark.parametrize("precision", PRECISIONS)
def test_checkpointing_changes_nothing_but_memory(folder: Path, precision: str) -> None:
    kept, computed = (trainer(folder, Recipe(precision, checkpointing=c)) for c in (False, True))
    assert losses(kept, 4) == losses(computed, 4)
    assert same(kept, computed)


@pytest.mark.slow
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_resumed_run_is_one_that_never_stopped(folder: Path, tmp_path: Path, precision: str, optimizer: str) -> None:
    recipe = Recipe(precision, optimizer)
    whole = trainer(folder, recipe)
    expected = losses(whole, 9)
    begun = trainer(folder, recipe)
    before = losses(begun, 4)
    checkpoint.save(tmp_path / "c.pt", begun.state())
    resumed = trainer(folder, recipe, seed=3)
    for parameter in resumed.parameters:
        parameter.data.zero_()
    resumed.restore(checkpoint.load(tmp_path / "c.pt"))
    assert before + losses(resumed, 9) == expected
    assert same(resumed, whole)
    assert resumed.scaler.state_dict() == whole.scaler.state_dict()


def test_the_random_state_is_restored(folder: Path, tmp_path: Path) -> None:
    made = trainer(folder, Recipe("fp32"))
    checkpoint.save(tmp_path / "c.pt", made.state())
    drawn = torch.rand(5)
    made.restore(checkpoint.load(tmp_path / "c.pt"))
    assert torch.equal(torch.rand(5), drawn)


def test_a_checkpoint_is_the_old_one_or_the_new_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "c.pt"
    checkpoint.save(path, {"steps": 1})

    def full(state: object, file: object) -> None:
        file.write(b"half of it")  # type: ignore[attr-defined]
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(CheckpointError, match=r"c\.pt: cannot be written: No space left on device"):
        checkpoint.save(path, {"steps": 2})
    assert checkpoint.load(path) == {"steps": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["c.pt"]


@pytest.mark.parametrize("contents", [None, b"", b"junk", b"PK\x03\x04 cut short"])
def test_a_damaged_checkpoint_is_one_line(tmp_path: Path, contents: bytes | None) -> None:
    path = tmp_path / "c.pt"
    if contents is not None:
        path.write_bytes(contents)
    with pytest.raises(CheckpointError) as raised:
        checkpoint.load(path)
    assert str(raised.value).startswith(f"{path}: ")
    assert "\n" not in str(raised.value)


def test_a_checkpoint_of_another_run_is_refused(folder: Path) -> None:
    made = trainer(folder, Recipe("fp32"))
    with pytest.raises(CheckpointError, match="was trained as"):
        trainer(folder, Recipe("fp32", "sgd")).restore(made.state())
    wider = Transformer(29, 2, 24, 2, 32, "swiglu", "rmsnorm", context=16)
    with pytest.raises(CheckpointError, match="does not fit this model"):
        trainer(folder, Recipe("fp32"), wider).restore(made.state())


def test_an_overflow_skips_the_step_and_halves_the_scale(folder: Path) -> None:
    made = trainer(folder, Recipe("fp16"))
    made.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**40)
    before = [p.detach().clone() for p in made.parameters]
    step = made.step()
    assert step.skipped
    assert made.skipped == 1
    assert made.scaler.get_scale() == 2.0**39
    assert all(torch.equal(p, b) for p, b in zip(made.parameters, before, strict=True))
    while made.step().skipped:
        assert made.skipped < 40
    assert not same(made, trainer(folder, Recipe("fp16")))


@pytest.mark.slow
@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_transformer_learns_the_chain(folder: Path, precision: str) -> None:
    """From log(29) = 3.37 and more to within 15% of the source's entropy, 1.21 nats, which no model can go below."""
    config = Transformer(29, 1, 32, 2, 64, "swiglu", "rmsnorm", context=16)
    recipe = Recipe(precision, learning_rate=1e-2)
    found = losses(trainer(folder, recipe, config), 200)
    last = sum(found[-20:]) / 20
    assert found[0] > math.log(29)
    assert 0.9 * ENTROPY < last < 1.15 * ENTROPY


@pytest.mark.slow
@pytest.mark.parametrize(("optimizer", "rate"), [("sgd", 0.05), ("momentum", 0.01), ("adamw", 0.01)])
def test_a_deep_linear_model_learns_a_linear_function(folder: Path, optimizer: str, rate: float) -> None:
    found = losses(trainer(folder, Recipe("fp32", optimizer, learning_rate=rate), DeepLinear(16, 2)), 200)
    assert sum(found[-5:]) / 5 < 0.02 * found[0]

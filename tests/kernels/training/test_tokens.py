"""Data files: what is written is what its doc says, bad files are one line, and batches follow from seed and step."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from kernels.training.loader import Loader, samples, windows
from kernels.training.tokens import ENTROPY, SUCCESSORS, DataError, open_rows, open_tokens, write_rows, write_tokens


@pytest.mark.parametrize(("vocab", "dtype"), [(97, np.uint16), (2**16, np.uint16), (2**16 + 1, np.uint32)])
def test_written_tokens_are_read_again(tmp_path: Path, vocab: int, dtype: type) -> None:
    write_tokens(tmp_path / "t.npy", vocab, 5000, seed=1)
    tokens = open_tokens(tmp_path / "t.npy")
    assert isinstance(tokens, np.memmap)
    assert (tokens.dtype, tokens.ndim) == (dtype, 1)
    assert len(tokens) >= 5000
    assert tokens.max() < vocab


def test_the_chain_has_the_entropy_that_it_says(tmp_path: Path) -> None:
    """The empirical entropy of a token given the one before, over 200,000 tokens of 11; 1.75 bits by hand."""
    write_tokens(tmp_path / "t.npy", 11, 200_000, seed=1)
    tokens = open_tokens(tmp_path / "t.npy").tolist()
    pairs = Counter(pairwise(tokens))
    firsts = Counter(tokens[:-1])
    found = -sum(n * math.log(n / firsts[a]) for (a, _), n in pairs.items()) / (len(tokens) - 1)
    assert pytest.approx(1.75 * math.log(2)) == ENTROPY
    # Where two of a token's permutations meet, its successors' entropy is lower; the joints of the chains add a little.
    assert 0.8 * ENTROPY < found < 1.05 * ENTROPY
    assert sum(SUCCESSORS) == 1
    frequencies = np.bincount(tokens) / len(tokens)
    assert frequencies == pytest.approx(np.full(11, 1 / 11), rel=0.05)


def test_a_bare_file_is_uint16(tmp_path: Path) -> None:
    path = tmp_path / "t.bin"
    path.write_bytes(np.array([1, 2, 515], "<u2").tobytes())
    assert open_tokens(path).tolist() == [1, 2, 515]


def bad(tmp_path: Path, name: str) -> Path:
    path = tmp_path / name
    contents = {
        "odd.bin": b"123",
        "empty.bin": b"",
        "empty.npy": b"",
        "text.npy": b"not an array",
        "text": b"hello",
    }
    if name in contents:
        path.write_bytes(contents[name])
    elif name == "floats.npy":
        np.save(path, np.zeros(4, np.float32))
    elif name == "matrix.npy":
        np.save(path, np.zeros((4, 4), np.uint16))
    elif name == "objects.npy":
        np.save(path, np.array([{}], object), allow_pickle=True)
    elif name == "cut.npy":
        np.save(path, np.zeros(4000, np.uint16))
        path.write_bytes(path.read_bytes()[:-1000])
    elif name == "folder.npy":
        path.mkdir()
    return path


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("missing.npy", "No such file"),
        ("missing.bin", "No such file"),
        ("folder.npy", "Is a directory"),
        ("odd.bin", "3 bytes are not a whole number of 2-byte token ids"),
        ("empty.bin", "0 bytes"),
        ("empty.npy", "no readable .npy file"),
        ("text.npy", "no readable .npy file"),
        ("text", "no readable .npy file"),
        ("objects.npy", "no readable .npy file"),
        ("cut.npy", "no readable .npy file"),
        ("floats.npy", "float32 of shape (4,): token ids are a vector of uint16 or uint32"),
        ("matrix.npy", "uint16 of shape (4, 4): token ids"),
    ],
)
def test_a_bad_file_is_one_line_that_names_it(tmp_path: Path, name: str, says: str) -> None:
    path = bad(tmp_path, name)
    with pytest.raises(DataError) as raised:
        open_tokens(path)
    message = str(raised.value)
    assert message.startswith(f"{path}: ")
    assert says in message
    assert "\n" not in message


def test_rows_hold_a_linear_function(tmp_path: Path) -> None:
    write_rows(tmp_path / "r.npy", 5, 300, seed=2)
    rows = np.array(open_rows(tmp_path / "r.npy", 5), np.float64)
    weights, *_ = np.linalg.lstsq(rows[:, :5], rows[:, 5:], rcond=None)
    assert np.abs(rows[:, :5] @ weights - rows[:, 5:]).max() < 1e-5
    with pytest.raises(DataError, match=r"float32 of shape \(rows, 8\) is needed"):
        open_rows(tmp_path / "r.npy", 7)


def test_targets_are_the_inputs_one_token_on() -> None:
    inputs, targets = windows(np.arange(100, dtype=np.uint16), 100, batch=7, sequence=13, seed=3)(0)
    assert inputs.shape == targets.shape == (7, 13)
    assert (targets == inputs + 1).all()
    assert (np.diff(inputs) == 1).all()


def test_every_window_of_the_file_is_drawn() -> None:
    """The first and the last too: a file of one token more than a window has one."""
    draw = windows(np.arange(6, dtype=np.uint16), 6, batch=50, sequence=4, seed=3)
    assert set(draw(0)[0][:, 0]) == {0, 1}
    assert windows(np.arange(5, dtype=np.uint16), 5, batch=2, sequence=4, seed=3)(0)[1].tolist() == [[1, 2, 3, 4]] * 2


@pytest.mark.parametrize("count", [0, 1, 4])
def test_too_short_a_file_is_refused(count: int) -> None:
    with pytest.raises(DataError, match=f"{count} tokens are too few for a window of 4"):
        windows(np.zeros(count, np.uint16), 9, batch=2, sequence=4, seed=3)


def test_a_token_outside_the_vocabulary_is_refused() -> None:
    draw = windows(np.full(50, 9, np.uint16), 9, batch=2, sequence=4, seed=3)
    with pytest.raises(DataError, match="token 9 is outside the vocabulary of 9"):
        draw(0)


def sources() -> dict[str, object]:
    rows = np.random.default_rng(0).standard_normal((40, 6)).astype(np.float32)
    return {"tokens": windows(np.arange(500, dtype=np.uint16), 500, 3, 7, seed=1), "rows": samples(rows, 5, seed=1)}


@pytest.mark.parametrize("ahead", [False, True])
@pytest.mark.parametrize("kind", ["tokens", "rows"])
def test_a_step_has_one_batch_wherever_the_loader_starts(kind: str, ahead: bool) -> None:
    loader = Loader(sources()[kind], "cpu", ahead=ahead)
    batches = [loader.next() for _ in range(5)]
    assert len({tuple(b[0].flatten().tolist()) for b in batches}) == 5
    later = Loader(sources()[kind], "cpu", step=3, ahead=ahead)
    loader.step = 3  # put back, as a checkpoint does, with another batch already fetched
    for again in (later, loader):
        for batch in batches[3:]:
            assert all(torch.equal(a, b) for a, b in zip(again.next(), batch, strict=True))
        again.close()


def test_a_bad_token_met_ahead_is_told_with_its_own_batch() -> None:
    loader = Loader(windows(np.full(50, 9, np.uint16), 9, batch=2, sequence=4, seed=3), "cpu")
    for _ in range(2):
        with pytest.raises(DataError, match="outside the vocabulary"):
            loader.next()
    loader.close()

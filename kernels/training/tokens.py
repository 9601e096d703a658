"""Files of tokens and of rows that training reads, mapped into memory; every mistake in one is a line. Made up where there is none.

    tokens   a vector of uint16 or uint32 token ids: NumPy's .npy, or a .bin of bare little-endian uint16
    rows     an fp32 matrix (rows, width + 1) in .npy: features, then the value to be predicted

The made-up ones can be learnt: tokens are a Markov chain of known entropy, values a known linear function of the features.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

# Probabilities of the tokens that may follow a token: each successor is a fixed permutation of the vocabulary, so that every token is as
# frequent as any other, and the loss of the best model is ENTROPY and not log(vocab).
SUCCESSORS = (0.5, 0.25, 0.125, 0.125)
ENTROPY = -sum(p * math.log(p) for p in SUCCESSORS)  # nats a token: 1.75 bits
CHAINS = 256  # written one after the other, so that a step of all of them is one NumPy call
TOKEN_TYPES = (np.dtype("<u2"), np.dtype("<u4"))


class DataError(ValueError):
    """A data file that cannot be used; the message is one line that names it."""


def open_tokens(path: Path) -> NDArray[np.unsignedinteger]:
    """The tokens of a file, (count,), mapped. Raises DataError."""
    tokens = _open_bare(path) if path.suffix == ".bin" else _open_npy(path)
    if tokens.ndim != 1 or tokens.dtype not in TOKEN_TYPES:
        raise DataError(f"{path}: {tokens.dtype} of shape {tokens.shape}: token ids are a vector of uint16 or uint32")
    return tokens


def open_rows(path: Path, width: int) -> NDArray[np.float32]:
    """Features and the value to predict, (rows, width + 1), mapped. Raises DataError."""
    rows = _open_npy(path)
    if rows.ndim != 2 or rows.shape[1] != width + 1 or rows.dtype != np.float32:
        raise DataError(f"{path}: {rows.dtype} of shape {rows.shape}: float32 of shape (rows, {width + 1}) is needed")
    return rows


def _open_bare(path: Path) -> NDArray:
    size = TOKEN_TYPES[0].itemsize
    try:
        length = path.stat().st_size
        if length == 0 or length % size:
            raise DataError(f"{path}: {length} bytes are not a whole number of {size}-byte token ids")
        return np.memmap(path, TOKEN_TYPES[0], mode="r")
    except OSError as error:
        raise DataError(f"{path}: {error.strerror}") from error


def _open_npy(path: Path) -> NDArray:
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from error
    except (ValueError, EOFError) as error:  # no header, or less data than it promises
        raise DataError(f"{path}: no readable .npy file: {str(error).splitlines()[0]}") from error


def write_tokens(path: Path, vocab: int, count: int, seed: int) -> None:
    """About `count` tokens (at least that many) of a Markov chain over `vocab` ids, .npy."""
    random = np.random.default_rng(seed)
    following = np.stack([random.permutation(vocab) for _ in SUCCESSORS])
    length = math.ceil(count / CHAINS)
    tokens = np.empty((length, CHAINS), TOKEN_TYPES[0] if vocab <= 2**16 else TOKEN_TYPES[1])
    tokens[0] = random.integers(0, vocab, CHAINS)
    choices = random.choice(len(SUCCESSORS), (length, CHAINS), p=SUCCESSORS)
    for i in range(1, length):
        tokens[i] = following[choices[i], tokens[i - 1]]
    np.save(path, tokens.T.ravel(), allow_pickle=False)


def write_rows(path: Path, width: int, count: int, seed: int) -> None:
    """`count` rows of N(0, 1) features and their product with one N(0, 1/width) vector, which makes it N(0, 1) too; .npy."""
    random = np.random.default_rng(seed)
    features = random.standard_normal((count, width), np.float32)
    weights = random.standard_normal((width, 1), np.float32) / np.float32(math.sqrt(width))
    np.save(path, np.concatenate([features, features @ weights], axis=1), allow_pickle=False)

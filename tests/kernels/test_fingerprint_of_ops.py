"""The hashes of the shipped ops: an edit changes those of the implementations that run what was edited."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import pytest

from kernels import closure, fingerprint, syntax
from kernels.fingerprint import source_hash, version
from kernels.guard import ROOT
from kernels.registry import OPS

parsed = lru_cache(maxsize=None)(syntax.module)  # files are parsed once for all edits


@pytest.fixture
def read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(closure, "module", parsed)


def hashes() -> dict[tuple[str, str], str | None]:
    fingerprint.forget()
    return {(op.name, impl): source_hash(op, impl) for op in OPS.values() for impl in op.impls}


shipped = lru_cache(maxsize=None)(hashes)


def flipped(monkeypatch: pytest.MonkeyPatch, path: str, old: str, new: str) -> set[tuple[str, str]]:
    """The shipped ops and implementations whose hash an edit of a file changes; the file itself is not changed."""
    before, read, target = shipped(), Path.read_bytes, ROOT / path
    text = target.read_text(encoding="utf-8")
    assert old in text
    changed = text.replace(old, new).encode()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", lambda one: changed if one == target else read(one))
        after = hashes()
    fingerprint.forget()  # what was read of the edited file
    return {key for key in before if before[key] != after[key]}


@pytest.mark.slow
def test_every_implementation_has_a_hash_of_its_own() -> None:
    found = hashes()
    assert all(one and version(one) == fingerprint.VERSION and len(one) == len("v2:") + fingerprint.LENGTH for one in found.values())
    assert len(set(found.values())) == len(found)
    assert len({op for op, _ in found}) == len(OPS)


@pytest.mark.slow
@pytest.mark.usefixtures("read_once")
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("    flops: int\n", "    flops: float\n"),
        ("    compiled: Sequence[Any] = ()", "    compiled: tuple[Any, ...] = ()"),  # of a class that every kernel makes
        ("def always(point: Point) -> bool", "def always(point) -> 'bool'"),
        ("One thing to measure; made by", "Something to measure, made by"),
        (
            "        for name, value in options.items():\n            if name not in",
            "        for name, value in sorted(options.items()):\n            if name not in",
        ),
    ],
)
def test_an_edit_of_the_contract_that_no_kernel_runs_flips_none(old: str, new: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert flipped(monkeypatch, "kernels/op.py", old, new) == set()


@pytest.mark.slow
@pytest.mark.usefixtures("read_once")
@pytest.mark.parametrize(
    ("path", "old", "new", "flips"),
    [
        (
            "matmul/pointer_kernels.py",
            "sums = tl.zeros((BLOCK_M",
            "sums = 1 + tl.zeros((BLOCK_M",
            {("matmul", "triton"), ("einsum", "triton")},
        ),  # einsums launch it
        ("elementwise/triton_impl.py", "tl.program_id(0)", "(tl.program_id(0) + 0)", {("elementwise", "triton")}),
        # A function's entry holds both languages.
        (
            "elementwise/functions.py",
            "return tl.exp(x)",
            "return tl.exp(x) * 1",
            {("elementwise", impl) for impl in OPS["elementwise"].impls},
        ),
        ("layout/triton_impl.py", "tl.program_id(0)", "(tl.program_id(0) + 0)", {("layout", "triton")}),
        ("optimizer/triton_impl.py", "tl.program_id(0)", "(tl.program_id(0) + 0)", {("optimizer", "triton")}),
        ("matmul/torch_impl.py", "def compiled(", "def compiled(*,", {("matmul", "torch_compile")}),
        ("matmul/spec.py", "SLICE_PAD = 64", "SLICE_PAD = 128", {("matmul", impl) for impl in OPS["matmul"].impls}),
        ("matmul/spec.py", '"Multiplies matrices', '"Multiplies two matrices', set()),
        ("registry.py", '    "training",', '    "training", *(),', set()),
        ("matmul/data.py", "def reference(", "def reference(*,", set()),
        ("torch_modes.py", '"highest"', '"medium"', {(op.name, impl) for op in OPS.values() for impl in op.impls}),
    ],
)
def test_an_edit_flips_those_that_run_it(
    path: str, old: str, new: str, flips: set[tuple[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert flipped(monkeypatch, f"kernels/{path}", old, new) == flips


@pytest.mark.slow
def test_ten_thousand_points_parse_each_file_once(monkeypatch: pytest.MonkeyPatch) -> None:
    fingerprint.forget()
    read: list[Path] = []
    before = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: read.append(path) or before(path))
    for _ in range(10_000):
        source_hash(OPS["einsum"], "triton")
    assert len(read) == len(set(read)) > 5

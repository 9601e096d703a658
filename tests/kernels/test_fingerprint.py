"""A change of code changes its hash; a change of comments, docstrings and lines does not."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from kernels import fingerprint
from kernels.fingerprint import digest, machine_code_hash, source_hash
from kernels.op import Impl
from kernels.registry import OPS

BEFORE = """
'''Says what it does.'''
def f(x):
    return x + 1  # why
"""


@pytest.mark.parametrize(
    ("after", "same"),
    [
        (BEFORE.replace("# why", "# another reason"), True),
        (BEFORE.replace("\n", "\n\n"), True),
        (BEFORE.replace("Says what", "Tells what"), True),
        (BEFORE.replace("x + 1", "1 + x"), False),
        (BEFORE.replace("x + 1", "x + 2"), False),
    ],
)
def test_only_code_counts(after: str, same: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert (hash_of(BEFORE, tmp_path, monkeypatch) == hash_of(after, tmp_path, monkeypatch)) == same


def hash_of(text: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Of a one-module implementation of matmul with this text."""
    (folder / "kernels").mkdir(exist_ok=True)
    (folder / "kernels" / "made.py").write_text(text, encoding="utf-8")
    monkeypatch.setattr(fingerprint, "ROOT", folder)
    fingerprint._hash_of_modules.cache_clear()
    return fingerprint._hash_of_modules(frozenset({"kernels.made"}))


def test_what_is_imported_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "from kernels import helper\n"
    (tmp_path / "kernels").mkdir()
    (tmp_path / "kernels" / "helper.py").write_text("X = 1", encoding="utf-8")
    first = hash_of(text, tmp_path, monkeypatch)
    (tmp_path / "kernels" / "helper.py").write_text("X = 2", encoding="utf-8")
    assert hash_of(text, tmp_path, monkeypatch) != first


@pytest.fixture(autouse=True)
def fresh() -> None:
    fingerprint._hash_of_modules.cache_clear()


@pytest.mark.slow
def test_every_implementation_has_a_hash_of_its_own() -> None:
    found = {(op.name, impl): source_hash(op, impl) for op in OPS.values() for impl in op.impls}
    assert all(len(one) == fingerprint.LENGTH for one in found.values())
    assert found["matmul", "torch"] == found["matmul", "torch_compile"]  # one module
    assert len({found["matmul", "torch"], found["matmul", "triton"], found["einsum", "triton"], found["elementwise", "torch"]}) == 4


@pytest.mark.slow
def test_einsum_in_triton_depends_on_the_kernel_of_matmul(monkeypatch: pytest.MonkeyPatch) -> None:
    read = Path.read_text
    before = source_hash(OPS["einsum"], "triton")
    fingerprint._hash_of_modules.cache_clear()
    target = fingerprint.ROOT / "kernels" / "matmul" / "triton_impl.py"
    monkeypatch.setattr(Path, "read_text", lambda path, **given: read(path, **given) + ("\nX = 1" if path == target else ""))
    assert source_hash(OPS["einsum"], "triton") != before
    assert isinstance(OPS["einsum"].impls["triton"], Impl)


def test_machine_code() -> None:
    one, other = (SimpleNamespace(asm={"cubin": code}) for code in (b"ab", b"c"))
    assert machine_code_hash([one, other]) == digest(b"abc") != machine_code_hash([other, one])
    assert machine_code_hash([]) is machine_code_hash([None]) is None  # the interpreter's launcher gives nothing back


KERNEL = """
import sys, triton, hashlib
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
import triton.language as tl
{lines}
@triton.jit
def f(x, n, BLOCK: tl.constexpr):
    # {comment}
    i = tl.arange(0, BLOCK)
    tl.store(x + i, tl.load(x + i, mask=i < n) {op}, mask=i < n)
made = triton.compile(ASTSource(f, {{"x": "*fp32", "n": "i32", "BLOCK": "constexpr"}}, {{(2,): 128}}), target=GPUTarget("cuda", 90, 32))
from kernels.fingerprint import machine_code_hash
print(machine_code_hash([made]))
"""


def compiled(tmp_path: Path, **given: str) -> str:
    """The hash of a kernel compiled for an H100, in a process of its own."""
    path = tmp_path / "kernel.py"
    path.write_text(KERNEL.format(**given), encoding="utf-8")
    own = {"PYTHONPATH": str(fingerprint.ROOT), "TRITON_CACHE_DIR": str(tmp_path / "cache"), "TRITON_DISABLE_LINE_INFO": "1"}
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"} | own
    done = subprocess.run([sys.executable, str(path)], env=environment, capture_output=True, encoding="utf-8", check=True)
    return done.stdout.strip()


@pytest.mark.slow
def test_a_cubin_without_line_numbers_is_its_instructions(tmp_path: Path) -> None:
    first = compiled(tmp_path, lines="", comment="a", op="+ 1")
    assert len(first) == fingerprint.LENGTH
    assert compiled(tmp_path, lines="X = 1\n\n", comment="b", op="+ 1") == first
    assert compiled(tmp_path, lines="", comment="a", op="+ 2") != first

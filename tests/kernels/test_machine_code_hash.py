"""The hash of a compiled kernel: it covers the instructions and nothing else."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from kernels import fingerprint
from kernels.fingerprint import digest, machine_code_hash
from kernels.guard import ROOT


def test_machine_code() -> None:
    one, other = (SimpleNamespace(asm={"cubin": code}) for code in (b"ab", b"c"))
    assert machine_code_hash([one, other]) == digest(b"abc") != machine_code_hash([other, one])
    assert machine_code_hash([]) is machine_code_hash([None]) is None  # the interpreter's launcher gives nothing back


COMPILED = """
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
    path.write_text(COMPILED.format(**given), encoding="utf-8")
    own = {"PYTHONPATH": str(ROOT), "TRITON_CACHE_DIR": str(tmp_path / "cache"), "TRITON_DISABLE_LINE_INFO": "1"}
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"} | own
    done = subprocess.run([sys.executable, str(path)], env=environment, capture_output=True, encoding="utf-8", check=True)
    return done.stdout.strip()


@pytest.mark.slow
def test_a_cubin_without_line_numbers_is_its_instructions(tmp_path: Path) -> None:
    first = compiled(tmp_path, lines="", comment="a", op="+ 1")
    assert len(first) == fingerprint.LENGTH
    assert compiled(tmp_path, lines="X = 1\n\n", comment="b", op="+ 1") == first
    assert compiled(tmp_path, lines="", comment="a", op="+ 2") != first

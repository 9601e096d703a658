"""Verdicts of before: found again, the same, and never where anything that they depend on is another."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kernels import finding_cache
from kernels.ahead_of_time import Finding, entry_of
from kernels.closure import closure
from kernels.compilation import Compilation
from kernels.finding_cache import JUDGING, entry, load, store
from kernels.gpus import load_gpu
from kernels.kernel_bound import bound, occupancy
from kernels.machine_code import parse_machine_code
from tests.kernels.test_machine_code_cache import LISTING, WITHOUT_LOOP

ROOT = Path(__file__).resolve().parents[2]
H100 = load_gpu("h100_sxm5")
ONE = Compilation("op", "bf16", "nn", "c", "m:f", {"a": "*bf16"}, {"BLOCK": 64}, ("a",), 4, 3, "dot")


@pytest.fixture(autouse=True)
def same_rules(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hashing the rules takes half a second."""
    monkeypatch.setattr(finding_cache, "rules", lambda: "rules")


def finding(text: str, reasons: list[str]) -> Finding:
    code = parse_machine_code(text, 1024)
    held = occupancy(code.registers, code.shared_bytes, 4, H100)
    best = bound(code.loop, 4, held.blocks, "bf16", H100) if code.loop and held else None
    return Finding(ONE, "fail" if reasons else "pass", reasons, code, 1.25, held, best)


@pytest.mark.parametrize("text", [LISTING, WITHOUT_LOOP])
@pytest.mark.parametrize("reasons", [[], ["spills registers: 1 STL, 2 LDL", "no 128-bit load"]])
def test_an_entry_holds_everything(text: str, reasons: list[str], tmp_path: Path) -> None:
    written = finding(text, reasons)
    assert (written.bound is None) is (text is WITHOUT_LOOP)
    store(tmp_path / "new" / "one.json", written)
    kept = load(tmp_path / "new" / "one.json")
    assert kept is not None
    assert Finding(ONE, **kept) == written


@pytest.mark.parametrize("damage", ["", "{", "[]", "{}", "null", '{"status": "pass"}'])
def test_a_damaged_entry_is_none(damage: str, tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text(damage, encoding="utf-8")
    assert load(tmp_path / "one.json") is None
    assert load(tmp_path / "missing.json") is None


@pytest.mark.parametrize("field", ["status", "reasons", "code", "seconds", "occupancy", "bound"])
def test_an_entry_without_a_field_is_none(field: str, tmp_path: Path) -> None:
    plain = finding_cache.plain(finding(LISTING, []))
    del plain[field]
    (tmp_path / "one.json").write_text(json.dumps(plain), encoding="utf-8")
    assert load(tmp_path / "one.json") is None


def test_a_folder_that_cannot_be_written_costs_time_only(tmp_path: Path) -> None:
    (tmp_path / "findings").write_text("a file is in the way", encoding="utf-8")
    store(tmp_path / "findings" / "one.json", finding(LISTING, []))
    assert load(tmp_path / "findings" / "one.json") is None


@pytest.mark.parametrize(
    "change",
    [
        {"expects": "wide"},
        {"precision": "fp8_e4m3"},
        {"constexprs": {"BLOCK": 128}},
        {"signature": {"a": "*fp16"}},
        {"aligned": ()},
        {"num_stages": 4},
        {"num_warps": 8},
        {"options": {"maxnreg": 64}},
    ],
)
def test_another_compilation_has_another_entry(change: dict[str, Any]) -> None:
    assert entry("key", replace(ONE, **change), H100) != entry("key", ONE, H100)


@pytest.mark.parametrize("name", list(type(H100).model_fields))
def test_every_figure_of_the_gpu_is_part_of_an_entrys_name(name: str) -> None:
    assert entry("key", ONE, H100.model_copy(update={name: "another"})) != entry("key", ONE, H100)


def test_triton_s_key_and_the_rules_are_part_of_an_entrys_name(monkeypatch: pytest.MonkeyPatch) -> None:
    before = entry("key", ONE, H100)
    assert entry("key", ONE, H100) == before
    assert entry("another", ONE, H100) != before
    monkeypatch.setattr(finding_cache, "rules", lambda: "other rules")
    assert entry("key", ONE, H100) != before


def test_a_kernel_that_is_not_found_has_no_entry() -> None:
    assert entry_of(replace(ONE, kernel="no_such_module:kernel"), H100) is None


@pytest.mark.slow
def test_the_rules_cover_the_code_of_every_step() -> None:
    text = closure(JUDGING)
    for words in (
        "ptxas serialises the products",  # code_rules
        "USETMAXREG",
        "no 128-bit store",
        "DEPBAR",  # machine_loop
        "REG:",  # machine_code
        "HMMA.16816",  # kernel_bound
        "limited_by",
        "divisibility",  # ahead_of_time
        "cannot be disassembled",
        "occupancy",  # finding_cache
    ):
        assert words in text, words


# A kernel file that is edited while a process runs: Triton's own compiler, no other process. Each edit changes the file's size: of equal
# sizes and times Python takes old bytecode, and old lines, for current.
EDITED = """
import json, sys
from pathlib import Path
from dataclasses import replace
import triton
from kernels import ahead_of_time
from kernels.ahead_of_time import build, examine, known
from kernels.compilation import Compilation
from kernels.gpus import load_gpu

file = Path(sys.argv[1])
SOURCE = '''import triton, triton.language as tl
FACTOR = tl.constexpr(2)
@triton.jit
def scaled(x):
    return x * FACTOR
@triton.jit
def kernel(x, n, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    tl.store(x + at, scaled(tl.load(x + at, at < n)), at < n)
'''
one = Compilation("op", "fp32", "", "c", "edited:kernel", {"x": "*fp32", "n": "i32", "BLOCK": "constexpr"}, {"BLOCK": 512}, ("x", "n"),
                  4, 1, "any", file=str(file))
gpu = load_gpu("h100_sxm5")

def is_known(source, compilation=one, gpu=gpu):
    file.write_text(source)
    sys.modules.pop("edited", None)
    return known(compilation, gpu)

seen = {"before": is_known(SOURCE) is not None}
(judged,) = examine([build(one, gpu)], gpu)
seen["status"] = judged.status
seen["same"] = is_known(SOURCE) == judged
seen["callee"] = is_known(SOURCE.replace("x * FACTOR", "x * FACTOR + FACTOR")) is not None
seen["constant"] = is_known(SOURCE.replace("constexpr(2)", "constexpr(30)")) is not None
seen["other_gpu"] = is_known(SOURCE, gpu=load_gpu("h200_sxm")) is not None
triton.knobs.compilation.always_compile = True
seen["asked_to_compile"] = is_known(SOURCE) is not None
triton.knobs.compilation.always_compile = False
broken = replace(one, constexprs={"BLOCK": 100})
(failed,) = examine([build(broken, gpu)], gpu)
seen["broken"] = [failed.status, is_known(SOURCE, broken) is not None]
def no_process(*arguments): raise AssertionError("a process was started")
ahead_of_time.ProcessPoolExecutor = no_process
descriptor = replace(one, signature={"x": "tensordesc<fp32[1, 64]>"}, problem="cannot be described")
found = ahead_of_time.examine_all([descriptor, one], gpu, 2)
seen["all"] = [[f.status for f in found], found[1] == judged]
print(json.dumps(seen))
"""


@pytest.mark.slow
def test_a_verdict_is_kept_until_the_kernel_or_what_it_calls_is_edited(tmp_path: Path) -> None:
    environment = os.environ | {"TRITON_INTERPRET": "", "TRITON_CACHE_DIR": str(tmp_path / "cache")}
    command = [sys.executable, "-c", EDITED, str(tmp_path / "edited.py")]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {
        "before": False,
        "status": "pass",
        "same": True,
        "callee": False,
        "constant": False,
        "other_gpu": False,
        "asked_to_compile": False,
        "broken": ["fail", False],
        "all": [["unsupported", "pass"], True],
    }

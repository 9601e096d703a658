"""Records of before: found where nothing that they depend on is another, and then printed without PyTorch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from kernels import record_cache
from kernels.gpus import load_gpu
from kernels.guard import ROOT
from kernels.record_cache import Record, entry, load, store

H100 = load_gpu("h100_sxm5")
PASSED: Record = {"id": "one", "status": "pass", "registers": 32}


@pytest.fixture(autouse=True)
def quick_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record_cache, "_sources", lambda: [ROOT / "kernels" / "op.py"])
    monkeypatch.setattr(record_cache, "tools", lambda: "nvdisasm 1")


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        ({}, True),
        ({"ops": ["matmul"]}, False),
        ({"ops": ["layout", "matmul"]}, False),
        ({"only": ["matmul:bf16:c"]}, False),
        ({"gpu": load_gpu("h200_sxm")}, False),
        ({"gpu": H100.model_copy(update={"bandwidth_bytes_per_s": 1.0})}, False),
    ],
)
def test_an_entry_is_found_by_all_that_was_asked(change: dict[str, Any], kept: bool) -> None:
    usual: dict[str, Any] = {"ops": ["matmul", "layout"], "gpu": H100, "only": None}
    assert (entry(**usual | change) == entry(**usual)) is kept


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("tools", lambda: "nvdisasm 2"),
        ("_version", lambda package: "0.0"),
        ("_sources", lambda: [ROOT / "kernels" / "parts.py"]),
        ("_source", lambda file: b"edited"),
        ("get_cache_invalidating_env_vars", lambda: {"PTXAS_OPTIONS": "-O1"}),
    ],
)
def test_an_entry_is_found_by_what_compiles_and_reads(name: str, value: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    before = entry(["layout"], H100, None)
    monkeypatch.setattr(record_cache, name, value)
    assert entry(["layout"], H100, None) != before


def test_nothing_is_kept_where_triton_shall_compile_always(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRITON_ALWAYS_COMPILE", "1")
    assert entry(["layout"], H100, None) is None


@pytest.mark.parametrize(
    ("records", "kept"),
    [
        ([PASSED, PASSED | {"status": "fail"}], True),
        ([PASSED, PASSED | {"status": "unsupported", "registers": None}], True),
        ([PASSED, PASSED | {"status": "fail", "registers": None}], False),  # it did not compile: the cause may have been the machine
        ([], True),
    ],
)
def test_what_did_not_compile_is_tried_again(records: list[Record], kept: bool, tmp_path: Path) -> None:
    store(tmp_path / "new" / "one.json", records)
    assert load(tmp_path / "new" / "one.json") == (records if kept else None)


@pytest.mark.parametrize("damage", ["", "[]", "{}", '{"kernels": 1}', '{"kernels": [1]}'])
def test_a_damaged_entry_is_none(damage: str, tmp_path: Path) -> None:
    (tmp_path / "one.json").write_text(damage, encoding="utf-8")
    assert load(tmp_path / "one.json") is None


SECOND = """
import sys
from kernels import record_cache
from kernels.__main__ import main
names = ("op", "impl", "precision", "variant", "config", "id", "reason")
record_cache.load = lambda path: [{**dict.fromkeys(names, "x"), "status": "unsupported", "registers": None}]
code = main(["inspect", "--op", "layout"])
print(code, {"torch", "kernels.ahead_of_time"} & set(sys.modules))
"""


@pytest.mark.slow
def test_kept_records_are_printed_without_pytorch(tmp_path: Path) -> None:
    environment = os.environ | {"TRITON_INTERPRET": "", "TRITON_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", SECOND], cwd=ROOT, env=environment, capture_output=True, encoding="utf-8", check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-2:] == ["h100_sxm5: 1 compilations, 0 passed, 0 failed, 1 unsupported", "0 set()"]

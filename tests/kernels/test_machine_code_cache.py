"""Machine code that was read before: found again, the same, and never the reason why an inspection fails."""

from __future__ import annotations

from pathlib import Path

import pytest
import triton

from kernels import machine_code_cache
from kernels.machine_code import MachineCode, parse_machine_code
from kernels.machine_code_cache import as_plain, from_plain

LISTING = """
  REG:168 STACK:16 SHARED:0 LOCAL:0
        /*0000*/                   LDC R1, c[0x0][0x28] ;
        /*0010*/              @!P0 LDGSTS.E.BYPASS.LTC128B.128 [R4], desc[UR6][R2.64], P1 ;
        /*0020*/                   HGMMA.64x256x16.F32.BF16 R24, gdesc[UR8], R24 ;
        /*0030*/               @P3 BRA 0x10 ;
        /*0040*/                   EXIT ;
"""
WITHOUT_LOOP = LISTING.replace("BRA 0x10", "LDG.E.128 R4, desc[UR4][R2.64]")


def code_of(*elves: bytes) -> list[MachineCode]:
    return machine_code_cache.read([(elf, 1024) for elf in elves], (9, 0))


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[list[bytes]]:
    """What is disassembled, call by call, with the cache in a folder of its own."""
    calls: list[list[bytes]] = []
    monkeypatch.setattr(triton.knobs.cache, "dir", str(tmp_path))
    monkeypatch.setattr(machine_code_cache, "disassemble", lambda elves, capability: calls.append(list(elves)) or [LISTING] * len(elves))
    return calls


@pytest.mark.parametrize("text", [LISTING, WITHOUT_LOOP])
def test_an_entry_holds_everything(text: str) -> None:
    code = parse_machine_code(text, 1024)
    assert (code.loop is None) is (text is WITHOUT_LOOP)
    assert from_plain(as_plain(code)) == code


def test_only_new_cubins_are_disassembled(read: list[list[bytes]]) -> None:
    first = code_of(b"one", b"two", b"one")
    again = code_of(b"two", b"three", b"one")
    assert read == [[b"one", b"two"], [b"three"]]
    assert first == again == [parse_machine_code(LISTING, 1024)] * 3


@pytest.mark.parametrize("damage", ["", "{", "[]", "{}", '{"loop": null}', '{"loop": [1]}'])
def test_a_damaged_entry_is_read_again(read: list[list[bytes]], damage: str) -> None:
    code_of(b"one")
    machine_code_cache.entry(b"one", 1024).write_text(damage, encoding="utf-8")
    assert code_of(b"one") == [parse_machine_code(LISTING, 1024)]
    assert len(read) == 2


def test_a_folder_that_cannot_be_written_costs_time_only(read: list[list[bytes]], tmp_path: Path) -> None:
    (tmp_path / machine_code_cache.FOLDER).write_text("a file is in the way", encoding="utf-8")
    for _ in range(2):
        assert isinstance(code_of(b"one")[0], MachineCode)
    assert len(read) == 2


def test_what_parses_is_part_of_an_entrys_name(read: list[list[bytes]], monkeypatch: pytest.MonkeyPatch) -> None:
    before = machine_code_cache.entry(b"one", 1024)
    assert machine_code_cache.entry(b"one", 2048) != before
    monkeypatch.setattr(machine_code_cache, "parsers", lambda: b"changed")
    assert machine_code_cache.entry(b"one", 1024) != before

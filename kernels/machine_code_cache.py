"""Machine code that was read before, kept beside Triton's own cache, so that `inspect` disassembles each cubin once.

An entry is found by the cubin, by the tools that read it (those of this triton) and by the code that parses what they print: a change of
any of them makes another entry.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import triton

from kernels import kept_json, machine_code, machine_loop
from kernels.fingerprint import digest
from kernels.machine_code import MachineCode, disassemble, parse_machine_code
from kernels.machine_loop import Instruction, Loop

FOLDER = "machine_code"  # in Triton's cache


@cache
def parsers() -> bytes:
    """What an entry depends on besides its cubin."""
    return b"".join(Path(str(module.__file__)).read_bytes() for module in (machine_code, machine_loop)) + triton.__version__.encode()


def entry(elf: bytes, shared_bytes: int) -> Path:
    """The file of one cubin."""
    return Path(triton.knobs.cache.dir, FOLDER, f"{digest(elf + parsers() + str(shared_bytes).encode())}.json")


def load(path: Path) -> MachineCode | None:
    """The machine code of an entry; None where there is none that can be read."""
    return kept_json.load(path, from_plain)


def store(path: Path, code: MachineCode) -> None:
    """Writes an entry, where the folder can be written."""
    kept_json.store(path, as_plain(code))


def read(cubins: Sequence[tuple[bytes, int]], capability: tuple[int, int]) -> list[MachineCode]:
    """The machine code of each cubin (its bytes, and the bytes of shared memory of a block), from the cache where it was read before.
    Raises CalledProcessError, ValueError or struct.error where the tools of triton's package cannot read one of them."""
    entries = [entry(elf, shared_bytes) for elf, shared_bytes in cubins]
    found = {path: code for path in entries if (code := load(path))}
    new = [(path, cubin) for path, cubin in dict(zip(entries, cubins, strict=True)).items() if path not in found]
    texts = disassemble([elf for _, (elf, _) in new], capability) if new else ()
    for (path, (_, shared_bytes)), text in zip(new, texts, strict=True):
        found[path] = parse_machine_code(text, shared_bytes)
        store(path, found[path])
    return [found[path] for path in entries]


def as_plain(code: MachineCode) -> dict[str, Any]:
    """Machine code as JSON takes it."""
    path = None if code.loop is None else [list(asdict(one).values()) for one in code.loop.path]
    return {**{name: value for name, value in vars(code).items() if name != "loop"}, "loop": path}


def from_plain(plain: dict[str, Any]) -> MachineCode:
    """What `as_plain` was given."""
    path = plain["loop"]
    return MachineCode(**{**plain, "loop": None if path is None else Loop(tuple(Instruction(*one) for one in path))})

"""The machine code of a compiled kernel, as the tools that lie in triton's package disassemble it: counts, resources, main loop."""

from __future__ import annotations

import re
import struct
import subprocess
import tempfile
from bisect import bisect_right
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

import triton
from triton.backends.nvidia.compiler import sm_arch_from_capability

from kernels.fingerprint import digest
from kernels.machine_loop import Instruction, Loop, main_loop, parse

OFFSET = re.compile(r"^\s+/\*([0-9a-f]{4,})\*/")
REGISTERS = re.compile(r"REG:(\d+)")
STACK = re.compile(r"STACK:(\d+)")


@dataclass(frozen=True)
class MachineCode:
    """What the disassembly of one kernel says."""

    registers: int  # a thread
    shared_bytes: int  # a block
    instructions: dict[str, int]  # static count by mnemonic without modifiers
    wide_loads: int  # global loads of 128 bits a thread
    wide_stores: int = 0  # global stores of 128 bits a thread
    stack_bytes: int = 0  # a thread
    hash: str = ""  # of the instructions
    loop: Loop | None = None

    @property
    def spills(self) -> int:
        """Stores to and loads from local memory, where registers did not suffice."""
        return self.instructions.get("STL", 0) + self.instructions.get("LDL", 0)


def disassemble(elves: Sequence[bytes], capability: tuple[int, int]) -> list[str]:
    """The resource usage and the instructions of each cubin, as `cuobjdump -res-usage -sass` prints them.

    cuobjdump starts nvdisasm for the instructions, and that needs half a second before it reads the first one. So here nvdisasm starts
    once, for the instructions of all cubins in one row, and its output is cut where one cubin ends and the next begins.
    """
    codes = [text_sections(elf) for elf in elves]
    ends = list(accumulate(map(len, codes)))
    texts = []
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "code")
        for elf in elves:
            path.write_bytes(elf)
            texts.append([_output(triton.knobs.nvidia.cuobjdump.path, "-res-usage", str(path))])
        path.write_bytes(b"".join(codes))
        architecture = sm_arch_from_capability(number(capability)).replace("sm_", "SM")
        listing = _output(triton.knobs.nvidia.nvdisasm.path, "--binary", architecture, str(path))
    for line in listing.splitlines():
        if offset := OFFSET.match(line):
            texts[bisect_right(ends, int(offset[1], 16))].append(line)
    return ["\n".join(lines) for lines in texts]


def _output(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, encoding="utf-8", errors="replace").stdout


def number(capability: tuple[int, int]) -> int:
    """A compute capability as Triton and the tools write it: (9, 0) is 90."""
    return capability[0] * 10 + capability[1]


def text_sections(elf: bytes) -> bytes:
    """The contents of the sections `.text.*` of a 64-bit little-endian ELF file, one after the other.

    Source: "ELF-64 Object File Format", figures 2 (file header) and 3 (section header).
    """
    (headers,) = struct.unpack_from("<Q", elf, 40)
    size, count, names = struct.unpack_from("<HHH", elf, 58)
    sections = [struct.unpack_from("<IIQQQQ", elf, headers + i * size) for i in range(count)]  # name, …, offset and size in the file
    strings = sections[names][4]
    return b"".join(elf[offset : offset + length] for name, *_, offset, length in sections if elf.startswith(b".text.", strings + name))


def parse_machine_code(text: str, shared_bytes: int) -> MachineCode:
    """`cuobjdump -res-usage -sass` as counts."""
    code = parse(text)
    registers, stack = REGISTERS.search(text), STACK.search(text)
    if not code or registers is None:
        raise ValueError("cuobjdump printed no machine code")
    return MachineCode(
        registers=int(registers[1]),
        shared_bytes=shared_bytes,
        instructions=dict(Counter(one.name for one in code)),
        wide_loads=sum(one.kind in ("LDG.128", "LDGSTS.128") for one in code if one.name in ("LDG", "LDGSTS")),
        wide_stores=sum(one.kind == "STG.128" for one in code if one.name == "STG"),
        stack_bytes=int(stack[1]) if stack else 0,
        hash=digest("\n".join(wherever(one, code[0].address) for one in code).encode()),
        loop=main_loop(code),
    )


def wherever(one: Instruction, start: int) -> str:
    """An instruction as text, the same wherever its kernel lies: targets are counted from the kernel's first instruction."""
    target = one.target
    operands = one.operands if target is None else f"{one.operands.rpartition('0x')[0]}{target - start:#x}"
    return f"{one.predicate} {one.opcode} {operands}"

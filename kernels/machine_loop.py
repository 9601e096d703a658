"""The main loop of a kernel, from the control-flow graph of its machine code.

Counts of all instructions of a kernel mislead: code before and after the loop runs once, and a loop may hold branches that it rarely takes.
So the listing is cut into basic blocks, and of the loop with the most matrix instructions the path is counted that a block of threads takes
again and again: the one from the loop's first block back to it with the most matrix instructions and, of these, with the fewest others.

Instructions: "Instruction Set Reference" of NVIDIA's CUDA binary utilities.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import networkx as nx

LINE = re.compile(r"^\s*/\*([0-9a-f]{4,})\*/\s+(?:(@!?U?P\w+)\s+)?([A-Z][\w.]*)\s*([^;]*?)\s*;")
TARGET = re.compile(r"\b0x([0-9a-f]+)\s*$")
FLOAT_MATRIX = ("HGMMA", "QGMMA", "HMMA", "QMMA", "UTCHMMA", "UTCQMMA")
MATRIX = (*FLOAT_MATRIX, "IGMMA", "IMMA")
MULTIPLY_ADD = ("FFMA", "FFMA2")
JUMPS = ("BRA", "JMP", "BRX", "JMX", "CALL", "RET", "EXIT", "BREAK", "KILL", "BPT", "RTT")
ENDS = ("EXIT", "RET", "KILL", "BRX", "JMX")  # nothing that follows is known to be reached
LOADS = ("LDG", "LDGSTS", "UTMALDG", "UBLKCP", "LDS", "LDSM")
STORES = ("STG", "STS", "STSM", "UTMASTG", "RED", "ATOM", "ATOMG")
BARRIERS = ("BAR", "SYNCS", "MEMBAR")
WAIT = re.compile(r"gsb0,\s*0x([0-9a-f]+)")
WIDTH = {"U8": 8, "S8": 8, "U16": 16, "S16": 16, "64": 64, "128": 128}  # modifiers; bits a thread, 32 without one


@dataclass(frozen=True)
class Instruction:
    address: int
    predicate: str  # "@!P0"; empty where it always runs
    opcode: str  # with modifiers: "HGMMA.64x256x16.F32.BF16"
    operands: str

    @property
    def name(self) -> str:
        """The mnemonic without modifiers."""
        return self.opcode.partition(".")[0]

    @property
    def never(self) -> bool:
        """Whether its predicate is always false: such instructions only fill issue slots."""
        return self.predicate == "@!PT"

    @property
    def target(self) -> int | None:
        """Where it jumps to; None where it does not, or where that is not in the listing."""
        found = TARGET.search(self.operands) if self.name in JUMPS else None
        return int(found[1], 16) if found else None

    @property
    def kind(self) -> str:
        """A load or store by its width: "LDGSTS.128", "LDG.32", "UTMALDG.2D"."""
        modifiers = self.opcode.split(".")[1:]
        if self.name in ("UTMALDG", "UTMASTG", "UBLKCP"):
            return ".".join([self.name, *(m for m in modifiers if m.endswith("D"))])
        if self.name in ("LDSM", "STSM"):
            return self.name
        return f"{self.name}.{max((WIDTH[m] for m in modifiers if m in WIDTH), default=32)}"


@dataclass(frozen=True)
class Loop:
    """One pass of the main loop, as one warp runs it."""

    path: tuple[Instruction, ...] = field(repr=False)

    @property
    def counts(self) -> Counter[str]:
        """Instructions by mnemonic."""
        return Counter(one.name for one in self.path)

    @property
    def matrix(self) -> list[Instruction]:
        return [one for one in self.path if one.name in MATRIX]

    @property
    def shapes(self) -> tuple[str, ...]:
        """The matrix instructions with their shapes and formats, each once: "HGMMA.64x256x16.F32.BF16"."""
        return tuple(dict.fromkeys(one.opcode for one in self.matrix))

    @property
    def multiply_adds(self) -> int:
        """FFMA instructions; an FFMA2 is two."""
        return self.counts["FFMA"] + 2 * self.counts["FFMA2"]

    @property
    def others(self) -> float | None:
        """Instructions besides matrix instructions, for each of them; without any, besides multiply-adds, for each of those."""
        counted = len(self.matrix) or sum(self.counts[name] for name in MULTIPLY_ADD)
        return (len(self.path) - counted) / counted if counted else None

    @property
    def loads(self) -> Counter[str]:
        return Counter(one.kind for one in self.path if one.name in LOADS and not one.never)

    @property
    def stores(self) -> Counter[str]:
        return Counter(one.kind for one in self.path if one.name in STORES and not one.never)

    @property
    def barriers(self) -> int:
        return sum(one.name in BARRIERS for one in self.path)

    @property
    def wait_depth(self) -> int | None:
        """How many groups of warpgroup products may still run where the loop waits for them: 0 is a full stop. None: it never waits."""
        depths = [int(found[1], 16) for one in self.path if "DEPBAR" in one.opcode and (found := WAIT.search(one.operands))]
        return min(depths, default=None)


def parse(listing: str) -> list[Instruction]:
    """The instructions of a disassembly, in order."""
    return [Instruction(int(m[1], 16), m[2] or "", m[3], m[4]) for m in map(LINE.match, listing.splitlines()) if m]


def main_loop(code: Sequence[Instruction]) -> Loop | None:
    """The loop that computes: of all loops the one with most matrix instructions, without any the one with most multiply-adds, else the one
    with most loads from global memory; of equals the shortest. None where no loop has any of these.

    A loop over tiles around the loop along k thus does not count, although it has more loads: those before the loop along k.
    """
    graph, blocks = flow(code)
    found = [Loop(path) for path in steady_paths(graph, blocks)]

    def worth(loop: Loop) -> tuple[int, int, int]:
        if loop.matrix:
            return len(loop.matrix), 0, 0
        if loop.multiply_adds:
            return 0, loop.multiply_adds, 0
        return 0, 0, sum(loop.loads[kind] for kind in loop.loads if kind.startswith(("LDG", "UTMALDG")))

    best = max(found, key=lambda loop: (worth(loop), -len(loop.path)), default=None)
    return best if best and any(worth(best)) else None


def flow(code: Sequence[Instruction]) -> tuple[nx.DiGraph, dict[int, list[Instruction]]]:
    """The control-flow graph between basic blocks, named by their first address, and the blocks. Empty code has an empty graph."""
    graph = nx.DiGraph()
    if not code:
        return graph, {}
    addresses = {one.address for one in code}
    starts = {code[0].address} | {one.target for one in code if one.target in addresses}
    starts |= {after.address for before, after in pairwise(code) if before.name in JUMPS}
    blocks: dict[int, list[Instruction]] = {}
    for one in code:
        if one.address in starts:
            current = blocks[one.address] = []
        current.append(one)
    graph.add_nodes_from(blocks)
    for (start, block), following in zip(blocks.items(), [*list(blocks)[1:], None], strict=True):
        last = block[-1]
        if last.target in blocks and last.name != "CALL":
            graph.add_edge(start, last.target)
        jumps = last.name in ENDS or (last.name in ("BRA", "JMP") and last.target is not None and not _may_fall(last))
        always = not last.predicate and jumps
        if following is not None and not always:
            graph.add_edge(start, following)
    return graph, blocks


def _may_fall(jump: Instruction) -> bool:
    """Whether a jump without a predicate in front has a condition among its operands: `BRA.U !UP0, 0x…`."""
    return "," in jump.operands


def steady_paths(graph: nx.DiGraph, blocks: dict[int, list[Instruction]]) -> Iterator[tuple[Instruction, ...]]:
    """Of each natural loop the path from its header back to it with most matrix instructions, then multiply-adds, and fewest others."""
    if not blocks:
        return
    entry = next(iter(blocks))
    reached = graph.subgraph({entry, *nx.descendants(graph, entry)})
    dominator = nx.immediate_dominators(reached, entry)
    back = [(tail, head) for tail, head in reached.edges if _dominates(head, tail, dominator, entry)]
    forward = nx.DiGraph(reached)
    forward.remove_edges_from(back)
    if not nx.is_directed_acyclic_graph(forward):  # jumps into the middle of a loop, which compilers do not write
        return
    order = list(nx.topological_sort(forward))
    for tail, head in back:
        body = {head, tail} | (nx.ancestors(forward, tail) & ({head} | nx.descendants(forward, head)))
        best: dict[int, tuple[tuple[int, int, int], list[int]]] = {}
        for block in order:
            if block not in body:
                continue
            before = [best[p] for p in forward.predecessors(block) if p in best] if block != head else [((0, 0, 0), [])]
            if before:
                score, path = max(before, key=lambda one: one[0])
                best[block] = (_add(score, _score(blocks[block])), [*path, block])
        if tail in best:
            yield tuple(one for block in best[tail][1] for one in blocks[block])


def _score(block: Sequence[Instruction]) -> tuple[int, int, int]:
    return sum(one.name in MATRIX for one in block), sum(one.name in MULTIPLY_ADD for one in block), -len(block)


def _add(a: tuple[int, int, int], b: tuple[int, int, int]) -> tuple[int, int, int]:
    return a[0] + b[0], a[1] + b[1], a[2] + b[2]


def _dominates(head: int, tail: int, dominator: dict[int, int], entry: int) -> bool:
    while tail != head:
        above = dominator.get(tail)
        if tail == entry or above is None or above == tail:
            return False
        tail = above
    return True

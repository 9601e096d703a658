"""Scripted faults of the simulated device: what a bad kernel or a bad day does to the process that measures it.

`MICROBENCH_FAULTS="crash:matmul-triton-*,hang:*-4096x4096x4096"`: a comma-separated list of fault:pattern, where the pattern is matched
against the whole id of the point as a shell matches a file name. The faults are real: `crash` is a segmentation fault.

`board:3.pcie_width=8` gives the simulated GPU 3 that fact (benches/devices/board_facts.py); `board:3.slower=1.05` makes its kernels take
1.05 times as long, at a clock that is as much lower.

`lie:NAME` makes the whole board behave otherwise than the suite assumes, to show that `first-contact` finds out (LIES).
"""

from __future__ import annotations

import ctypes
import os
import re
import resource
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import fields
from fnmatch import fnmatchcase

from benches.devices.base import TooLittleMemory
from benches.devices.board_facts import BoardFacts

VARIABLE = "MICROBENCH_FAULTS"


class FaultError(ValueError):
    """The variable's text is not a list of faults."""


def _hang() -> None:
    while True:
        time.sleep(3600)


def _exit() -> None:
    os._exit(3)


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _crash() -> None:
    _leave_no_core()
    ctypes.string_at(0)


def _abort() -> None:
    _leave_no_core()
    os.abort()


def _leave_no_core() -> None:
    """Of a scripted death, which nobody debugs. Written where the worker runs, in the checkout, it would make the run's commit `dirty`."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def _oom() -> None:
    raise TooLittleMemory("scripted: out of memory")


def _error() -> None:
    raise RuntimeError("scripted: no kernel image is available for execution on the device")


ACTIONS: Mapping[str, Callable[[], None]] = {
    "crash": _crash,
    "abort": _abort,
    "exit": _exit,
    "kill": _kill,  # as the kernel's out-of-memory killer does
    "hang": _hang,
    "oom": _oom,
    "error": _error,
}
LASTING = {  # every later call of the device raises it too, as a real one does until its process ends
    "sticky": "CUDA error: an illegal memory access was encountered",
    "lost": "CUDA error: GPU is lost",
}
RESULTS = ("wrong", "wrong_later")  # the gate's business: before timing, or only after it
LIES: Mapping[str, str] = {
    "l2": "the L2 is twice as large as the data sheet says",
    "hold": "a launch hold lasts half as long as requested",
    "clock": "the board throttles thermally under load",
    "flush": "a flush does not empty the L2",
    "kernel": "one kernel is wrong on the device only",
}
BOARD = re.compile(r"(\d{1,4})\.(\w+)=(\d+(?:\.\d+)?)")  # GPU, fact, value
SLOWER = "slower"
UNREPORTED = ("serial", "bus", "slowed_s", "power_limit_w", "memory_temperature_c")  # which a simulated board does not report
FACTS = (SLOWER, *(one.name for one in fields(BoardFacts) if one.name not in UNREPORTED))
WRONG_KERNEL = "matmul-triton-bf16-2048x2048x2048-nt"  # of `lie:kernel`


def parse(text: str) -> list[tuple[str, str]]:
    """(fault, pattern) pairs, in which a lie's name stands for the pattern. Raises FaultError."""
    known = (*ACTIONS, *LASTING, *RESULTS, "lie", "board")
    pairs = []
    for entry in filter(None, (part.strip() for part in text.split(","))):
        fault, separator, pattern = entry.partition(":")
        if not separator or fault not in known:
            raise FaultError(f"{VARIABLE}: {entry!r} is not fault:pattern with a fault of {', '.join(known)}")
        if fault == "lie" and pattern not in LIES:
            raise FaultError(f"{VARIABLE}: {pattern!r} is not a fault of the simulated board; choose {', '.join(LIES)}")
        if fault == "board" and not ((found := BOARD.fullmatch(pattern)) and found[2] in FACTS):
            raise FaultError(f"{VARIABLE}: {entry!r} is not board:GPU.FACT=NUMBER with a fact of {', '.join(FACTS)}")
        pairs.append(("wrong", WRONG_KERNEL) if (fault, pattern) == ("lie", "kernel") else (fault, pattern))
    return pairs


def lies(faults: list[tuple[str, str]]) -> frozenset[str]:
    """The names of the lies among them, but for `kernel`, which is the fault of a point."""
    return frozenset(pattern for fault, pattern in faults if fault == "lie")


def boards(faults: list[tuple[str, str]]) -> dict[int, dict[str, float]]:
    """The facts that are planted, by the GPU's index."""
    found: dict[int, dict[str, float]] = {}
    for fault, pattern in faults:
        if fault == "board" and (match := BOARD.fullmatch(pattern)):
            found.setdefault(int(match[1]), {})[match[2]] = float(match[3])
    return found


def fault_of(point_id: str, faults: list[tuple[str, str]]) -> str | None:
    """The first fault of a point whose pattern matches."""
    return next((fault for fault, pattern in faults if fault not in ("lie", "board") and fnmatchcase(point_id, pattern)), None)

"""What the CPU device does to its process: freed memory is kept, and OMP_NUM_THREADS is heeded."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from benches.devices import heap
from benches.devices.cpu import CpuDevice
from kernels.gpus import Ceilings
from kernels.guard import ROOT

FAULTS = """
import resource, torch
from benches.devices.heap import keep_freed_memory
assert {kept}
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(40):
    torch.zeros(8 * 2**20)
before = faults()
for _ in range(10):
    torch.zeros(8 * 2**20)
print(faults() - before)
"""


BYTES = 10 * 8 * 2**20 * 4  # of the ten calls that are watched


def page_bytes() -> int:
    """The largest page that Linux gives a program unasked: 2 MiB on most machines, 512 MiB on an aarch64 with pages of 64 KiB."""
    huge = Path("/sys/kernel/mm/transparent_hugepage/hpage_pmd_size")
    return int(huge.read_text(encoding="utf-8")) if huge.exists() else resource.getpagesize()


@pytest.mark.slow
@pytest.mark.parametrize(("kept", "most", "least"), [("keep_freed_memory()", 100, 0), ("True", 10**9, BYTES // page_bytes())])
def test_a_call_that_allocates_32_mb_faults_no_pages_in(kept: str, most: int, least: int) -> None:
    """And does without it: the test would not see a C library that keeps them anyway."""
    code = FAULTS.format(kept=kept)
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, encoding="utf-8", check=True)
    assert least <= int(done.stdout) <= most


RETURNED = """
import psutil, torch
from benches.devices.heap import keep_freed_memory, return_freed_memory
keep_freed_memory()
torch.zeros(128 * 2**20)
held = psutil.Process().memory_info().rss
assert not return_freed_memory(2**30), "half of that was freed"
assert return_freed_memory(2**28)
print(held - psutil.Process().memory_info().rss)
"""


@pytest.mark.memory
@pytest.mark.slow
def test_freed_memory_goes_back_where_there_is_much_of_it() -> None:
    done = subprocess.run([sys.executable, "-c", RETURNED], cwd=ROOT, capture_output=True, encoding="utf-8", check=True)
    assert int(done.stdout) >= 500 * 2**20


def test_a_glibc_that_does_not_tell_what_is_free_returns_it_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before 2.33."""
    monkeypatch.setattr(heap.ctypes, "CDLL", lambda name: SimpleNamespace(malloc_trim=lambda pad: 1))
    assert heap.return_freed_memory() is True


def test_a_c_library_without_mallopt_is_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heap.ctypes, "CDLL", lambda name: object())
    assert heap.keep_freed_memory() is False
    assert heap.return_freed_memory(0) is False


def test_fewer_threads_are_not_fewer_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    told = CpuDevice(Ceilings(peak_flops_per_s={"fp32": 1e11}, bandwidth_bytes_per_s=1e10)).describe()["cpu"]
    assert (told["threads"], told["cores"]) == (1, psutil.cpu_count(logical=False) or 1)

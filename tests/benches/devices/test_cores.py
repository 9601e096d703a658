"""The number of threads that a CPU is measured with: OMP_NUM_THREADS, affinity, hyperthreads, a container's quota."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

import pytest

from benches.__main__ import main
from benches.devices import cores
from benches.devices.cores import ThreadsError, core_count, cpus_of, default_threads, quota_cores, siblings_of, thread_count, threads_asked
from benches.devices.opening import NoDevice, open_device
from benches.first_contact import steps
from kernels.guard import ROOT


@pytest.mark.parametrize(
    ("text", "threads"),
    [(None, None), ("", None), ("  ", None), ("3", 3), ("1,1", 1), ("4,2", 4), (" 6 , 2,1 ", 6), ("008", 8), ("8192", 8192)],
)
def test_the_first_number_counts(text: str | None, threads: int | None) -> None:
    """OpenMP 5.2, 21.1.2: a list, the first number of which is that of the outermost level."""
    assert threads_asked(text) == threads


@pytest.mark.parametrize(
    "text", ["abc", "0", "-2", "1.5", "+4", "1e3", "0x4", "1,", ",1", "2,0", "2,many", "2;2", "٣", "8193", "9" * 99, "2\n3"]
)
def test_nonsense_is_one_line_that_names_the_variable_and_what_to_do(text: str) -> None:
    with pytest.raises(ThreadsError) as caught:
        threads_asked(text)
    said = str(caught.value)
    assert re.fullmatch("OMP_NUM_THREADS: .* is not a number of threads from 1 to 8192; set one, or unset it", said)


TWO_CORES = {0: "0,4", 4: "0,4", 1: "1,5", 5: "1,5"}  # with two hyperthreads each, numbered as Linux numbers them


@pytest.mark.parametrize(
    ("cpus", "siblings", "expected"),
    [
        ({0, 1, 4, 5}, TWO_CORES, 2),
        ({0, 4}, TWO_CORES, 1),
        ({1, 4}, TWO_CORES, 2),
        ({5}, TWO_CORES, 1),
        ({0, 4, 7}, TWO_CORES, 2),  # CPU 7 has no list of siblings
        ({0, 1, 2}, {0: "0-2", 1: "0-2", 2: "0-2"}, 1),
    ],
)
def test_siblings_are_one_core(cpus: set[int], siblings: dict[int, str], expected: int) -> None:
    assert core_count(cpus, siblings) == expected


@pytest.mark.parametrize("name", ["core_cpus_list", "thread_siblings_list"])
def test_siblings_are_read_under_both_names(tmp_path: Path, name: str) -> None:
    for cpu, text in {0: "0,2\n", 2: "0,2\n", 3: "3\n"}.items():
        (tmp_path / f"cpu{cpu}" / "topology").mkdir(parents=True)
        (tmp_path / f"cpu{cpu}" / "topology" / name).write_text(text, encoding="utf-8")
    assert siblings_of([0, 2, 3, 9], tmp_path) == {0: "0,2", 2: "0,2", 3: "3"}


@pytest.mark.parametrize(
    ("threads", "cpus", "expected"),
    [
        (2, [0, 1, 2, 3], [0, 1]),  # 0 and 2 are one core, 1 and 3 the other
        (1, [2, 3], [2]),
        (4, [0, 1, 2, 3], [0, 1]),
        (3, [0, 2, 3, 9], [0, 3, 9]),  # 9 is not described
        (2, [], []),  # no mask is known, as on macOS
    ],
)
def test_threads_run_on_one_cpu_of_each_core(threads: int, cpus: list[int], expected: list[int], tmp_path: Path) -> None:
    for cpu, siblings in {0: "0,2", 1: "1,3", 2: "0,2", 3: "1,3"}.items():
        folder = tmp_path / f"cpu{cpu}" / "topology"
        folder.mkdir(parents=True)
        (folder / "core_cpus_list").write_text(f"{siblings}\n", encoding="utf-8")
    assert cpus_of(threads, cpus, tmp_path) == expected


@pytest.mark.parametrize(
    ("count", "quota", "threads"), [(8, None, 8), (8, 4.0, 4), (8, 2.9, 2), (8, 0.5, 1), (2, 16.0, 2), (1, None, 1), (0, None, 1)]
)
def test_a_thread_a_core_within_the_quota(count: int, quota: float | None, threads: int) -> None:
    assert default_threads(count, quota) == threads


@pytest.mark.parametrize(
    ("mask", "physical", "expected"),
    [({0, 1, 4, 5}, 99, 2), ({4}, 99, 1), ({8, 9, 10}, 2, 2), ({8}, None, 1), (None, 6, 6), (None, None, 1)],
)
def test_usable_cores(monkeypatch: pytest.MonkeyPatch, mask: set[int] | None, physical: int | None, expected: int) -> None:
    """Counts cores within the mask, where there is one; without lists of siblings, at most the machine's physical cores."""
    monkeypatch.setattr(cores, "allowed_cpus", lambda: mask)
    monkeypatch.setattr(cores, "siblings_of", lambda cpus: {cpu: TWO_CORES[cpu] for cpu in cpus if cpu in TWO_CORES})
    monkeypatch.setattr(cores.psutil, "cpu_count", lambda logical: physical)
    assert cores.usable_cores() == expected


def test_what_openmp_bound_the_main_thread_to_is_not_the_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "AT_IMPORT", frozenset({0, 1}))
    monkeypatch.setattr(cores, "cpus_now", lambda: frozenset({0}))
    assert [cores.allowed_cpus(set_) for set_ in ({}, {"OMP_PROC_BIND": "true"}, {"GOMP_CPU_AFFINITY": ""})] == [{0}, {0, 1}, {0}]


@pytest.mark.parametrize(("mask", "expected"), [(range(16), 12), (range(5), 3), ({7}, 1), (None, 4)])
def test_a_first_contact_starts_no_more_workers_than_the_mask_has_cpus(
    monkeypatch: pytest.MonkeyPatch, mask: Collection[int] | None, expected: int
) -> None:
    monkeypatch.setattr(steps, "allowed_cpus", lambda: mask)
    monkeypatch.setattr(os, "cpu_count", lambda: 6)
    assert steps.workers() == expected


def test_no_mask_on_other_systems(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity", raising=False)
    assert cores.cpus_now() is None


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"cpu.max": "200000 100000\n"}, 2.0),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "150000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1.5),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "150000\n"}, None),
        ({"cpu.max": "rubbish\n"}, None),
        ({"cpu.max": "100 0\n"}, None),
        ({}, None),
    ],
)
def test_cpu_limit_of_a_container(tmp_path: Path, files: dict[str, str], expected: float | None) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    assert quota_cores(tmp_path) == expected


def test_the_variable_comes_before_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "usable_cores", lambda: 6)
    monkeypatch.setattr(cores, "quota_cores", lambda: 3.5)
    for text, expected in (("2,1", 2), ("", 3), ("12", 12)):
        monkeypatch.setenv("OMP_NUM_THREADS", text)
        assert thread_count() == expected


def test_devices_and_training_refuse_nonsense(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """pytest exits with 4 on NoDevice, `train` with 2."""
    monkeypatch.setenv("OMP_NUM_THREADS", "lots")
    with pytest.raises(NoDevice, match="OMP_NUM_THREADS: 'lots'"):
        open_device("cpu", {"ceilings": {"peak_flops_per_s": {"fp32": 1e11}, "bandwidth_bytes_per_s": 1e10}})
    for device in ("cpu", "auto"):
        assert main(["train", "--device", device, "--steps", "1"]) == 2
        assert re.fullmatch("error: OMP_NUM_THREADS: 'lots' is not .*\n", capsys.readouterr().err)


IN_A_WORKER = """
import os
os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[:1]))
from benches.devices.opening import open_device
print(open_device("cpu", {"ceilings": {"peak_flops_per_s": {"fp32": 1e11}, "bandwidth_bytes_per_s": 1e10}}).describe()["cpu"]["threads"])
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity on this system")
def test_one_cpu_in_the_mask_is_one_thread() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"} | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", IN_A_WORKER], cwd=ROOT, env=environment, capture_output=True, encoding="utf-8", check=True)
    assert done.stdout.split() == ["1"]

"""The caches of a CPU: their sizes from the system's files, their bandwidths in order."""

from pathlib import Path

import pytest

from benches.devices.ceilings import cache_bytes, cache_levels
from kernels.gpus import CacheLevel, Ceilings


def described(root: Path, cpu: int, caches: dict[str, tuple[str, str, str, str]]) -> None:
    for index, fields in caches.items():
        folder = root / f"cpu{cpu}" / "cache" / index
        folder.mkdir(parents=True)
        for name, text in zip(("level", "type", "size", "shared_cpu_list"), fields, strict=True):
            (folder / name).write_text(f"{text}\n", encoding="utf-8")


def two_cores(root: Path) -> None:
    for cpu in (0, 1):
        own = {"index0": ("1", "Data", "32K", str(cpu)), "index1": ("2", "Unified", "512K", str(cpu))}
        described(root, cpu, own | {"index2": ("3", "Unified", "32768K", "0-1"), "index3": ("2", "Instruction", "64K", str(cpu))})


@pytest.mark.parametrize(
    ("cpus", "expected"),
    [([0, 1], {2: 2 * 512 * 1024, 3: 32768 * 1024}), ([0], {2: 512 * 1024, 3: 32768 * 1024}), ([7], {}), ([], {})],
)
def test_private_caches_add_up_and_a_shared_one_counts_once(tmp_path: Path, cpus: list[int], expected: dict[int, int]) -> None:
    two_cores(tmp_path)
    assert cache_bytes(cpus, tmp_path) == expected


def test_a_cache_that_is_described_otherwise_is_left_out(tmp_path: Path) -> None:
    described(tmp_path, 0, {"index0": ("2", "Unified", "1M", "0"), "index1": ("3", "Unified", "2048K", "0")})
    (tmp_path / "cpu0" / "cache" / "index2").mkdir()
    assert cache_bytes([0], tmp_path) == {3: 2048 * 1024}


@pytest.mark.parametrize(
    ("measured", "expected"),
    [
        ({512: 9e10, 2048: 5e10}, [("L2", 1024, 9e10), ("L3", 4096, 5e10)]),
        ({512: 6e7, 2048: 5e10}, [("L2", 1024, 5e10), ("L3", 4096, 5e10)]),  # other work held a core
        ({512: 6e7, 2048: 1e9}, [("L2", 1024, 2e10), ("L3", 4096, 2e10)]),
    ],
)
def test_a_cache_is_no_slower_than_what_lies_behind_it(measured: dict[int, float], expected: list[tuple[str, int, float]]) -> None:
    levels = cache_levels({2: 1024, 3: 4096}, 2e10, measured.__getitem__)
    assert [(level.name, level.bytes, level.bandwidth_bytes_per_s) for level in levels] == expected


@pytest.mark.parametrize(
    ("size", "expected"), [(1, ("L2", 9e10)), (1024, ("L2", 9e10)), (1025, ("L3", 5e10)), (4096, ("L3", 5e10)), (4097, ("memory", 2e10))]
)
def test_the_level_of_a_working_set(size: int, expected: tuple[str, float]) -> None:
    caches = (
        CacheLevel(name="L2", bytes=1024, bandwidth_bytes_per_s=9e10),
        CacheLevel(name="L3", bytes=4096, bandwidth_bytes_per_s=5e10),
    )
    assert Ceilings(peak_flops_per_s={}, bandwidth_bytes_per_s=2e10, caches=caches).level(size) == expected
    assert Ceilings(peak_flops_per_s={}, bandwidth_bytes_per_s=2e10).level(size) == ("memory", 2e10)

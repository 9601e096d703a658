"""What a CPU reaches at best: which products are timed; the caches' sizes from the system's files, their bandwidths in order."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from benches.devices import ceilings
from benches.devices.ceilings import cache_bytes, cache_levels
from kernels.gpus import CacheLevel, Ceilings
from kernels.op import Point


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
    [([0, 1], {2: [512 * 1024] * 2, 3: [32768 * 1024]}), ([0], {2: [512 * 1024], 3: [32768 * 1024]}), ([7], {}), ([], {})],
)
def test_private_caches_add_up_and_a_shared_one_counts_once(tmp_path: Path, cpus: list[int], expected: dict[int, list[int]]) -> None:
    two_cores(tmp_path)
    assert cache_bytes(cpus, tmp_path) == expected


def test_a_cache_that_is_described_otherwise_is_left_out(tmp_path: Path) -> None:
    described(tmp_path, 0, {"index0": ("2", "Unified", "1M", "0"), "index1": ("3", "Unified", "2048K", "0")})
    (tmp_path / "cpu0" / "cache" / "index2").mkdir()
    assert cache_bytes([0], tmp_path) == {3: [2048 * 1024]}


@pytest.mark.parametrize(
    ("threads", "private", "together", "expected"),
    [
        (2, {256: 4.5e10}, {2048: 5e10}, [("L2", 1024, 9e10), ("L3", 4096, 5e10)]),
        (1, {}, {512: 9e10, 2048: 5e10}, [("L2", 1024, 9e10), ("L3", 4096, 5e10)]),
        (4, {}, {512: 9e10, 2048: 5e10}, [("L2", 1024, 9e10), ("L3", 4096, 5e10)]),  # two threads share a cache
        (2, {256: 2.6e10}, {2048: 5e10}, [("L3", 4096, 5e10)]),
        (2, {256: 4.5e10}, {2048: 2.1e10}, [("L2", 1024, 9e10)]),
        (2, {256: 3e7}, {2048: 1e9}, []),
    ],
)
def test_a_cache_that_is_not_told_apart_is_left_out(
    threads: int, private: dict[int, float], together: dict[int, float], expected: list[tuple[str, int, float]]
) -> None:
    sizes = {2: [512, 512], 3: [4096]}
    levels = cache_levels(sizes, 2e10, threads, together.__getitem__, private.__getitem__)
    assert [(level.name, level.bytes, level.bandwidth_bytes_per_s) for level in levels] == expected


def test_a_copy_alone_leaves_the_threads_as_they_were(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(ceilings, "bandwidth", lambda size: seen.append((size, torch.get_num_threads())) or 1e9)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        assert ceilings.alone(4096) == 1e9
        assert (seen, torch.get_num_threads()) == ([(4096, 1)], 2)
    finally:
        torch.set_num_threads(threads)


@pytest.mark.slow
def test_operators_are_counted_and_one_among_many_takes_time() -> None:
    one = torch.zeros(2, 3)
    with ceilings.Counted() as counted:
        torch.add(one.t(), 1, out=torch.empty(3, 2))
    assert counted.operators == 3  # t, empty, add
    assert 0 < ceilings.step_call_s() < 0.01


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


@pytest.mark.parametrize(
    ("rates", "timed", "best"),
    [
        # A CPU with units for the precision: a single small product is mostly overhead, and larger ones come near the peak.
        ({(8, 128): 2e11, (1, 128): 5e10, (1, 256): 9e10, (1, 512): 3e11, (1, 1024): 4e11, (1, 2048): 4e11}, 2048, 4e11),
        # Without them, as PyTorch 2.13 does fp16 with AVX-512: 1024 would take two seconds a call.
        ({(8, 128): 1.1e10, (1, 128): 4e9, (1, 256): 3e9, (1, 512): 3e9, (1, 1024): 1e9, (1, 2048): 1e9}, 512, 1.1e10),
        # Other processes on every core: a small product takes the 8 ms for which one of its threads waits, and says nothing of the CPU.
        ({(8, 128): 4.2e9, (1, 128): 5e8, (1, 256): 2e9, (1, 512): 2e10, (1, 1024): 1e11, (1, 2048): 1.5e11}, 2048, 1.5e11),
        # Slow at every size, and the larger the better: 1024 is the first that takes longer than overhead.
        ({(8, 128): 4e9, (1, 128): 4e9, (1, 256): 5e9, (1, 512): 6e9, (1, 1024): 7e9, (1, 2048): 8e9}, 1024, 7e9),
    ],
)
def test_larger_products_are_timed_while_they_may_be_faster(
    rates: dict[tuple[int, int], float], timed: int, best: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def made(point: Point, *_: object, **__: object) -> SimpleNamespace:
        seen.append((point.dims.get("b", 1), point.dims["m"]))
        return SimpleNamespace(launch=seen[-1])

    def best_s(at: tuple[int, int]) -> float:
        batch, size = at
        return 2 * batch * size**3 / rates[at]

    monkeypatch.setattr(ceilings, "TensorWorkload", made)
    monkeypatch.setattr(ceilings, "best_s", best_s)
    assert ceilings.peak_flops_per_s("fp16") == pytest.approx(best)
    assert seen[-1] == (1, timed)

"""What a run on a CUDA device says of itself at its end: a table of boards."""

from __future__ import annotations

import pytest

from benches.devices.notes import notes
from kernels.gpus import Gpu, load_gpu

H100 = load_gpu("h100_sxm5")
NAME, L2 = "NVIDIA H100 80GB HBM3", 52_428_800
NOT_FOUND = "NVML Shared Library Not Found"


@pytest.mark.parametrize(
    ("gpu", "l2_bytes", "mig", "problem", "counters", "parts"),
    [
        (H100, L2, False, None, True, []),
        (H100, 60 * 2**20, False, None, True, ["holds 62,914,560 bytes, configs/gpus/h100_sxm5.yaml has 52,428,800"]),
        (
            None,
            L2,
            False,
            None,
            True,
            ["no file in configs/gpus names NVIDIA H100 80GB HBM3: no peaks, so no prediction and no physics check"],
        ),
        (H100, L2, False, NOT_FOUND, False, [f"({NOT_FOUND}): no clocks, no power and no throttle detection"]),
        (H100, L2, False, None, False, ["does not report why this board slows down: no throttle detection"]),
        (None, L2, False, NOT_FOUND, False, ["no physics check", "no throttle detection"]),
        (H100, 2**20, False, NOT_FOUND, False, ["holds 1,048,576 bytes", "no throttle detection"]),
        (
            None,
            2**20,
            True,
            None,
            False,
            ["is a MIG slice: no peaks (configs/gpus describes whole boards), so no prediction and no physics check"],
        ),
    ],
)
def test_one_sentence_for_each_thing_that_is_missing(
    gpu: Gpu | None, l2_bytes: int, mig: bool, problem: str | None, counters: bool, parts: list[str]
) -> None:
    found = notes(NAME, gpu, l2_bytes, mig, problem, counters)
    assert len(found) == len(parts)
    assert all(part in note for part, note in zip(parts, found, strict=True))
    assert all("\n" not in note for note in found)

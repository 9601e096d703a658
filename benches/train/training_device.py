"""The device of a training run."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from benches.devices.cores import thread_count
from kernels.gpus import Gpu, gpu_for_board
from kernels.support import Platform


class Refused(Exception):
    """What was asked for cannot be done; the message is one line."""


@dataclass(frozen=True)
class TrainingDevice:
    """`gpu`: its data sheet, where one is known."""

    device: torch.device
    platform: Platform
    gpu: Gpu | None

    def synchronize(self) -> None:
        if self.device.type == "cuda":
            torch.cuda.synchronize()


def training_device(name: str) -> TrainingDevice:
    """`auto`, `cuda` or `cpu`, which runs on as many threads as a sweep does.

    Raises Refused where there is no CUDA device and one was asked for, and ThreadsError where OMP_NUM_THREADS is not a
    valid number of threads.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise Refused(f"--device cuda: torch {torch.__version__} finds no CUDA device")
    if name == "cpu" or not torch.cuda.is_available():
        torch.set_num_threads(thread_count())
        return TrainingDevice(torch.device("cpu"), Platform("cpu"), None)
    gpu = gpu_for_board(torch.cuda.get_device_name())
    return TrainingDevice(torch.device("cuda"), Platform("cuda", torch.cuda.get_device_capability()), gpu)

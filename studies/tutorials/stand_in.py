"""Lets a tutorial of Triton be imported on a machine without a GPU, up to where it starts to compute."""

from __future__ import annotations

import ast
from types import SimpleNamespace

import torch
import triton
from triton.backends.compiler import GPUTarget


class Driver:
    """What a tutorial asks of Triton's driver before it launches anything, answered for a GPU that is not there."""

    def __init__(self, capability: tuple[int, int]):
        self.capability = capability

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", self.capability[0] * 10 + self.capability[1], 32)

    def get_active_torch_device(self) -> torch.device:
        return torch.device("cpu")


def stand_in(capability: tuple[int, int], sm_count: int) -> None:
    """Makes Triton and PyTorch of this process answer as if the GPU were there."""
    triton.runtime.driver.set_active(Driver(capability))
    torch.cuda.get_device_capability = lambda device=None: capability
    torch.cuda.get_device_properties = lambda device=None: SimpleNamespace(multi_processor_count=sm_count)  # type: ignore


def definitions(source: str) -> str:
    """What a tutorial defines before its first bare call, which is where it starts to compute. Conditions, loops and `with` blocks are left
    out as well, since they allocate on the GPU. Lines keep their numbers."""
    lines = source.splitlines(keepends=True)
    for node in ast.parse(source).body:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            return "".join(lines[: node.lineno - 1])
        if isinstance(node, ast.If | ast.For | ast.While | ast.With):
            assert node.end_lineno is not None  # ast.parse fills it in
            lines[node.lineno - 1 : node.end_lineno] = ["\n"] * (node.end_lineno - node.lineno + 1)
    return "".join(lines)


def importable(source: str, capability: tuple[int, int], sm_count: int) -> str:
    """The definitions of a tutorial, after a line that lets any process import them. Lines keep their numbers, less one."""
    return f"from studies.tutorials.stand_in import stand_in; stand_in({capability}, {sm_count})\n{definitions(source)}"

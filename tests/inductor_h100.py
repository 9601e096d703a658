"""Inductor on a machine that answers as an H100 would: it writes its kernels, and neither times nor launches them. Run as a module, it
prints a JSON object of CASES: how many configurations each kernel could have, by default and pinned, and what `kernel_configs` reads.

A process of its own: Triton's interpreter, which the tests use, would be in Inductor's way.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

import torch
from torch._dynamo import device_interface
from torch._inductor import compile_fx
from torch._inductor import config as inductor
from torch._inductor.codecache import PyCodeCache
from torch._inductor.decomposition import select_decomp_table
from torch._inductor.runtime import triton_helpers
from torch._inductor.runtime.triton_heuristics import CachingAutotuner
from torch._inductor.utils import fresh_cache
from torch._subclasses import FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx
from triton.backends.compiler import GPUTarget
from triton.runtime import driver

from kernels.torch_modes import kernel_configs, pinned

H100 = SimpleNamespace(  # as torch.cuda.get_device_properties describes it
    name="NVIDIA H100 80GB HBM3",
    major=9,
    minor=0,
    multi_processor_count=132,
    regs_per_multiprocessor=65536,
    max_threads_per_multi_processor=2048,
    max_threads_per_block=1024,
    warp_size=32,
    total_memory=80 * 2**30,
    shared_memory_per_block_optin=232448,
    L2_cache_size=50 * 2**20,
)
TORCH_CUDA = {
    "get_device_properties": H100,
    "get_device_capability": (9, 0),
    "is_available": True,
    "current_device": 0,
    "device_count": 1,
    "get_rng_state": torch.zeros(1),
    "set_rng_state": None,
    "synchronize": None,
    "_exchange_device": 0,
    "_maybe_exchange_device": 0,
    "_lazy_init": None,
}
INTERFACE = {
    "get_device_properties": H100,
    "get_compute_capability": 90,
    "is_available": True,
    "is_triton_capable": True,
    "raise_if_triton_unavailable": None,
    "current_device": 0,
    "exchange_device": 0,
    "maybe_exchange_device": 0,
    "get_raw_stream": 0,
}


def constant(value: Any) -> Callable[..., Any]:
    return lambda *args, **kwargs: value


@contextmanager
def an_h100(made: list[CachingAutotuner]) -> Iterator[None]:
    """PyTorch and Triton answer as on a node with an H100; kernels are written, collected in `made`, and not compiled further."""
    torch._C._ensureCUDADeviceGuardSet()
    interface = device_interface.CudaInterface
    target = SimpleNamespace(get_current_target=constant(GPUTarget("cuda", 90, 32)), get_current_device=constant(0))
    with ExitStack() as stack, fresh_cache():
        for name, value in TORCH_CUDA.items():
            stack.enter_context(patch.object(torch.cuda, name, constant(value)))
        for name, value in INTERFACE.items():
            stack.enter_context(patch.object(interface, name, staticmethod(constant(value))))
        for name in ("get_device_properties", "current_device"):
            stack.enter_context(patch.object(interface.Worker, name, staticmethod(constant(INTERFACE[name]))))
        stack.enter_context(patch.object(torch.version, "cuda", "13.0"))
        stack.enter_context(patch.object(torch._C, "_cuda_getCurrentRawStream", constant(0), create=True))
        stack.enter_context(patch.object(driver, "_active", target))
        stack.enter_context(patch.object(triton_helpers, "set_driver_to_gpu", constant(None)))
        stack.enter_context(patch.object(CachingAutotuner, "precompile", lambda self, *args, **kwargs: made.append(self)))
        stack.enter_context(inductor.patch(compile_threads=1, fx_graph_cache=False))
        yield


def compiled(function: Callable[..., torch.Tensor], shapes: list[tuple[int, ...]], options: dict[str, Any]) -> dict[str, Any]:
    """Of a bf16 function: its kernels' configurations to choose from, what is read before a launch, and after one that took the first."""
    made: list[CachingAutotuner] = []
    with an_h100(made):
        with FakeTensorMode():
            operands = [torch.empty(shape, device="cuda", dtype=torch.bfloat16) for shape in shapes]
            graph = make_fx(lambda *given: (function(*given),), decomposition_table=select_decomp_table())(*operands)
        PyCodeCache.cache_clear()
        with inductor.patch(options):
            compile_fx.compile_fx_inner(graph, operands)
        found = {"candidates": [len(kernel.configs) for kernel in made], "modules": len(PyCodeCache.modules), "before": kernel_configs()}
        for kernel in made:
            kernel.launchers = [SimpleNamespace(config=kernel.configs[0])]
        return found | {"after": kernel_configs()}


def rms_norm(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.rms_norm(x, weight.shape, weight)


CASES: dict[str, tuple[Callable[..., torch.Tensor], list[tuple[int, ...]]]] = {
    "bias, GELU, residual": (lambda x, r, b: r + torch.nn.functional.gelu(x + b), [(8192, 8192), (8192, 8192), (8192,)]),
    "transpose": (lambda x: x.t().clone(memory_format=torch.contiguous_format), [(3001, 8192)]),
    "softmax of short rows": (lambda x: x.softmax(-1), [(64, 100)]),
    "softmax of long rows": (lambda x: x.softmax(-1), [(8192, 8192)]),
    "sum of rows": (lambda x: x.sum(0), [(8192, 8192)]),
    "sum in the middle": (lambda x: x.sum(1), [(64, 300, 128)]),
    "RMSNorm": (rms_norm, [(2048, 4096), (4096,)]),
}

if __name__ == "__main__":
    print(json.dumps({name: {"default": compiled(*case, {}), "pinned": compiled(*case, pinned())} for name, case in CASES.items()}))

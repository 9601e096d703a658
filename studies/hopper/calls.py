"""How a variant is launched. On the meta device the same call tells Triton what to compile."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from triton.tools.tensor_descriptor import TensorDescriptor

from kernels.matmul import triton_impl
from kernels.matmul.configs import GROUP_M, Config
from kernels.matmul.pointer_kernels import matmul_kernel
from kernels.precisions import PRECISIONS
from studies.hopper.kernels import pointer_kernel, tma_kernel
from studies.hopper.plan import SM_COUNT, Case, Variant

Operands = tuple[torch.Tensor, torch.Tensor, torch.Tensor]
Call = tuple[Any, int, dict[str, Any]]  # a jitted function, its blocks, all its arguments


def operands(case: Case, device: str, seed: int) -> Operands:
    """A (m, k) and B (k, n) of random normals, B column-major in layout nt; C (m, n) uninitialised."""
    p = PRECISIONS[case.precision]
    generator = None if device == "meta" else torch.Generator(device).manual_seed(seed)
    a, b = (
        torch.randn(shape, device=device, generator=generator).to(getattr(torch, p.torch_dtype))
        for shape in ((case.m, case.k), (case.n, case.k) if case.layout == "nt" else (case.k, case.n))
    )
    c = torch.empty((case.m, case.n), device=device, dtype=getattr(torch, PRECISIONS[p.matmul_out].torch_dtype))
    return a, b.t() if case.layout == "nt" else b, c


def call(variant: Variant, case: Case, tensors: Operands) -> Call:
    """The launch of a Triton variant."""
    a, b, c = tensors
    nt = case.layout == "nt"
    block_k = variant.k_bytes // PRECISIONS[case.precision].bytes
    tiles = math.ceil(case.m / variant.m) * math.ceil(case.n / variant.n)
    options = {"num_warps": variant.warps, "num_stages": variant.stages}
    if variant.family == "suite":
        config = Config(variant.m, variant.n, block_k, variant.warps, variant.stages)
        product = triton_impl.product_of(a, b, c)
        named = triton_impl.arguments(product, a, b, c, config)
        return matmul_kernel, tiles, named | triton_impl.constants(product, case.precision, config) | options
    arguments: dict[str, Any] = {"a": a, "b": b, "c": c, "m": case.m, "n": case.n, "k": case.k}
    constants: dict[str, Any] = {"BLOCK_M": variant.m, "BLOCK_N": variant.n, "BLOCK_K": block_k, "GROUP_M": GROUP_M}
    if variant.family == "pointer":
        strides = {"stride_am": a.stride(0), "stride_bk": b.stride(0), "stride_bn": b.stride(1), "stride_cm": c.stride(0)}
        return pointer_kernel, tiles, arguments | strides | constants | {"ADDRESS": variant.address} | options
    if variant.family == "host":
        arguments["a"] = TensorDescriptor.from_tensor(a, [variant.m, block_k])
        arguments["b"] = TensorDescriptor.from_tensor(b.t() if nt else b, [variant.n, block_k] if nt else [block_k, variant.n])
        arguments["c"] = TensorDescriptor.from_tensor(c, [variant.m, variant.n // 2 if variant.store == "halves" else variant.n])
    constants |= {"NT": nt, "DEVICE": variant.family == "device", "STORE": variant.store, "FLATTEN": variant.flatten}
    constants |= {"SPECIALIZE": variant.specialize, "PROGRAMS": SM_COUNT if variant.persistent else 0}
    return tma_kernel, min(SM_COUNT, tiles) if variant.persistent else tiles, arguments | constants | options


def launcher(variant: Variant, case: Case, tensors: Operands) -> Callable[[], Any]:
    """A call that computes C."""
    if variant.family != "cublas":
        kernel, blocks, arguments = call(variant, case, tensors)
        launch = kernel[(blocks,)]
        return lambda: launch(**arguments)
    a, b, c = tensors
    if PRECISIONS[case.precision].bytes > 1:
        return lambda: torch.mm(a, b, out=c)
    one = torch.ones((), device=a.device)
    return lambda: torch._scaled_mm(a, b, scale_a=one, scale_b=one, out_dtype=c.dtype, use_fast_accum=True, out=c)

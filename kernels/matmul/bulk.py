"""Launches the matmul kernels that copy tiles in bulk (TMA), and lists them for `inspect`: `kernel: tma` and `kernel: warp_specialized`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import torch
import triton
from triton.tools.tensor_descriptor import TensorDescriptor

from kernels.compilation import INTERPRETED, Compilation, describe, platform_of, sm_count_of
from kernels.matmul.bulk_kernels import specialized_kernel, tma_kernel
from kernels.matmul.choice import choice_of
from kernels.matmul.configs import GROUP_M, Config, bulk_configs
from kernels.matmul.data import make_inputs
from kernels.matmul.recipe import IMPRECISE_PRODUCTS, recipe_of
from kernels.matmul.spec import BULK_BYTES, BULK_FROM, BULK_KERNELS, OP, folded
from kernels.op import Inputs, Kernel, Point, Unsupported
from kernels.precisions import PRECISIONS
from kernels.support import Platform

Call = tuple[Any, int, dict[str, Any], dict[str, Any]]  # a jitted function, its blocks, its arguments, its constants


def build(point: Point, inputs: Inputs) -> Kernel:
    """The product into `inputs.out`, with the config that is chosen for the point; the shapes are those of the tensors."""
    config, origin = choice_of(point, sm_count_of(inputs.out), platform_of(inputs.out))
    if why := not_compiled(config, platform_of(inputs.out)):
        raise Unsupported(why)
    # The interpreter writes fp32, and torch rounds: as for the pointer kernel.
    target = torch.empty(inputs.out.shape, device=inputs.out.device) if INTERPRETED else inputs.out
    kernel, blocks, arguments, constants = call(point, inputs, target, config)
    launch = kernel[(blocks,)]
    compiled: list[Any] = []

    def run() -> torch.Tensor:
        if config.kernel == "warp_specialized":
            triton.set_allocator(scratch)
        compiled[:] = [launch(**arguments, **constants, num_warps=config.warps, num_stages=config.stages, **config.compile_options)]
        return inputs.out.copy_(target) if INTERPRETED else inputs.out

    return Kernel(run, str(config), config_origin=origin, compiled=compiled)


def not_compiled(config: Config, platform: Platform) -> str:
    """Why this Triton cannot compile a config for a GPU; empty where it can, which `inspect` shows."""
    older = tuple(map(int, triton.__version__.split(".")[:2])) < (3, 7)
    if older and config.kernel == "warp_specialized" and platform.capability[0] == 10:
        return f"Triton {triton.__version__} cannot compile kernel warp_specialized for compute capability 10.0: Triton 3.7 can"
    return ""


def scratch(size: int, alignment: int, stream: int | None) -> torch.Tensor:
    """Memory for the descriptors that the blocks of one launch make: 128 bytes each. PyTorch aligns it to 512 bytes, and gives it to others
    only after the launch, in the order of the stream."""
    return torch.empty(size, dtype=torch.int8, device="cuda")


def call(point: Point, inputs: Inputs, out: torch.Tensor, config: Config) -> Call:
    """The launch that computes the product of the inputs into `out`, which is row-major."""
    a, b, *scales = inputs.operands
    scale_a, scale_b = scales or (None, None)
    *leading, m, n = out.shape
    k = a.shape[-1]
    layout = point.options["layout"]
    batch, rows = folded(point.options, tuple(leading), m)
    shared = batch > 1 and point.options["rhs"] == "shared"
    a, b = as_stored(a, layout[0], batch), as_stored(b, layout[1], 1 if shared else batch)
    c = out.view(batch, rows, n)
    store = "pointer" if n * out.element_size() % BULK_BYTES else "halves" if config.kernel == "tma" else "whole"
    programs = min(sm_count_of(out), batch * math.ceil(rows / config.block_m) * math.ceil(n / config.block_n))
    scaling = point.options["scaling"] if scales else "none"
    arguments: dict[str, Any] = {"a": a, "b": b, "c": out, "scale_a": scale_a, "scale_b": scale_b, "lead": batch, "m": rows, "n": n, "k": k}
    constants: dict[str, Any] = {"BLOCK_M": config.block_m, "BLOCK_N": config.block_n, "BLOCK_K": config.block_k, "GROUP_M": GROUP_M}
    constants |= {"A_TRANSPOSED": layout[0] == "t", "B_TRANSPOSED": layout[1] == "t", "B_SHARED": shared, "INPUT_PRECISION": "tf32"}
    constants |= {
        "SCALING": scaling,
        "IMPRECISE": IMPRECISE_PRODUCTS if recipe_of(point).slow else None,
        "STORE": store,
        "PROGRAMS": programs,
    }
    constants |= {"UPCAST": INTERPRETED and point.precision == "bf16"}
    if config.kernel == "warp_specialized":
        return specialized_kernel, programs, arguments | {"pitch_a": a.stride(-2), "pitch_b": b.stride(-2)}, constants
    block_a, block_b = (config.block_m, config.block_k), (config.block_k, config.block_n)
    arguments["a"] = descriptor(a, block_a if layout[0] == "n" else block_a[::-1], batch)
    arguments["b"] = descriptor(b, block_b if layout[1] == "n" else block_b[::-1], batch)
    if store != "pointer":
        arguments["c"] = descriptor(c, (config.block_m, config.block_n // 2 if store == "halves" else config.block_n), batch)
    # With block scales the loop along k is the shorter one of two: 41 other instructions instead of 52 (`inspect`).
    return tma_kernel, programs, arguments, constants | {"FLATTEN": scaling != "block"}


def as_stored(operand: torch.Tensor, letter: str, batch: int) -> torch.Tensor:
    """(batch, rows, columns) of an operand as it lies in memory, a view: transposed back where its letter is t."""
    matrix = operand if letter == "n" else operand.mT
    return matrix.view(batch, -1, matrix.shape[-1])


def descriptor(matrices: torch.Tensor, block: tuple[int, int], batch: int) -> TensorDescriptor:
    """The descriptor of matrices (batch or 1, rows, columns); without a batch it has two dims, which takes fewer instructions."""
    if batch == 1:
        return TensorDescriptor(matrices, list(matrices.shape[1:]), [matrices.stride(1), 1], list(block))
    return TensorDescriptor(matrices, list(matrices.shape), [matrices.stride(0), matrices.stride(1), 1], [1, *block])


ALIGNED = {"m": 4096, "n": 4096, "k": 4096}
BATCH = {"b": 4, **ALIGNED}
EDGE = {"m": 4096, "n": 4097, "k": 4096}  # rows of C that bulk copies cannot write
LAYOUTS = {2: ("nn", "nt", "tn", "tt")}  # by bytes of an element; of others nt


def compilations() -> Iterator[Compilation]:
    """Every kernel × precision × shipped config × layout that is supported at an aligned shape; a batch; rows of C that are stored through
    pointers; fp8's recipes."""
    on = platform_of(torch.empty(1, device="meta")).capability
    for kernel in BULK_KERNELS:
        for precision in ("tf32", "fp16", "bf16", "fp8_e4m3", "fp8_e5m2"):
            for config in bulk_configs(kernel, precision, capability=on):
                for layout in LAYOUTS.get(PRECISIONS[precision].bytes, ("nt",)):
                    yield compilation(precision, config, ALIGNED, layout, layout)
        for precision in ("tf32", "bf16", "fp8_e4m3"):
            yield compilation(precision, bulk_configs(kernel, precision, capability=on)[0], BATCH, "nt", "batch_nt")
            for config in bulk_configs(kernel, precision, small=True, capability=on, addresses=True):
                yield compilation(precision, config, EDGE, "nt", "edge_nt")
        for config in bulk_configs(kernel, "fp8_e4m3", capability=on, rows=True):
            yield compilation("fp8_e4m3", config, ALIGNED, "nt", "nt_row", scaling="row")
        for config in bulk_configs(kernel, "fp8_e4m3", small=True, capability=on):
            for scaling in ("tensor", "row"):
                yield compilation("fp8_e4m3", config, ALIGNED, "nt", f"nt_{scaling}_slow", scaling=scaling, accumulation="slow")
        for config in bulk_configs(kernel, "fp8_e4m3", small=True, capability=on, addresses=True):
            yield compilation("fp8_e4m3", config, ALIGNED, "nt", "nt_block", scaling="block")


def compilation(precision: str, config: Config, dims: dict[str, int], layout: str, variant: str, **recipe: str) -> Compilation:
    """One shape and layout, by name, for `inspect`. recipe: of fp8, other than the default options."""
    return describe_point(OP.point("triton", precision, dims, {"layout": layout, "kernel": config.kernel, **recipe}), config, variant)


def describe_point(point: Point, config: Config, variant: str) -> Compilation:
    """What `build` would compile for a point with this config, under the name of a variant."""
    inputs = make_inputs(point, "meta", None)
    kernel, _, arguments, constants = call(point, inputs, inputs.out, config)
    described = describe(kernel, arguments, constants, OP.name, point.precision, variant, str(config), config.warps, config.stages, "dot")
    problem = not_compiled(config, platform_of(inputs.out))
    return replace(described, since=BULK_FROM, options=config.compile_options, problem=problem)

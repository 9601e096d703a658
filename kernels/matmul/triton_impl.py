"""matmul in Triton: one strided, batched kernel for every layout and precision; the einsums use it too.

C[g, h, m, n] = A[g, h, m, k] · B[g, h, k, n], accumulated in fp32, g and h two leading dims with strides of their own (0 where an
operand does not have them). Layouts are nothing but strides.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
import triton
import triton.language as tl

from kernels.compilation import INTERPRETED, Compilation, describe, sm_count_of
from kernels.matmul.configs import GROUP_M, Config, choose, configs
from kernels.matmul.data import make_inputs
from kernels.matmul.spec import OP, leading_shape
from kernels.op import Inputs, Kernel, Point
from kernels.precisions import PRECISIONS

MAX_LEADING = 2  # leading dims with strides of their own that the kernel takes


@triton.jit
def matmul_kernel(
    a: tl.tensor,
    b: tl.tensor,
    c: tl.tensor,
    scale_a: tl.tensor,  # one fp32 each, or None
    scale_b: tl.tensor,
    m: tl.tensor,
    n: tl.tensor,
    k: tl.tensor,
    inner: tl.tensor,  # size of h: the leading index is g · inner + h
    stride_ag: tl.tensor,
    stride_ah: tl.tensor,
    stride_am: tl.tensor,
    stride_ak: tl.tensor,
    stride_bg: tl.tensor,
    stride_bh: tl.tensor,
    stride_bk: tl.tensor,
    stride_bn: tl.tensor,
    stride_cg: tl.tensor,
    stride_ch: tl.tensor,
    stride_cm: tl.tensor,
    stride_cn: tl.tensor,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
    GROUP_M: tl.constexpr,
    INPUT_PRECISION: tl.constexpr,
    UPCAST: tl.constexpr,
    LONG: tl.constexpr,
) -> None:
    """c = a · b · scale_a · scale_b for each leading index: a (…, m, k), b (…, k, n), c (…, m, n), by strides, accumulated in fp32."""
    tiles_m = tl.cdiv(m, BLOCK_M)
    tiles_n = tl.cdiv(n, BLOCK_N)
    tiles = tiles_m * tiles_n
    # One grid axis holds tiles and leading indices: the other axes end at 65,535 blocks.
    lead = tl.program_id(0) // tiles
    tile = tl.program_id(0) % tiles

    # Blocks that run together take GROUP_M rows of tiles, so that they share B's columns as well as A's rows in L2.
    per_group = GROUP_M * tiles_n
    first_m = tile // per_group * GROUP_M
    rows = tl.minimum(tiles_m - first_m, GROUP_M)
    tile_m = first_m + tile % per_group % rows
    tile_n = tile % per_group // rows

    # A matrix may hold more than 2³¹ elements, so its tile's address is 64-bit; inside a tile 32 bits nearly always do, and the
    # registers that saves keep the unaligned loads from spilling.
    g = (lead // inner).to(tl.int64)
    h = (lead % inner).to(tl.int64)
    start_m = (tile_m * BLOCK_M).to(tl.int64)
    start_n = (tile_n * BLOCK_N).to(tl.int64)
    a += g * stride_ag + h * stride_ah + start_m * stride_am
    b += g * stride_bg + h * stride_bh + start_n * stride_bn
    c += g * stride_cg + h * stride_ch + start_m * stride_cm + start_n * stride_cn

    range_m = tl.arange(0, BLOCK_M)
    range_n = tl.arange(0, BLOCK_N)
    range_k = tl.arange(0, BLOCK_K)
    inside_m = (tile_m * BLOCK_M + range_m < m)[:, None]
    inside_n = (tile_n * BLOCK_N + range_n < n)[None, :]
    if LONG:
        range_m = range_m.to(tl.int64)
        range_n = range_n.to(tl.int64)
        range_k = range_k.to(tl.int64)
    a_tile = range_m[:, None] * stride_am + range_k[None, :] * stride_ak
    b_tile = range_k[:, None] * stride_bk + range_n[None, :] * stride_bn
    step_a = tl.cast(stride_ak, tl.int64) * BLOCK_K
    step_b = tl.cast(stride_bk, tl.int64) * BLOCK_K

    sums = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for done in range(0, k, BLOCK_K):
        inside_k = range_k < k - done
        x = tl.load(a + a_tile, mask=inside_m & inside_k[None, :], other=0.0)
        y = tl.load(b + b_tile, mask=inside_n & inside_k[:, None], other=0.0)
        if UPCAST:
            x = x.to(tl.float32)
            y = y.to(tl.float32)
        # fp8 sums stay in the tensor core's own accumulator: Triton's default for compute capability 9.0, and what
        # torch._scaled_mm(use_fast_accum=True) does.
        sums = tl.dot(x, y, sums, input_precision=INPUT_PRECISION)
        a += step_a
        b += step_b

    if scale_a is not None:
        sums *= tl.load(scale_a) * tl.load(scale_b)
    c_tile = range_m[:, None] * stride_cm + range_n[None, :] * stride_cn
    tl.store(c + c_tile, sums.to(c.dtype.element_ty), mask=inside_m & inside_n)


def build(point: Point, inputs: Inputs) -> Kernel:
    """The product into `inputs.out`, with the config that the point's shape asks for; the shapes are those of the tensors."""
    config = choose_for(point, sm_count_of(inputs.out))
    compiled: list[Any] = []
    run = bind(*inputs.operands, out=inputs.out, precision=point.precision, config=config, compiled=compiled)
    return Kernel(run, str(config), compiled=compiled)


def choose_for(point: Point, sm_count: int) -> Config:
    """The config of a point on a GPU with so many SMs, from its dims alone."""
    m, n, k = (point.dims[d] for d in "mnk")
    batch = math.prod(leading_shape(point.dims))
    rows_merge = point.options["rhs"] == "shared" and point.options["layout"][0] == "n" and point.options["operands"] == "contiguous"
    if rows_merge:
        m, batch = m * batch, 1
    contiguous = (k if point.options["layout"][0] == "n" else m, n if point.options["layout"][1] == "n" else k)
    return choose(point.precision, m, n, batch, contiguous, sm_count)


def bind(
    a: torch.Tensor,
    b: torch.Tensor,
    scale_a: torch.Tensor | None = None,
    scale_b: torch.Tensor | None = None,
    *,
    out: torch.Tensor,
    precision: str,
    config: Config,
    compiled: list[Any],
) -> Callable[[], torch.Tensor]:
    """A call that writes a (…, m, k) · b (…, k, n) to out (…, m, n) and returns out; b's leading dims broadcast. Scales fp32, 0-d.

    Each call leaves in `compiled` the kernel that ran.

    Raises ValueError where the leading dims, merged as far as strides allow, are more than two.
    """
    # The interpreter truncates to bf16 and drops the carry of a mantissa rounded up to fp8: there the kernel writes fp32, torch rounds.
    target = torch.empty(out.shape, device=out.device) if INTERPRETED else out
    tensors = arguments(a, b, target, scale_a, scale_b)
    blocks = tiles(tensors, config) * (math.prod(out.shape[:-1]) // tensors["m"])
    settings = constants(tensors, precision, config)
    launch = matmul_kernel[(blocks,)]

    def run() -> torch.Tensor:
        compiled[:] = [launch(**tensors, **settings, num_warps=config.warps, num_stages=config.stages)]
        return out.copy_(target) if INTERPRETED else out

    return run


def tiles(tensors: dict[str, Any], config: Config) -> int:
    """Tiles of one product."""
    return math.ceil(tensors["m"] / config.block_m) * math.ceil(tensors["n"] / config.block_n)


def arguments(
    a: torch.Tensor, b: torch.Tensor, c: torch.Tensor, scale_a: torch.Tensor | None = None, scale_b: torch.Tensor | None = None
) -> dict[str, Any]:
    """What the kernel is given, but for its constants."""
    m, n = c.shape[-2:]
    b = b.expand(*c.shape[:-2], *b.shape[-2:])
    groups = merge(zip(c.shape[:-2], zip(a.stride()[:-2], b.stride()[:-2], c.stride()[:-2], strict=True), strict=True))
    stride_am, stride_ak, stride_bk, stride_bn, stride_cm, stride_cn = *a.stride()[-2:], *b.stride()[-2:], *c.stride()[-2:]
    if groups and (folded := fold(groups[-1], m, stride_am, stride_cm)):
        m, stride_am, stride_cm = folded
        groups.pop()
    if len(groups) > MAX_LEADING:
        raise ValueError(f"{len(groups)} leading dims with strides of their own: the kernel takes {MAX_LEADING}")
    (_, outer), (inner, strides) = [(1, (0, 0, 0))] * (MAX_LEADING - len(groups)) + groups
    names = {"a": a, "b": b, "c": c, "scale_a": scale_a, "scale_b": scale_b, "m": m, "n": n, "k": a.shape[-1], "inner": inner}
    names |= {"stride_ag": outer[0], "stride_ah": strides[0], "stride_am": stride_am, "stride_ak": stride_ak}
    names |= {"stride_bg": outer[1], "stride_bh": strides[1], "stride_bk": stride_bk, "stride_bn": stride_bn}
    names |= {"stride_cg": outer[2], "stride_ch": strides[2], "stride_cm": stride_cm, "stride_cn": stride_cn}
    return names


Group = tuple[int, tuple[int, ...]]  # size, and the stride in A, B and C


def merge(dims: Any) -> list[Group]:
    """Neighbours that step through all three tensors as one dim become one; dims of size 1 vanish."""
    groups: list[Group] = []
    for size, strides in dims:
        if size == 1:
            continue
        if groups and all(outer == size * inner for outer, inner in zip(groups[-1][1], strides, strict=True)):
            groups[-1] = (groups[-1][0] * size, strides)
        else:
            groups.append((size, strides))
    return groups


def fold(group: Group, m: int, stride_am: int, stride_cm: int) -> tuple[int, int, int] | None:
    """m and its strides in A and C with a leading dim taken in, where B is shared along it and the rows run on: one large product."""
    size, (a, b, c) = group
    if b == 0 and m == 1:
        return size, a, c
    if b == 0 and a == m * stride_am and c == m * stride_cm:
        return size * m, stride_am, stride_cm
    return None


def constants(tensors: dict[str, Any], precision: str, config: Config) -> dict[str, Any]:
    """The kernel's compile-time arguments."""
    m, n, k = config.block_m, config.block_n, config.block_k
    spans = [
        m * tensors["stride_am"] + k * tensors["stride_ak"],
        k * tensors["stride_bk"] + n * tensors["stride_bn"],
        m * tensors["stride_cm"] + n * tensors["stride_cn"],
    ]
    return {
        "BLOCK_M": m,
        "BLOCK_N": n,
        "BLOCK_K": k,
        "GROUP_M": GROUP_M,
        "INPUT_PRECISION": "ieee" if precision == "fp32" else "tf32",
        # The interpreter multiplies bf16 as raw uint16. A product of two bf16 is exact in fp32, as in the tensor core, so this
        # changes nothing but the order of the sums.
        "UPCAST": INTERPRETED and precision == "bf16",
        "LONG": max(spans) >= 2**31,
    }


ALIGNED = {"m": 4096, "n": 4096, "k": 4096}  # long enough that nothing is specialised away
EDGE = {"m": 127, "n": 129, "k": 4096}  # rows along k are aligned; the result's are not
RAGGED = {"m": 127, "n": 129, "k": 131}


def compilations() -> Iterator[Compilation]:
    """Every precision × shipped config × layout at an aligned shape; the configs of ragged shapes at one, in the usual layouts.

    fp16 and fp8_e5m2 load ragged operands as bf16 and fp8_e4m3 do, so those stand for them.
    """
    for precision in PRECISIONS:
        for config in configs(precision):
            for layout in OP.options["layout"].choices:
                yield compilation(precision, config, ALIGNED, layout, layout)
        if precision in ("fp16", "fp8_e5m2"):
            continue
        yield compilation(precision, configs(precision)[0], EDGE, "nt", "edge_nt")
        for config in configs(precision, aligned=False):
            for layout in ("nn", "nt"):
                yield compilation(precision, config, RAGGED, layout, f"ragged_{layout}")


def compilation(precision: str, config: Config, dims: dict[str, int], layout: str, variant: str) -> Compilation:
    """One shape and layout, by name, for `inspect`."""
    point = OP.point("triton", precision, dims, {"layout": layout})
    inputs = make_inputs(point, "meta", None)
    return describe_product(OP.name, precision, config, variant, *inputs.operands, out=inputs.out)


def describe_product(op: str, precision: str, config: Config, variant: str, *operands: torch.Tensor, out: torch.Tensor) -> Compilation:
    """What `bind` would compile."""
    a, b, *scales = operands
    tensors = arguments(a, b, out, *scales)
    settings = constants(tensors, precision, config)
    return describe(matmul_kernel, tensors, settings, op, precision, variant, str(config), config.warps, config.stages, "dot")

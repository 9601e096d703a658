"""matmul: C[…, m, n] = A[…, m, k] · B[…, k, n].

    layout    stored as                        BLAS's letters: n as written, t transposed
    nn        A (m, k)   B (k, n)
    nt        A (m, k)   B (n, k) transposed   what a linear layer does, and the only one for fp8
    tn        A (k, m)   B (k, n)
    tt        A (k, m)   B (n, k)

FLOPs: 2·m·n·k for each leading index, one multiply and one add a triple. Scales of fp8 operands are fp32, and multiplying by them is not
counted. By `scaling`: one a tensor; A (…, m, 1) and B (…, 1, n); A (…, m, k/128), contiguous along m, and B (…, k/128, n/128), contiguous
along k and padded to a multiple of 4 there, which is how cuBLAS reads them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import replace

from kernels import support
from kernels.matmul.product import Product, batched, row_major
from kernels.op import DATA, Cost, Dims, Impl, Op, OpError, Option, Options, Point, always, order_dims
from kernels.parts import Contraction, Part, Stream
from kernels.precisions import PRECISIONS
from kernels.support import DeviceKind, Platform

SLICE_PAD = 64  # a sliced operand is the first columns of a parent this many columns wider; keeps rows 64-byte aligned in fp8

OPTIONS = {
    "layout": Option(("nn", "nt", "tn", "tt"), "nn", "How A and B are stored, as BLAS has it: n as written, t transposed."),
    "rhs": Option(
        ("batched", "shared"),
        "batched",
        "Whether the leading dims are of both operands, (b, m, k) @ (b, k, n), or B is shared among them, (b, m, k) @ (k, n).",
    ),
    "operands": Option(
        ("contiguous", "sliced"),
        "contiguous",
        "How the operands lie in memory. With sliced, they are slices of the columns of wider matrices, so that rows have a stride.",
    ),
    "data": DATA,
    "scaling": Option(
        ("tensor", "row", "block"),
        "tensor",
        "Which fp8 operands share a scale: whole tensors; a row of A and a column of B; 1 × 128 of A and 128 × 128 of B.",
        form="{}_scales",
    ),
    "accumulation": Option(
        ("fast", "slow"),
        "fast",
        "Where fp8 products are summed: in the tensor cores' own accumulator, or slowly, added to fp32 sums every 128 products.",
        form="{}_sums",
    ),
    "kernel": Option(
        ("auto", "pointer", "tma", "warp_specialized"),
        "auto",
        "Which Triton kernel runs: one that loads through pointers; one with persistent blocks that copies tiles in bulk (TMA); one that "
        "also gives loads and products warps of their own. auto: tma where that was measured to be faster, else pointer.",
        form="{}_kernel",
    ),
}
BULK_KERNELS = ("tma", "warp_specialized")
BULK_BYTES = 16  # that the address of a matrix and of each of its rows are multiples of, for bulk copies
BULK_FROM = (9, 0)  # compute capability of the first bulk copies of tensors: CUDA programming guide, "Tensor Memory Accelerator"
# For `tma_is_faster`: the smallest rows, columns and k, the results from which fp8 was slower, and the tile (elements, elements, bytes).
TMA_LARGE, TMA_DEEP, TMA_SLOWER_FP8 = 4096, 256, 8192 * 8192
TMA_TILE = (128, 256, 128)
WHOLE_TILES = 128  # rows and columns of the smallest warp-specialised tile; bytes along k of every one
SCALE_BLOCK = 128  # elements along k, and along n in B, that share a scale
SCALE_PAD = 4  # cuBLAS wants this multiple of scales of B along k ("1D and 128x128 2D block scaling", cuBLAS documentation)

LEADING = re.compile(r"b\d*|batch|heads")


def dim_order(options: Options, given: Iterable[str]) -> tuple[str, ...]:
    """Leading dims (`b`, `b1`, `b2`, …, `batch`, `heads`) as written, then m, n, k."""
    names = tuple(given)
    return order_dims(("m", "n", "k"), names, tuple(n for n in names if LEADING.fullmatch(n)))


def check(point: Point) -> None:
    """Raises OpError for shared weights without a leading dim."""
    if point.options["rhs"] == "shared" and len(point.dims) == 3:
        raise OpError("rhs: shared needs a leading dim such as b", key="rhs")


def leading_shape(dims: Dims) -> tuple[int, ...]:
    """Sizes of the leading dims, outermost first; () for a 2-D product."""
    return tuple(dims.values())[:-3]


def stored_shapes(point: Point) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shapes of the buffers that hold A and B: transposed where the layout says t, wider where the operands are slices."""
    m, n, k = (point.dims[d] for d in "mnk")
    lead = leading_shape(point.dims)
    pad = SLICE_PAD if point.options["operands"] == "sliced" else 0
    a = (m, k) if point.options["layout"][0] == "n" else (k, m)
    b = (k, n) if point.options["layout"][1] == "n" else (n, k)
    b_lead = lead if point.options["rhs"] == "batched" else ()
    return (*lead, a[0], a[1] + pad), (*b_lead, b[0], b[1] + pad)


def scale_shapes(point: Point) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Shapes of the scales of fp8 operands as the kernels see them, which broadcast to A and B where blocks are repeated."""
    m, n, k = (point.dims[d] for d in "mnk")
    lead = leading_shape(point.dims)
    b_lead = lead if point.options["rhs"] == "batched" else ()
    if point.options["scaling"] == "tensor":
        return (), ()
    if point.options["scaling"] == "row":
        return (*lead, m, 1), (*b_lead, 1, n)
    blocks = math.ceil(k / SCALE_BLOCK)
    return (*lead, m, blocks), (*b_lead, math.ceil(blocks / SCALE_PAD) * SCALE_PAD, math.ceil(n / SCALE_BLOCK))


def product(point: Point, copied: str = "") -> Product:
    """The point's product as the sizes and strides of its operands. copied: those ("a", "b") that are first copied along k."""
    m, n, k = (point.dims[d] for d in "mnk")
    lead = leading_shape(point.dims)
    layout = point.options["layout"]
    a, b = (row_major(shape) for shape in stored_shapes(point))
    a = a if layout[0] == "n" else (*a[:-2], a[-1], a[-2])
    b = b if layout[1] == "n" else (*b[:-2], b[-1], b[-2])
    a_rows, b_rows = ((*held[:-2], rows, k) for held, rows in zip(stored_shapes(point), (m, n), strict=True))
    a = row_major(a_rows) if "a" in copied else a
    b = (*(row_major(b_rows)[:-2]), 1, k) if "b" in copied else b
    b = (*(0 for _ in range(len(lead) + 2 - len(b))), *b)
    return batched((*lead, m, n), k, a, b, row_major((*lead, m, n)))


def folded(options: Options, leading: tuple[int, ...], m: int) -> tuple[int, int]:
    """(products, rows of each) of the kernels that copy in bulk. Leading dims that share B are rows of one product, unless A is stored
    transposed, or its scales are of blocks: then rows, or scales, of two products do not lie one after the other."""
    batch = math.prod(leading)
    one = options["rhs"] == "shared" and options["layout"][0] == "n" and options["scaling"] != "block"
    return (1, batch * m) if one else (batch, m)


def cost(point: Point, device: DeviceKind = "cuda") -> Cost:
    """FLOPs 2·∏lead·m·n·k; bytes of A, B (once, if shared), C, and the scales of fp8."""
    m, n, k = (point.dims[d] for d in "mnk")
    batch = math.prod(leading_shape(point.dims))
    p = PRECISIONS[point.precision]
    rhs, out = PRECISIONS[p.matmul_rhs], PRECISIONS[p.matmul_out]
    scales = 4 * sum(map(math.prod, scale_shapes(point))) if p.bytes == 1 else 0
    b_count = k * n * (batch if point.options["rhs"] == "batched" else 1)
    read = batch * m * k * p.bytes + b_count * rhs.bytes + scales
    written = batch * m * n * out.bytes
    held = read + written
    if point.options["operands"] == "sliced":
        a_stored, b_stored = stored_shapes(point)
        held = math.prod(a_stored) * p.bytes + math.prod(b_stored) * rhs.bytes + scales + written
    return Cost(2 * batch * m * n * k, read, written, held)


def small(point: Point) -> Dims:
    """At most 3 leading, 129 × 131 × 137: more than one tile each way, ragged, and quick in the interpreter."""
    limits = {"m": 129, "n": 131, "k": 137}
    kernel = point.options["kernel"]
    if kernel in BULK_KERNELS or (kernel == "auto" and tma_is_faster(point)):
        limits = dict.fromkeys(limits, 144)  # a multiple of 16 bytes in every precision
        if folded(point.options, leading_shape(point.dims), 1)[0] > 1 and kernel == "warp_specialized":
            limits = {"m": 2 * WHOLE_TILES, "n": 2 * WHOLE_TILES, "k": WHOLE_TILES}
    return {name: min(size, limits.get(name, 3)) for name, size in point.dims.items()}


def recipe_unsupported(point: Point) -> str | None:
    """Why a precision has no such recipe, or None. Not an error, so that a sweep may name several precisions beside fp8's recipes."""
    for key in ("scaling", "accumulation"):
        if not support.is_fp8(point.precision) and (value := point.options[key]) != OPTIONS[key].default:
            return f"{key} {value} is for fp8 precisions: {point.precision} operands have no scales"
    return None


def torch_unsupported(point: Point, platform: Platform) -> str | None:
    """What PyTorch cannot do, or None. The fp8 rules are those that `torch._scaled_mm` checks."""
    if point.options["kernel"] != "auto":
        return f"PyTorch chooses its own kernel: kernel {point.options['kernel']} is one of Triton's"
    if why := recipe_unsupported(point):
        return why
    if PRECISIONS[point.precision].bytes == 1:
        if point.options["layout"] != "nt":
            return "torch._scaled_mm takes a row-major first and a column-major second operand: layout nt"
        if leading_shape(point.dims) and point.options["rhs"] == "batched":
            return "torch._scaled_mm multiplies 2-D operands only: no batch, unless rhs is shared"
        if leading_shape(point.dims) and point.options["operands"] == "sliced":
            return "a sliced batch cannot be viewed as the 2-D operand that torch._scaled_mm takes"
        if point.dims["n"] % 16 or point.dims["k"] % 16:
            return "torch._scaled_mm needs n and k to be multiples of 16"
        if point.precision == "fp8_e5m2" and point.options["scaling"] == "block":
            return "torch.nn.functional.scaled_mm takes block scales of fp8_e4m3 only"
        if leading_shape(point.dims) and point.options["scaling"] == "block":
            return "torch.nn.functional.scaled_mm takes block scales of 2-D operands only"
        if point.options["scaling"] == "block" and (platform.kind != "cuda" or platform.capability[0] != 9):
            return "PyTorch multiplies block-scaled fp8 only on GPUs of compute capability 9, with CUDA 12.9 or later"
    return support.matrix_units(point.precision, platform)


def triton_unsupported(point: Point, platform: Platform) -> str | None:
    """What the recipe, the precision or a bulk copy lacks, or None: the pointer kernel takes every shape and layout."""
    return recipe_unsupported(point) or support.matrix_units_or_interpreter(point.precision, platform) or bulk_unsupported(point, platform)


def bulk_unsupported(point: Point, platform: Platform) -> str | None:
    """Why the kernels that copy in bulk cannot run a point, or None; None for the pointer kernel."""
    kernel, layout = point.options["kernel"], point.options["layout"]
    if kernel not in BULK_KERNELS:
        return None
    size = PRECISIONS[point.precision].bytes
    if not platform.interpreted and platform.capability < BULK_FROM:
        return f"kernel {kernel} copies tiles in bulk, which needs compute capability 9.0 or later"
    if point.precision == "fp32":
        return f"kernel {kernel} spills registers in fp32, which no matrix unit multiplies: kernel pointer does not"
    if size != 2 and layout != "nt":
        return f"kernel {kernel} multiplies {point.precision} in layout nt only: matrix units read it along k alone"
    for name, shape in zip("AB", stored_shapes(point), strict=True):
        if shape[-1] * size % BULK_BYTES:
            return f"bulk copies need rows that are multiples of {BULK_BYTES} bytes; those of {name} as stored have {shape[-1] * size}"
    leading = leading_shape(point.dims)
    multiples = {"m": WHOLE_TILES, "n": WHOLE_TILES, "k": WHOLE_TILES // size}
    if kernel == "warp_specialized" and folded(point.options, leading, 1)[0] > 1:
        for name, multiple in multiples.items():
            if point.dims[name] % multiple:
                return f"kernel {kernel} cuts a batch into whole tiles: {name} must be a multiple of {multiple}"
    return None


def tma_is_faster(point: Point) -> bool:
    """Whether a GPU of compute capability 9.0 runs this point faster with kernel tma than with kernel pointer, by what one showed.

    docs/validation/2026-11-27-h100_sxm5-triton-beside-torch, an H100 with Triton 3.6: all results were right, and of 13 products with
    results of 4096² and 8192² tma took 2 to 18% less time in 12; at 2048² and 1024² it took 5 and 31% more. So tma is faster for results
    of at least 4096 rows and columns and k of at least 256, in whole tiles of contiguous operands, without leading dims: in 16 bits in any
    layout, in tf32 and fp8 in layout nt. Left out are the 13th product (fp8, one scale a tensor, fast sums: 2% slower at 8192²), slow
    sums of rows with scales, and block scales, which tma was not timed with. What was timed is bf16, tf32 and fp8_e4m3: the machine code
    of fp16 and of fp8_e5m2 is the same but for the format that its products name. Sizes above 8192 are taken to be as those at 8192.
    """
    size, scaling = PRECISIONS[point.precision].bytes, point.options["scaling"]
    slow = point.options["accumulation"] == "slow"
    named = replace(point, options={**point.options, "kernel": "tma"})
    if recipe_unsupported(point) or bulk_unsupported(named, Platform("cuda", BULK_FROM)):
        return False
    if leading_shape(point.dims) or point.options["operands"] != "contiguous":
        return False
    m, n, k = (point.dims[d] for d in "mnk")
    if min(m, n) < TMA_LARGE or k < TMA_DEEP or m % TMA_TILE[0] or n % TMA_TILE[1] or k * size % TMA_TILE[2]:
        return False
    if size == 1 and scaling != "tensor":
        return scaling == "row" and not slow
    return size != 1 or slow or m * n < TMA_SLOWER_FP8


def parts(point: Point, cost: Cost) -> list[Part]:
    """One contraction; a shared right-hand side makes the leading dims rows."""
    m, n, k = (point.dims[d] for d in "mnk")
    leading = leading_shape(point.dims)
    batch = math.prod(leading)
    if point.options["rhs"] == "shared":
        leading, batch, m = (), 1, batch * m
    if m == n == 1:
        return [Stream(cost.bytes, cost.flops)]  # dot products: a reduction, which no library tiles
    return [Contraction(bool(leading), batch, m, n, k, PRECISIONS[point.precision].bytes, cost.bytes)]


def eager_allocates(point: Point) -> bool:
    """torch.matmul writes to a given tensor; torch._scaled_mm returns a new one."""
    return PRECISIONS[point.precision].bytes == 1


def triton_left_behind(point: Point) -> int:
    """Bytes of the operands that Triton's pointer kernel may first copy along k (choice.py): tf32 and fp8 that do not lie so."""
    if point.options["kernel"] in BULK_KERNELS or not (support.is_fp8(point.precision) or point.precision == "tf32"):
        return 0
    m, n, k = (point.dims[d] for d in "mnk")
    batch = math.prod(leading_shape(point.dims))
    columns = n * (batch if point.options["rhs"] == "batched" else 1)
    layout = point.options["layout"]
    return PRECISIONS[point.precision].bytes * k * (batch * m * (layout[0] == "t") + columns * (layout[1] == "n"))


OP = Op.define(
    "kernels.matmul",
    "matmul",
    "Multiplies matrices: C[…, m, n] = A[…, m, k] · B[…, k, n].",
    options=OPTIONS,
    dims_doc="A is m × k and B is k × n. Dims named b, b1, b2, …, batch or heads come first; over them the product is batched.",
    dims=dim_order,
    check=check,
    cost=cost,
    small=small,
    parts=parts,
    on_matrix_units=True,
    impls=(
        Impl("torch", "torch_impl:eager", torch_unsupported, eager_allocates),
        Impl("torch_compile", "torch_impl:compiled", torch_unsupported, always, compiled=True),
        Impl("torch_compile_autotune", "torch_impl:autotuned", torch_unsupported, always, compiled=True, on_request=True),
        Impl("triton", "triton_impl:build", triton_unsupported, language="triton", left_behind=triton_left_behind),
    ),
)

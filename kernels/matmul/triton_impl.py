"""matmul in Triton: launches one strided, batched kernel for every layout and precision, and lists it for `inspect`; the einsums use it.

The groups batch, m, n and k are any number of dims each (kernels/matmul/product.py), so layouts, leading dims and whole equations are
nothing but sizes and strides. Only tf32 and fp8 operands of matmul are copied, where that takes less time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import torch

from kernels.compilation import INTERPRETED, Compilation, describe, platform_of, sm_count_of
from kernels.matmul import along_k, bulk
from kernels.matmul.choice import choice_of, choose_for, choose_product
from kernels.matmul.configs import GROUP_M, Config, configs
from kernels.matmul.data import make_inputs
from kernels.matmul.pointer_kernels import add_parts_kernel, matmul_kernel
from kernels.matmul.product import Dim, Product, batched, size_of
from kernels.matmul.recipe import IMPRECISE_PRODUCTS, UNSCALED, Recipe, recipe_of
from kernels.matmul.spec import BULK_KERNELS, OP
from kernels.op import Inputs, Kernel, Point
from kernels.precisions import PRECISIONS

__all__ = ["bind", "build", "choose_for", "choose_product", "describe_point", "describe_product", "recipe_of"]

ADD_BLOCK = 1024  # elements of the result that one block of add_parts_kernel sums


def build(point: Point, inputs: Inputs) -> Kernel:
    """The product into `inputs.out`, with the config that is chosen for the point; the shapes are those of the tensors."""
    config, origin = choice_of(point, sm_count_of(inputs.out), platform_of(inputs.out))
    if config.kernel in BULK_KERNELS:
        return bulk.build(point, inputs)
    compiled: list[Any] = []
    run = bind_copied(inputs, point.precision, config, compiled, recipe_of(point))
    return Kernel(run, str(config), config_origin=origin, compiled=compiled)


def bind_copied(inputs: Inputs, precision: str, config: Config, compiled: list[Any], recipe: Recipe) -> Callable[[], torch.Tensor]:
    """A call that copies the config's `copied` operands along k, then writes the product to `inputs.out`, and returns it. The copies are
    made anew each time, into memory that is allocated here."""
    a, b, *scales = inputs.operands
    factors = copied_along_k(a, b, config)
    of_product: list[Any] = []
    p = product_of(*factors, inputs.out)
    multiply = bind(p, *factors, *scales, out=inputs.out, precision=precision, config=config, compiled=of_product, recipe=recipe)
    # B as its columns: (…, n, k).
    pairs = [pair for name, *pair in (("a", a, factors[0]), ("b", b.mT, factors[1].mT)) if name in config.copied]
    copies = [along_k.bind(operand, target) for operand, target in pairs]

    def run() -> torch.Tensor:
        ran = [copy() for copy in copies]
        result = multiply()
        compiled[:] = ran + of_product
        return result

    return run


def copied_along_k(a: torch.Tensor, b: torch.Tensor, config: Config) -> tuple[torch.Tensor, torch.Tensor]:
    """A and B, with memory for a copy in the place of each that the config copies."""
    return along_k.copied(a) if "a" in config.copied else a, along_k.copied(b.mT).mT if "b" in config.copied else b


def product_of(a: torch.Tensor, b: torch.Tensor, c: torch.Tensor) -> Product:
    """a (…, m, k) · b (…, k, n) = c (…, m, n) as sizes and strides; b's leading dims broadcast."""
    b = b.expand(*c.shape[:-2], *b.shape[-2:])
    return batched(c.shape, a.shape[-1], a.stride(), b.stride(), c.stride())


def bind(
    p: Product,
    a: torch.Tensor,
    b: torch.Tensor,
    scale_a: torch.Tensor | None = None,
    scale_b: torch.Tensor | None = None,
    *,
    out: torch.Tensor,
    precision: str,
    config: Config,
    compiled: list[Any],
    recipe: Recipe = UNSCALED,
) -> Callable[[], torch.Tensor]:
    """A call that writes the product to `out`, which is row-major, and returns it. Scales are fp32.

    Each call leaves in `compiled` the kernels that ran.
    """
    # The interpreter truncates to bf16 and drops the carry of a mantissa rounded up to fp8: there the kernel writes fp32, torch rounds.
    target = torch.empty(out.shape, device=out.device) if INTERPRETED else out
    written = torch.empty((config.split, *out.shape), device=out.device) if config.split > 1 else target
    tensors = arguments(p, a, b, written, config, scale_a, scale_b)
    settings = constants(p, precision, config, recipe)
    launch = matmul_kernel[(tiles(p, config) * size_of(p.batch) * config.split,)]
    add = add_parts_kernel[(math.ceil(out.numel() / ADD_BLOCK),)]

    def run() -> torch.Tensor:
        ran = [launch(**tensors, **settings, num_warps=config.warps, num_stages=config.stages, **config.compile_options)]
        if config.split > 1:
            ran.append(add(target, written, out.numel(), config.split, ADD_BLOCK))
        compiled[:] = ran
        return out.copy_(target) if INTERPRETED else out

    return run


def tiles(p: Product, config: Config) -> int:
    """Tiles of one product."""
    return math.ceil(size_of(p.m) / config.block_m) * math.ceil(size_of(p.n) / config.block_n)


def arguments(
    p: Product,
    a: torch.Tensor,
    b: torch.Tensor,
    c: torch.Tensor,
    config: Config,
    scale_a: torch.Tensor | None = None,
    scale_b: torch.Tensor | None = None,
) -> dict[str, Any]:
    """What the kernel is given, but for its constants. A group without dims is one of size 1."""
    batch, m, n, k = (group or (Dim(1),) for group in (p.batch, p.m, p.n, p.k))
    named: dict[str, Any] = {"a": a, "b": b, "c": c, "scale_a": scale_a, "scale_b": scale_b}
    named |= {name: tuple(d.size for d in group) for name, group in (("batch", batch), ("m", m), ("n", n), ("k", k))}
    named |= {"batch_a": tuple(d.a for d in batch), "batch_b": tuple(d.b for d in batch), "batch_c": tuple(d.c for d in batch)}
    named |= {"m_a": tuple(d.a for d in m), "m_c": tuple(d.c for d in m), "n_b": tuple(d.b for d in n), "n_c": tuple(d.c for d in n)}
    named |= {"k_a": tuple(d.a for d in k), "k_b": tuple(d.b for d in k)}
    named |= {"steps_a": steps(named["k"], named["k_a"], config.block_k), "steps_b": steps(named["k"], named["k_b"], config.block_k)}
    return named | {"split_c": c.numel() // config.split}


def steps(sizes: tuple[int, ...], strides: tuple[int, ...], block: int) -> tuple[int, ...]:
    """By how much an address moves where the counter of a dim advances: for the innermost `block` elements; for the others their stride,
    less the way that the dim inside has come."""
    moves = [block * strides[-1]]
    way = math.ceil(sizes[-1] / block) * moves[0]
    for size, stride in zip(reversed(sizes[:-1]), reversed(strides[:-1]), strict=True):
        moves.insert(0, stride - way)
        way = size * stride
    return tuple(moves)


def constants(p: Product, precision: str, config: Config, recipe: Recipe = UNSCALED) -> dict[str, Any]:
    """The kernel's compile-time arguments."""
    furthest = [sum((d.size - 1) * getattr(d, t) for d in (*p.m, *p.n, *p.k[-1:])) for t in ("a", "b", "c")]
    return {
        "BLOCK_M": config.block_m,
        "BLOCK_N": config.block_n,
        "BLOCK_K": config.block_k,
        "GROUP_M": GROUP_M,
        "SPLIT": config.split,
        "WIDE_A": p.wide_a,
        "WIDE_B": p.wide_b,
        "WIDE_C": p.wide_c,
        "FEW_ROWS": 2 * size_of(p.m) <= config.block_m,
        "EVEN_K": bool(p.k) and p.k[-1].size % config.block_k == 0,
        "INPUT_PRECISION": "ieee" if precision == "fp32" else "tf32",
        "SCALING": recipe.scaling,
        "IMPRECISE": min(IMPRECISE_PRODUCTS, config.block_k) if recipe.slow else None,
        # The interpreter multiplies bf16 as raw uint16. A product of two bf16 is exact in fp32, as in the tensor core, so this
        # changes nothing but the order of the sums.
        "UPCAST": INTERPRETED and precision == "bf16",
        "LONG": max(furthest) >= 2**31,
    }


ALIGNED = {"m": 4096, "n": 4096, "k": 4096}  # long enough that nothing is specialised away
EDGE = {"m": 127, "n": 129, "k": 4096}  # rows along k are aligned; the result's are not
RAGGED = {"m": 127, "n": 129, "k": 131}
RECIPES = (Recipe("row"), Recipe("row", slow=True), Recipe("block"))


def compilations() -> Iterator[Compilation]:
    """Every precision × shipped config × layout at an aligned shape; the configs of ragged shapes at one, in the usual layouts; fp8 recipes
    in layout nt; k split; operands that are copied along k.

    fp16 and fp8_e5m2 load ragged operands as bf16 and fp8_e4m3 do, so those stand for them.
    """
    capability = platform_of(torch.empty(1, device="meta")).capability
    for precision in PRECISIONS:
        for config in configs(precision, capability=capability):
            for layout in OP.options["layout"].choices:
                yield compilation(precision, config, ALIGNED, layout, layout)
        if precision in ("fp16", "fp8_e5m2"):
            continue
        yield compilation(precision, configs(precision, capability=capability)[0], EDGE, "nt", "edge_nt")
        for config in configs(precision, aligned=False, capability=capability):
            for layout in ("nn", "nt"):
                yield compilation(precision, config, RAGGED, layout, f"ragged_{layout}")
    for recipe in RECIPES:
        for config in configs("fp8_e4m3", scaling=recipe.scaling, slow=recipe.slow, capability=capability):
            yield compilation("fp8_e4m3", config, ALIGNED, "nt", "nt", recipe)
    for config in configs("fp8_e4m3", aligned=False, scaling="block", capability=capability):
        yield compilation("fp8_e4m3", config, RAGGED, "nt", "ragged_nt", Recipe("block"))
    smallest = configs("bf16", capability=capability)[-1]
    yield compilation("bf16", replace(smallest, split=4), {"m": 16, "n": 1024, "k": 4096}, "nt", "few_rows_nt")
    yield compilation("bf16", smallest, {"m": 1, "n": 8192, "k": 8192}, "nn", "one_row_nn")
    yield from copying_compilations()
    yield from bulk.compilations()


def copying_compilations() -> Iterator[Compilation]:
    """The products whose operands are copied along k, with the config of the rule, and the copy; none where the rule copies nothing."""
    for precision in ("tf32", "fp8_e4m3", "fp8_e5m2"):
        for layout in ("nn", "tn", "tt"):
            point = OP.point("triton", precision, ALIGNED, {"layout": layout})
            inputs = make_inputs(point, "meta", None)
            config = choose_for(point, sm_count_of(inputs.out), platform_of(inputs.out))
            if config.copied:
                yield describe_point(point, config, layout)
            if config.copied == "ab":
                yield along_k.describe_copy(inputs.operands[0], OP.name, precision, "copy_along_k")


def compilation(
    precision: str, config: Config, dims: dict[str, int], layout: str, variant: str, recipe: Recipe | None = None
) -> Compilation:
    """One shape and layout, by name, for `inspect`. recipe: of fp8, other than one scale a tensor and fast sums."""
    options = {"layout": layout}
    if recipe:
        options |= {"scaling": recipe.scaling, "accumulation": "slow" if recipe.slow else "fast"}
        variant += f"_{recipe.scaling}" + "_slow" * recipe.slow
    return describe_point(OP.point("triton", precision, dims, options), config, variant)


def describe_point(point: Point, config: Config, variant: str) -> Compilation:
    """The product that `build` would compile for a point with this config, under the name of a variant."""
    if config.kernel in BULK_KERNELS:
        return bulk.describe_point(point, config, variant)
    inputs = make_inputs(point, "meta", None)
    a, b, *scales = inputs.operands
    a, b = copied_along_k(a, b, config)
    p = product_of(a, b, inputs.out)
    return describe_product(OP.name, point.precision, config, variant, p, a, b, *scales, out=inputs.out, recipe=recipe_of(point))


def describe_product(
    op: str,
    precision: str,
    config: Config,
    variant: str,
    p: Product,
    a: torch.Tensor,
    b: torch.Tensor,
    *scales: torch.Tensor,
    out: torch.Tensor,
    recipe: Recipe = UNSCALED,
) -> Compilation:
    """What `bind` would compile for the product itself."""
    c = torch.empty((config.split, *out.shape), device="meta") if config.split > 1 else out
    tensors = arguments(p, a, b, c, config, *scales)
    settings = constants(p, precision, config, recipe)
    described = describe(matmul_kernel, tensors, settings, op, precision, variant, str(config), config.warps, config.stages, "dot")
    return replace(described, options=config.compile_options)

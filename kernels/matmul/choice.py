"""The config that a point of matmul runs with: that of the rule in configs.py, or one that was tuned for it. No torch here."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Literal

from kernels.matmul.configs import Config, bulk_configs, choose, choose_bulk, configs, split
from kernels.matmul.product import Product, is_along_k, size_of
from kernels.matmul.recipe import UNSCALED, Recipe, recipe_of
from kernels.matmul.spec import BULK_BYTES, BULK_FROM, BULK_KERNELS, OP, bulk_unsupported, folded, leading_shape, product, tma_is_faster
from kernels.op import Point
from kernels.precisions import PRECISIONS
from kernels.support import Platform, is_fp8

Origin = Literal["rule", "tuned"]
# Precision, dims, and every option but the values of the inputs: the time of a config depends on nothing else of a point.
Case = tuple[str, tuple[tuple[str, int], ...], tuple[tuple[str, str], ...]]
BUILD = "kernels.matmul.triton_impl:build"  # the implementation that asks here; one of somebody's own does not
HOPPER = Platform("cuda", BULK_FROM)
READERS = 2  # tiles that read an element, from which copying it once along k is less work than turning it in each of them

_tuned: dict[Case, str] = {}  # the name of the config of each case


def use(choices: Mapping[Case, str]) -> None:
    """Replaces the tuned choices of this process by these: names of configs by case. Without any, the rule chooses."""
    _tuned.clear()
    _tuned.update(choices)


def is_tunable(point: Point) -> bool:
    """Whether a point runs with a config that is chosen here."""
    impl = OP.impls.get(point.impl) if point.op == OP.name else None
    return impl is not None and impl.build == BUILD


def case_of(point: Point) -> Case:
    """Returns what a choice belongs to."""
    return point.precision, tuple(point.dims.items()), choosing_options(point.options)


def choosing_options(options: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Returns the options that a choice depends on, in alphabetical order."""
    return tuple(sorted((name, value) for name, value in options.items() if name != "data"))


def choose_for(point: Point, sm_count: int, platform: Platform = HOPPER) -> Config:
    """The config of a point on a GPU with so many SMs, from its dims and the tuned choices alone."""
    return choice_of(point, sm_count, platform)[0]


def choice_of(point: Point, sm_count: int, platform: Platform = HOPPER) -> tuple[Config, Origin]:
    """Returns the config of a point, and where it is from. A tuned name that is not a candidate's is not used."""
    name = _tuned.get(case_of(point))
    found = next((config for config in candidates(point, sm_count, platform) if str(config) == name), None) if name else None
    return (found, "tuned") if found else (rule(point, sm_count, platform), "rule")


def rule(point: Point, sm_count: int, platform: Platform = HOPPER) -> Config:
    """The config of a point by the rule of its kernel; with `auto` that of `tma` where it was measured to be faster."""
    kernel = point.options["kernel"]
    if kernel == "auto" and platform.capability == BULK_FROM and tma_is_faster(point):
        kernel = "tma"
    if kernel not in BULK_KERNELS:
        copied = copied_by_rule(point, sm_count, platform)
        config = choose_product(product(point, copied), point.precision, sm_count, recipe_of(point), platform.capability)
        return replace(config, copied=copied)
    batch, m = folded(point.options, leading_shape(point.dims), point.dims["m"])
    small, case = small_only(point), bulk_case(point)
    return choose_bulk(kernel, point.precision, m, point.dims["n"], batch, sm_count, small, platform.capability, **case)


def choose_product(
    p: Product, precision: str, sm_count: int, recipe: Recipe = UNSCALED, capability: tuple[int, int] = HOPPER.capability
) -> Config:
    """The config of a product on a GPU with so many SMs. k is split among blocks only where it is one dim."""
    sizes = size_of(p.m), size_of(p.n), size_of(p.k) if len(p.k) < 2 else 0, size_of(p.batch)
    return choose(precision, *sizes, p.vectors, sm_count, recipe.scaling, recipe.slow, capability, len(p.k))


def copied_by_rule(point: Point, sm_count: int, platform: Platform = HOPPER) -> str:
    """The operands that are first copied so that they are contiguous along k: those that matrix units cannot read as they lie, where
    several tiles read each element. None where loads would not be 128 bits wide afterwards."""
    turned = turned_operands(point, platform)
    p = product(point, turned)
    if not turned or not p.vectors:
        return ""
    config = choose_product(p, point.precision, sm_count, recipe_of(point), platform.capability)
    readers = {"a": math.ceil(size_of(p.n) / config.block_n), "b": math.ceil(size_of(p.m) / config.block_m)}
    copied = "".join(operand for operand in turned if readers[operand] >= READERS)
    return copied if product(point, copied).vectors else ""


def turned_operands(point: Point, platform: Platform = HOPPER) -> str:
    """The operands ("a", "b" or "ab") whose tiles are turned in registers, or loaded 32 bits at a time, since they are not contiguous along
    k: fp8 on Hopper, tf32 on Hopper and Blackwell, as their machine code shows. Those units read 16-bit operands either way."""
    majors = (9,) if is_fp8(point.precision) else (9, 10) if point.precision == "tf32" else ()
    if platform.capability[0] not in majors:
        return ""
    p = product(point)
    return "a" * (not is_along_k(p, "a")) + "b" * (not is_along_k(p, "b"))


def candidates(point: Point, sm_count: int, platform: Platform = HOPPER) -> list[Config]:
    """The shipped configs that could run a point: of the kernel that it names, or with `auto` of every kernel that takes it there."""
    asked = point.options["kernel"]
    found = [] if asked in BULK_KERNELS else list(_pointer_candidates(point, sm_count, platform))
    for kernel in BULK_KERNELS if asked == "auto" else [asked] if asked in BULK_KERNELS else []:
        named = replace(point, options={**point.options, "kernel": kernel})
        if bulk_unsupported(named, platform) is None:
            found += _bulk_candidates(named, platform)
    return found


def _pointer_candidates(point: Point, sm_count: int, platform: Platform) -> Iterable[Config]:
    """Each config as it is and, where the rule would split k for it, split; where the rule copies operands, also with these copies."""
    recipe = recipe_of(point)
    for copied in dict.fromkeys(("", copied_by_rule(point, sm_count, platform))):
        p = product(point, copied)
        sizes = size_of(p.m), size_of(p.n), size_of(p.k), size_of(p.batch)
        for config in configs(point.precision, p.vectors, recipe.scaling, recipe.slow, platform.capability):
            yield replace(config, copied=copied)
            if (parts := split(config, point.precision, *sizes, sm_count)) > 1:
                yield replace(config, split=parts, copied=copied)


def _bulk_candidates(point: Point, platform: Platform) -> Iterable[Config]:
    """Several warp-specialised products at once are cut into whole tiles only."""
    kernel, n = point.options["kernel"], point.dims["n"]
    batch, m = folded(point.options, leading_shape(point.dims), point.dims["m"])
    whole = kernel == "warp_specialized" and batch > 1
    shipped = bulk_configs(kernel, point.precision, small_only(point), platform.capability, **bulk_case(point))
    return [c for c in shipped if not whole or not (m % c.block_m or n % c.block_n)]


def busiest_flops(point: Point, config: Config, sm_count: int) -> float:
    """FLOPs of the SM that computes most, at least: whole tiles along m, n and k, dealt as evenly as blocks go."""
    p = product(point)
    m, batch = size_of(p.m), size_of(p.batch)
    if config.kernel in BULK_KERNELS:
        batch, m = folded(point.options, leading_shape(point.dims), point.dims["m"])
    tiles = batch * math.ceil(m / config.block_m) * math.ceil(size_of(p.n) / config.block_n)
    step = 2 * config.block_m * config.block_n * config.block_k
    steps = math.ceil(size_of(p.k) / config.block_k)
    if config.split == 1:
        return math.ceil(tiles / sm_count) * steps * step
    return max(math.ceil(steps / config.split), tiles * steps / sm_count) * step  # the last part of k may be shorter


def small_only(point: Point) -> bool:
    """Whether only the small tiles of a kernel that copies in bulk have registers enough."""
    recipe = recipe_of(point)
    return recipe.slow or recipe.scaling == "block" or not bulk_rows(point)


def bulk_case(point: Point) -> dict[str, bool]:
    """The arguments `rows` and `addresses` of bulk_configs, which decide which tiles have registers enough on Blackwell."""
    scaling = recipe_of(point).scaling
    return {"rows": scaling == "row", "addresses": scaling == "block" or not bulk_rows(point)}


def bulk_rows(point: Point) -> bool:
    """Whether bulk copies can write the rows of the result."""
    return point.dims["n"] * PRECISIONS[PRECISIONS[point.precision].matmul_out].bytes % BULK_BYTES == 0

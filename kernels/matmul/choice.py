"""The config that a point of matmul runs with: that of the rule in configs.py, or one that was tuned for it. No torch here."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Literal

from kernels.matmul.configs import Config, bulk_configs, choose, choose_bulk, configs, split
from kernels.matmul.product import Product, is_along_k, size_of
from kernels.matmul.recipe import UNSCALED, Recipe, recipe_of
from kernels.matmul.spec import BULK_BYTES, BULK_KERNELS, OP, bulk_unsupported, folded, leading_shape, product
from kernels.op import Point
from kernels.precisions import PRECISIONS
from kernels.support import Chip, Platform, is_fp8

Origin = Literal["rule", "tuned"]
# Precision, dims, and every option but the values of the inputs: the time of a config depends on nothing else of a point.
Case = tuple[str, tuple[tuple[str, int], ...], tuple[tuple[str, str], ...]]
BUILD = "kernels.matmul.triton_impl:build"  # the implementation that asks here; one of somebody's own does not
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


def choose_for(point: Point, chip: Chip) -> Config:
    """The config of a point on a GPU, from its dims and the tuned choices alone."""
    return choice_of(point, chip)[0]


def choice_of(point: Point, chip: Chip) -> tuple[Config, Origin]:
    """Returns the config of a point, and where it is from. A tuned name that is not a candidate's is not used."""
    name = _tuned.get(case_of(point))
    found = next((config for config in candidates(point, chip) if str(config) == name), None) if name else None
    return (found, "tuned") if found else (rule(point, chip), "rule")


def rule(point: Point, chip: Chip) -> Config:
    """The config of a point by the rule of its kernel."""
    kernel = point.options["kernel"]
    if kernel in BULK_KERNELS:
        batch, m = folded(point.options, leading_shape(point.dims), point.dims["m"])
        return choose_bulk(kernel, shipped_in_bulk(point, chip), m, point.dims["n"], batch, chip.sm_count)
    copied = copied_by_rule(point, chip)
    return replace(choose_product(product(point, copied), point.precision, chip, recipe_of(point)), copied=copied)


def choose_product(p: Product, precision: str, chip: Chip, recipe: Recipe = UNSCALED) -> Config:
    """The config of a product on a GPU. k is split among blocks only where it is one dim."""
    shipped = configs(precision, chip, p.vectors, recipe.scaling, recipe.slow, len(p.k))
    return choose(shipped, precision, size_of(p.m), size_of(p.n), size_of(p.k) if len(p.k) < 2 else 0, size_of(p.batch), chip.sm_count)


def copied_by_rule(point: Point, chip: Chip) -> str:
    """The operands that are first copied so that they are contiguous along k: those that matrix units cannot read as they lie, where
    several tiles read each element. None where loads would not be 128 bits wide afterwards."""
    turned = turned_operands(point, chip)
    p = product(point, turned)
    if not turned or not p.vectors:
        return ""
    config = choose_product(p, point.precision, chip, recipe_of(point))
    readers = {"a": math.ceil(size_of(p.n) / config.block_n), "b": math.ceil(size_of(p.m) / config.block_m)}
    copied = "".join(operand for operand in turned if readers[operand] >= READERS)
    return copied if product(point, copied).vectors else ""


def turned_operands(point: Point, chip: Chip) -> str:
    """The operands ("a", "b" or "ab") whose tiles are turned in registers, or loaded 32 bits at a time, since they are not contiguous along
    k: fp8 on Hopper, tf32 on Hopper and Blackwell, as their machine code shows. Those units read 16-bit operands either way."""
    majors = (9,) if is_fp8(point.precision) else (9, 10) if point.precision == "tf32" else ()
    if chip.capability[0] not in majors:
        return ""
    p = product(point)
    return "".join(operand for operand in ("a", "b") if not is_along_k(p, operand))


def candidates(point: Point, chip: Chip) -> list[Config]:
    """The shipped configs that could run a point: of the kernel that it names, or with `auto` of every kernel that takes it there."""
    asked, platform = point.options["kernel"], Platform("cuda", chip.capability)
    found = [] if asked in BULK_KERNELS else list(_pointer_candidates(point, chip))
    for kernel in BULK_KERNELS if asked == "auto" else [asked] if asked in BULK_KERNELS else []:
        named = replace(point, options={**point.options, "kernel": kernel})
        if bulk_unsupported(named, platform) is None:
            found += _bulk_candidates(named, chip)
    return found


def _pointer_candidates(point: Point, chip: Chip) -> Iterable[Config]:
    """Each config as it is and, where the rule would split k for it, split; where the rule copies operands, also with these copies."""
    recipe = recipe_of(point)
    for copied in dict.fromkeys(("", copied_by_rule(point, chip))):
        p = product(point, copied)
        sizes = size_of(p.m), size_of(p.n), size_of(p.k), size_of(p.batch)
        for config in configs(point.precision, chip, p.vectors, recipe.scaling, recipe.slow):
            yield replace(config, copied=copied)
            if (parts := split(config, point.precision, *sizes, chip.sm_count)) > 1:
                yield replace(config, split=parts, copied=copied)


def _bulk_candidates(point: Point, chip: Chip) -> Iterable[Config]:
    """Several warp-specialised products at once are cut into whole tiles only."""
    kernel, n = point.options["kernel"], point.dims["n"]
    batch, m = folded(point.options, leading_shape(point.dims), point.dims["m"])
    whole = kernel == "warp_specialized" and batch > 1
    return [c for c in shipped_in_bulk(point, chip) if not whole or not (m % c.block_m or n % c.block_n)]


def shipped_in_bulk(point: Point, chip: Chip) -> tuple[Config, ...]:
    """The configs of the kernel that a point names, which copies in bulk."""
    recipe = recipe_of(point)
    return bulk_configs(point.options["kernel"], point.precision, chip, recipe.slow, recipe.scaling == "row", not bulk_rows(point))


def bulk_rows(point: Point) -> bool:
    """Whether bulk copies can write the rows of the result."""
    return point.dims["n"] * PRECISIONS[PRECISIONS[point.precision].matmul_out].bytes % BULK_BYTES == 0

"""Records what the matmul functions of a checkout's tutorials launch, and compiles it with the rules of `inspect`."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from kernels.ahead_of_time import examine_all
from kernels.compilation import Compilation, compiling_for
from kernels.gpus import Gpu
from kernels.inspect_report import record
from kernels.launches import recorded_launches
from kernels.matmul import bulk, triton_impl
from kernels.matmul.configs import bulk_configs, configs
from kernels.record_cache import Record
from studies.tutorials.stand_in import importable, stand_in

TUTORIALS = {"tutorial_03": "03-matrix-multiplication.py", "tutorial_09": "09-persistent-matmul.py"}
TILE = {"BLOCK_SIZE_M": 128, "BLOCK_SIZE_N": 256, "BLOCK_SIZE_K": 64}  # this suite's largest in 16 bits
WARPS = 8  # with half as many, the tutorials' tiles of this size spill
SIZE = 4096
PRECISION = "fp16"  # which the tutorials write


def load(name: str, file: Path, folder: Path, gpu: Gpu) -> ModuleType:
    """A tutorial's definitions as a module, from a copy in `folder` that ends where the tutorial starts to compute. Raises whatever the
    tutorial raises."""
    copy = folder / f"{name}.py"
    copy.write_text(importable(file.read_text(encoding="utf-8"), gpu.compute_capability, gpu.sm_count), encoding="utf-8")
    spec = spec_from_file_location(name, copy)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def products(module: ModuleType) -> Iterator[tuple[str, Callable[..., Any]]]:
    """The functions of a tutorial that multiply two matrices, by name."""
    for name, function in vars(module).items():
        own_function = inspect.isfunction(function) and function.__module__ == module.__name__ and name.startswith("matmul")
        if own_function and list(inspect.signature(function).parameters)[:2] == ["a", "b"]:
            yield name, function


def launches(name: str, function: Callable[..., Any]) -> list[Compilation]:
    """What a function launches for A (m, k) and B, stored (n, k), with tiles of TILE. Raises what the function raises."""
    a, b = (torch.empty((SIZE, SIZE), dtype=torch.float16) for _ in range(2))
    along_k = "tma" in name or "descriptor" in name  # these take B as it is stored
    others = list(inspect.signature(function).parameters.values())[2:]
    given = {one.name: False for one in others if one.default is one.empty}  # warp_specialize
    found = recorded_launches(lambda: function(a, b if along_k else b.T, **given))
    kept = [one for one in found if one.num_warps == WARPS and TILE.items() <= one.constexprs.items()]
    return [replace(one, op="matmul", precision=PRECISION, variant=name, config=short(one.config)) for one in kept]


def short(config: str) -> str:
    """What of a config's name differs between launches of one tile: "w8 s3", with further compile-time arguments."""
    return " ".join(part for part in config.split() if not part.startswith(("BLOCK_SIZE_", "GROUP_SIZE_")))


def own(gpu: Gpu) -> list[Compilation]:
    """This suite's kernels at the same size, with the largest tile of each."""
    on = gpu.compute_capability
    with compiling_for(gpu):
        found = [triton_impl.compilation(PRECISION, configs(PRECISION, capability=on)[0], triton_impl.ALIGNED, "nt", "nt")]
        if on >= (9, 0):
            for kernel in ("tma", "warp_specialized"):
                config = bulk_configs(kernel, PRECISION, capability=on)[0]
                found.append(bulk.compilation(PRECISION, config, bulk.ALIGNED, "nt", "nt"))
    return [replace(one, impl="this suite") for one in found]


def results(checkout: Path, folder: Path, gpu: Gpu, jobs: int) -> tuple[list[Record], list[str]]:
    """The record of each kernel, the tutorials' first, and a line for each tutorial or function that could not be recorded."""
    found: list[Compilation] = []
    failures = []
    stand_in(gpu.compute_capability, gpu.sm_count)
    for tutorial, file in TUTORIALS.items():
        path = checkout / "python" / "tutorials" / file
        try:
            module = load(tutorial, path, folder, gpu)
        except Exception as error:  # of the checkout's own code
            failures.append(failure(str(path), error))
            continue
        for name, function in products(module):
            try:
                found += [replace(one, impl=tutorial) for one in launches(name, function)]
            except Exception as error:
                failures.append(failure(f"{path}: {name}", error))
    return list(map(record, examine_all([*found, *own(gpu)], gpu, jobs))), failures


def failure(place: str, error: Exception) -> str:
    """One line: where, and what was raised."""
    return f"{place}: {type(error).__name__}: {str(error).partition(chr(10))[0]}"

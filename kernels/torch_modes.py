"""Process-wide PyTorch switches that decide what a precision means. Set before every gate and timing, since they are global."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import torch

from kernels.op import Point


def set_precision_mode(precision: str) -> None:
    """fp32 is IEEE and tf32 is TF32, on every device; 16-bit products accumulate and reduce in fp32."""
    # Not by the newer fp32_precision attributes: once they are set, older Inductors' reads of the legacy ones raise an error.
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")
    # Split-K in 16 bits is faster and wrong by more than fp32 accumulation allows.
    torch.backends.cuda.matmul.allow_bf16_reduced_precision_reduction = False
    torch.backends.cuda.matmul.allow_fp16_reduced_precision_reduction = False
    torch.backends.cuda.matmul.allow_fp16_accumulation = False


# What Inductor would choose by its own short timings at the first launch, and could choose otherwise on another night: each kernel gets
# the one configuration that its heuristics name. It still times whether to pad the operands of ragged products, which shows in
# `kernel_configs` as one more kernel an operand.
PINNED: dict[str, Any] = {
    "triton.autotune_pointwise": False,
    "test_configs.force_filter_reduction_configs": True,
    "dynamic_scale_rblock": False,  # no further candidates of a reduction whose registers keep a GPU's SMs half empty
}

_compiled: dict[str, Callable[..., torch.Tensor]] = {}  # of the last point


def pinned() -> dict[str, Any]:
    """Those of PINNED that this PyTorch has."""
    from torch._inductor import list_options

    known = set(list_options())
    return {name: value for name, value in PINNED.items() if name in known}


def autotuning() -> dict[str, Any]:
    """The options of torch.compile's mode max-autotune-no-cudagraphs: Inductor times every candidate, its own templates and cuBLAS."""
    from torch._inductor import list_mode_options

    return dict(list_mode_options("max-autotune-no-cudagraphs"))


def compile_for(
    point: Point, function: Callable[..., torch.Tensor], options: Callable[[], dict[str, Any]] = pinned
) -> Callable[..., torch.Tensor]:
    """torch.compile of one point's function of its operands, static shapes, nothing left of earlier points; again for its other buffers.

    All points of an op share a code object; without the reset the ninth shape meets Dynamo's recompile limit and runs eagerly, unsaid.
    """
    if point.id not in _compiled:
        from torch._inductor.codecache import PyCodeCache

        torch.compiler.reset()
        PyCodeCache.cache_clear()  # so that `kernel_configs` finds the modules of this point alone
        _compiled.clear()
        _compiled[point.id] = torch.compile(function, dynamic=False, fullgraph=True, options=options())
    return _compiled[point.id]


def kernel_configs() -> str | None:
    """What the Triton kernels that Inductor made for the last point run with, forward and backward; None before a launch and on a CPU."""
    from torch._inductor.codecache import PyCodeCache
    from torch._inductor.runtime.triton_heuristics import CachingAutotuner

    modules = [m for m in PyCodeCache.modules if hasattr(m, "call")]  # others hold a kernel each, once more
    kernels = [k for m in modules for k in vars(m).values() if isinstance(k, CachingAutotuner) and len(k.launchers) == 1]
    ran = [k.launchers[0].config for k in kernels]
    return describe_configs((c.kwargs, c.num_warps, c.num_stages) for c in ran)


def autotuned_configs() -> str | None:
    """What Inductor chose for the last point, and what its further kernels run with: "extern_kernels.mm", "triton_tem_fused_mm
    128x128x32 w8 s3". None before a launch, and on a CPU where it wrote code of its own."""
    from torch._inductor.codecache import PyCodeCache

    sources = [Path(m.__file__).read_text(encoding="utf-8") for m in PyCodeCache.modules if hasattr(m, "call") and m.__file__]
    return "; ".join(filter(None, (chosen_kernels("\n".join(sources)), kernel_configs()))) or None


EXTERN = re.compile(r"(?<!\w)(extern_kernels\.\w+|aten\.\w+(?:\.\w+)?)\(")
TEMPLATE = re.compile(r"async_compile\.triton\('(triton_tem_\w+?)(?:_\d+)?', '{3}(.*?)'{3}", re.DOTALL)


def chosen_kernels(source: str) -> str:
    """The library calls and the templates in the code that Inductor wrote, each once, a template with its tile, warps and stages."""
    found = [name for name in EXTERN.findall(source) if not name.endswith("_strided")]
    for name, body in TEMPLATE.findall(source):
        tile = "x".join(size[1] for axis in "MNK" if (size := re.search(rf"\bBLOCK_{axis} *: *tl\.constexpr *= *(\d+)", body)))
        settings = [
            f"{letter}{value[1]}"
            for letter, key in (("w", "num_warps"), ("s", "num_stages"))
            if (value := re.search(rf"\b{key}=(\d+)", body))
        ]
        found.append(" ".join(filter(None, (name, tile, *settings))))
    return " + ".join(dict.fromkeys(found))


def with_kernel_configs(text: str) -> str:
    """What a config tells already, and `kernel_configs`."""
    return "; ".join(filter(None, (text, kernel_configs())))


def describe_configs(configs: Iterable[tuple[Mapping[str, Any], int, int]]) -> str | None:
    """Blocks, warps and, where there is more than one, stages of (arguments, warps, stages), each with the number of kernels that share it,
    in the order of their first: "1024 w4 ×2 + 1x2048 w16"."""
    texts = Counter(
        "x".join(str(size) for name, size in arguments.items() if name.endswith("BLOCK"))
        + f" w{warps}"
        + (f" s{stages}" if stages > 1 else "")
        for arguments, warps, stages in configs
    )
    return " + ".join(text.strip() + (f" ×{count}" if count > 1 else "") for text, count in texts.items()) or None

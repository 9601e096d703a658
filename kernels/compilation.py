"""What both ways of running a Triton kernel share: launching it, and describing it so that `inspect` can compile it without a GPU."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Literal, NamedTuple

import torch
import triton
import yaml
from triton.runtime.interpreter import InterpretedFunction
from triton.runtime.jit import JITFunction
from triton.tools.tensor_descriptor import TensorDescriptor

from kernels.gpus import DEFAULT_GPU, GPU_DIR, Gpu
from kernels.precisions import PRECISIONS
from kernels.support import Platform

INTERPRETED = bool(triton.knobs.runtime.interpret)  # read when triton decorates a kernel, so once, at import
INTEGERS = {torch.int8: "i8", torch.int16: "i16", torch.int32: "i32", torch.int64: "i64"}
POINTEES = INTEGERS | {getattr(torch, p.torch_dtype): p.triton_dtype for p in PRECISIONS.values()}
ALIGNMENT = 16  # Triton specialises on multiples of 16: elements of a size or stride, bytes of a pointer


_target: ContextVar[Gpu | None] = ContextVar("target", default=None)


@contextmanager
def compiling_for(gpu: Gpu | None) -> Iterator[None]:
    """Inside the `with` block, `sm_count_of` and `platform_of` return those of this GPU (None: the default one) for tensors elsewhere."""
    token = _target.set(gpu)
    try:
        yield
    finally:
        _target.reset(token)


def sm_count_of(tensor: torch.Tensor) -> int:
    """The number of streaming multiprocessors (SMs) of the GPU that holds a tensor. For a tensor that is not on a GPU (interpreter, fake
    tensor, meta device): that of the GPU that is compiled for, or of the default one."""
    if _on_a_board(tensor):
        return torch.cuda.get_device_properties(tensor.device).multi_processor_count
    target = _target.get()
    return target.sm_count if target else int(_default_gpu()["sm_count"])


def platform_of(tensor: torch.Tensor) -> Platform:
    """The kind and compute capability of the GPU that holds a tensor; of others those of the same GPU as in `sm_count_of`."""
    if _on_a_board(tensor):
        return Platform("cuda", torch.cuda.get_device_capability(tensor.device))
    target = _target.get()
    major, minor = target.compute_capability if target else _default_gpu()["compute_capability"]
    return Platform("cuda", (major, minor))


def _on_a_board(tensor: torch.Tensor) -> bool:
    return tensor.is_cuda and type(tensor) is torch.Tensor  # a fake tensor's type differs


@cache
def _default_gpu() -> dict[str, Any]:
    """The default GPU's file. load_gpu is not used: the hash of a kernel's source (kernels/fingerprint.py) covers all that its build calls,
    and the checks of GPU files are not part of a kernel."""
    return yaml.safe_load((GPU_DIR / f"{DEFAULT_GPU}.yaml").read_text(encoding="utf-8"))


Argument = str | tuple[int, ...]  # of a kernel: its name; inside a tuple, the indices that lead to it


Expectation = Literal["dot", "wide", "wide_stores", "any", "recorded"]  # of a compilation's machine code


class Function(NamedTuple):
    """The name of a function that a kernel takes, jitted, as a compile-time argument: "package.module:function"."""

    name: str


@dataclass(frozen=True)
class Compilation:
    """One specialisation of a kernel, as plain data: what Triton's launcher would compile for one class of arguments."""

    op: str
    precision: str
    variant: str  # class of arguments: a layout, "ragged_nt", a function
    config: str  # as in Kernel.config: "128x256x64 w8 s3"
    kernel: str  # "package.module:function"
    signature: Mapping[str, Any]  # argument → Triton type, "constexpr" for the specialised ones, in the kernel's order
    constexprs: Mapping[Argument, Any]  # numbers, strings, None, Function
    aligned: tuple[Argument, ...]  # arguments known to be multiples of 16
    num_warps: int
    num_stages: int
    # The precision's multiply instruction, 128-bit loads, 128-bit stores, nothing of the machine code, or matrix instructions wherever
    # `tl.dot` is called.
    expects: Expectation
    impl: str = ""  # the implementation that the kernel belongs to; filled in by `inspect`
    options: Mapping[str, Any] = field(default_factory=dict)  # further compile options: num_ctas, maxnreg
    file: str = ""  # that holds the kernel, where no module of this name may be on the path
    problem: str = ""  # why no other process can compile it
    since: tuple[int, int] = (0, 0)  # the first compute capability on which runs launch it

    @property
    def id(self) -> str:
        return f"{self.op}-{self.impl}-{self.precision}-{self.variant}-{self.config.replace(' ', '-')}"


def describe(
    kernel: Any,
    arguments: Mapping[str, Any],
    constants: Mapping[str, Any],
    op: str,
    precision: str,
    variant: str,
    config: str,
    num_warps: int,
    num_stages: int,
    expects: Expectation,
) -> Compilation:
    """The compilation of `kernel` for these arguments; constants are its constexpr parameters."""
    signature, constexprs, aligned = specialise(arguments, constants)
    ordered = {name: signature[name] for name in kernel.arg_names}

    def path(key: Any) -> Argument:
        return key if isinstance(key, str) else (kernel.arg_names.index(key[0]), key[1])

    plain = {path(k): Function(address(v.fn)) if hasattr(v, "arg_names") else v for k, v in constexprs.items()}
    addressed = tuple(map(path, aligned))
    return Compilation(op, precision, variant, config, address(kernel.fn), ordered, plain, addressed, num_warps, num_stages, expects)


def address(function: Any) -> str:
    """ "package.module:function", by which another process finds it."""
    return f"{function.__module__}:{function.__qualname__}"


def innermost(kernel: Any) -> Any:
    """The jitted function, or the plain one, under autotuners, heuristics and other wrappers."""
    while not isinstance(kernel, JITFunction | InterpretedFunction) and hasattr(kernel, "fn"):
        kernel = kernel.fn
    return kernel


def specialise(arguments: Mapping[str, Any], constants: Mapping[str, Any]) -> tuple[dict[str, Any], dict[Any, Any], tuple[Any, ...]]:
    """Signature, constexprs and alignments as Triton's launcher derives them: 1 and None become constants, int32 where it fits. An item
    of a tuple goes by (argument, its index).

    Tensors may be on the meta device: torch aligns what it allocates to 16 bytes at least, so their pointers count as aligned.
    """
    constexprs: dict[Any, Any] = dict(constants)
    aligned: list[Any] = []

    def kind(key: Any, value: Any) -> Any:
        if isinstance(value, tuple):
            return tuple(kind((key, i), item) for i, item in enumerate(value))
        if value is None or (isinstance(value, int) and value == 1):
            constexprs[key] = value
            return "constexpr"
        if isinstance(value, TensorDescriptor):
            return f"tensordesc<{POINTEES[value.base.dtype]}{list(value.block_shape)}>"
        if isinstance(value, torch.Tensor):
            aligned.append(key)
            return f"*{POINTEES[value.dtype]}"
        if isinstance(value, float):
            return "fp32"
        if value % ALIGNMENT == 0:
            aligned.append(key)
        return "i32" if -(2**31) <= value < 2**31 else "i64"

    signature = {name: kind(name, value) for name, value in arguments.items()}
    return signature | dict.fromkeys(constants, "constexpr"), constexprs, tuple(aligned)

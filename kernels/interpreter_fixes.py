"""Corrects Triton's interpreter where it computes something else than compiled code does, so that a right kernel is right on a CPU.

Found in 3.6.0 and 3.7.1, whose interpreter holds bf16 numbers as 16-bit integers:

- bf16 operands of `tl.dot`, of arithmetic, comparisons, sums, scans and atomic sums are taken as those integers. Here they are widened to
  fp32, and a bf16 result is rounded once.
- A conversion to bf16 truncates, and one to fp8 loses the carry of a mantissa that is rounded up. Here PyTorch rounds to nearest, ties to
  even, and fp8 saturates, as the instruction `cvt.rn.satfinite` does (PTX ISA, "cvt").
- A Python float that a kernel is given stays a Python float, without `.to` and with 64 bits. Here it is an fp32 scalar, as the compiler
  makes it. A truth value, which is refused, is one bit.
- Functions of libdevice (`rsqrt`, `tanh`) give None, or an error. Here those that PyTorch has as well are PyTorch's.
- 3.6.0 makes no Python integer of a scalar, as the bound of a loop is, under NumPy 2.4. Here it does.
- `triton.autotune` asks for a GPU's timer. Here the first configuration is taken, and nothing is timed.

It also takes most of its time for what changes no result, which is left out here: the language is put into its interpreted form again at
every call of a function in a kernel, sums and products of integers are taken twice for a check for overflow that has no effect unless the
option `debug` is on, a table of NumPy's types is made for each one that is looked up, the shape of each block is checked, named and wrapped
again, and fp8 operands of `tl.dot` are converted bit by bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import torch
import triton.language as tl
from triton.runtime import interpreter
from triton.runtime.autotuner import Autotuner

Handle = Any  # triton.runtime.interpreter.TensorHandle: `data`, a NumPy array, and `dtype`, Triton's type
TORCH = {
    tl.float16: torch.float16,
    tl.bfloat16: torch.bfloat16,
    tl.float32: torch.float32,
    tl.float64: torch.float64,
    tl.float8e4nv: torch.float8_e4m3fn,
    tl.float8e5: torch.float8_e5m2,
}
FP8 = (tl.float8e4nv, tl.float8e5)
STUBS = "triton.language.extra.libdevice"  # what kernels import; the compiler puts the functions of the GPU's own module in their place
SAME_NAMES = (  # in libdevice and in PyTorch
    *(
        "acos",
        "acosh",
        "asin",
        "asinh",
        "atan",
        "atan2",
        "atanh",
        "ceil",
        "copysign",
        "cos",
        "cosh",
        "erf",
        "erfc",
        "erfinv",
        "exp",
        "exp2",
    ),
    *("expm1", "floor", "fmod", "hypot", "lgamma", "log", "log10", "log1p", "log2", "nextafter", "pow", "rsqrt", "sin", "sinh", "sqrt"),
    *("tan", "tanh", "trunc"),
)
LIBDEVICE: dict[str, Callable[..., torch.Tensor]] = {
    **{name: getattr(torch, name) for name in SAME_NAMES},
    **{f"fast_{name}": getattr(torch, name) for name in ("cos", "exp", "log", "log10", "log2", "pow", "sin", "tan")},
    "fabs": torch.abs,
    "rint": torch.round,  # ties to even
    "nearbyint": torch.round,
}


def convert(data: np.ndarray, source: tl.dtype, target: tl.dtype) -> np.ndarray:
    """The same numbers in another floating-point format, rounded to nearest, ties to even. Formats: the keys of TORCH; bf16 and fp8 lie in
    unsigned integers of their size."""
    numbers = torch.from_numpy(np.array(data)).view(TORCH[source])
    if target in FP8:
        largest = torch.finfo(TORCH[target]).max
        numbers = numbers.to(torch.float32).clamp(-largest, largest)
    rounded = numbers.to(TORCH[target])
    return (rounded.view(torch.uint16) if target == tl.bfloat16 else rounded.view(torch.uint8) if target in FP8 else rounded).numpy()


def is_bf16(value: Handle) -> bool:
    """Whether a handle holds bf16 numbers; what a comparison of them gives does not, although its type says so."""
    return value.dtype.scalar == tl.bfloat16 and value.data.dtype == np.uint16


def widened(value: Handle) -> Handle:
    """bf16 as fp32, exactly; anything else as it is."""
    return interpreter.TensorHandle(convert(value.data, tl.bfloat16, tl.float32), tl.float32) if is_bf16(value) else value


def narrowed(value: Handle) -> Handle:
    """fp32 rounded to bf16."""
    return interpreter.TensorHandle(convert(value.data, tl.float32, tl.bfloat16), tl.bfloat16)


def fix_interpreter() -> None:
    """Puts the corrections in place, once a process. Triton's interpreter is on: `kernels.interpreter`."""
    quicken_interpreter()
    if getattr(interpreter, "corrected", False):
        return
    builder = interpreter.InterpreterBuilder
    builder.cast_impl = _cast(builder.cast_impl)
    builder.create_fp_to_fp = _fp_to_fp(builder.create_fp_to_fp)
    builder.binary_op = _binary(builder.binary_op)
    builder.create_fma = _rounded(builder.create_fma)
    builder.create_clampf = _rounded(builder.create_clampf)
    builder.create_dot = _dot(builder.create_dot)
    builder.create_atomic_rmw = _atomic(builder.create_atomic_rmw)
    builder.get_bf16 = lambda self, value: narrowed(self.get_fp32(value))
    interpreter.ReduceScanOpInterface.apply = _reduction(interpreter.ReduceScanOpInterface.apply)
    builder.create_extern_elementwise = _extern_elementwise(builder.create_extern_elementwise)
    interpreter._patch_lang = _with_libdevice(interpreter._patch_lang)
    interpreter._implicit_cvt = _argument(interpreter._implicit_cvt)
    Autotuner.do_bench = cached_property(_first_of_equals)
    Autotuner.do_bench.__set_name__(Autotuner, "do_bench")
    interpreter.corrected = True


def quicken_interpreter() -> None:
    """Leaves out what takes time and changes no result, once a process. Loops run too, which 3.6.0 refuses under NumPy 2.4."""
    if getattr(interpreter, "quickened", False):
        return
    interpreter._patch_lang_tensor = _with_index(interpreter._patch_lang_tensor)
    interpreter._patch_lang = _once_a_launch(interpreter._patch_lang)
    interpreter._get_np_dtype = _by_name(interpreter._get_np_dtype)
    tl.block_type.__init__ = _once_a_shape(tl.block_type.__init__)
    tl.tensor.__init__ = _with_shared_shape(tl.tensor.__init__)
    interpreter.interpreter_semantic.broadcast_impl_value = _unless_alike(interpreter.interpreter_semantic.broadcast_impl_value)
    options = interpreter.interpreter_builder.options
    interpreter.interpreter_builder.options = replace(options, sanitize_overflow=options.sanitize_overflow and options.debug)
    interpreter.quickened = True


Method = Callable[..., Any]


def _cast(original: Method) -> Method:
    """Conversions without a rounding mode, between numbers of any kind, of which one is bf16."""

    def cast_impl(self: Any, value: Handle, target: Any) -> Handle:
        if is_bf16(value):
            value = widened(value)
            return value if target.scalar == tl.float32 else cast_impl(self, value, target)
        if target.scalar == tl.bfloat16:
            return narrowed(original(self, value, tl.float32) if value.dtype.scalar != tl.float32 else value)
        return original(self, value, target)

    return cast_impl


def _fp_to_fp(original: Method) -> Method:
    """Conversions with a rounding mode, of which fp8 has one always."""
    to_zero = interpreter._ir.ROUNDING_MODE.RTZ

    def create_fp_to_fp(self: Any, value: Handle, target: Any, rounding_mode: Any) -> Handle:
        kind, wanted = value.dtype.scalar, target.scalar
        if rounding_mode == to_zero or kind not in TORCH or wanted not in TORCH:
            return original(self, value, target, rounding_mode)
        return interpreter.TensorHandle(convert(value.data, kind, wanted), wanted)

    return create_fp_to_fp


def _binary(original: Method) -> Method:
    def binary_op(self: Any, left: Handle, right: Handle, op: Callable[..., np.ndarray]) -> Handle:
        if not (is_bf16(left) and is_bf16(right)):
            return original(self, left, right, op)
        result = original(self, widened(left), widened(right), op)
        return interpreter.TensorHandle(result.data, tl.int1) if result.data.dtype == np.bool_ else narrowed(result)

    return binary_op


def _rounded(original: Method) -> Method:
    """A function of several numbers of one type."""

    def function(self: Any, *arguments: Any) -> Handle:
        narrow = [isinstance(a, interpreter.TensorHandle) and is_bf16(a) for a in arguments]
        result = original(self, *(widened(a) if n else a for a, n in zip(arguments, narrow, strict=True)))
        return narrowed(result) if any(narrow) else result

    return function


def _dot(original: Method) -> Method:
    """A product of two bf16 or two fp8 numbers is exact in fp32, as in the tensor core."""

    def exact(value: Handle) -> Handle:
        kind = value.dtype.scalar
        return interpreter.TensorHandle(convert(value.data, kind, tl.float32), tl.float32) if kind in FP8 else widened(value)

    def create_dot(self: Any, a: Handle, b: Handle, *others: Any) -> Handle:
        return original(self, exact(a), exact(b), *others)

    return create_dot


def _atomic(original: Method) -> Method:
    """Atomic sums in bf16, one element after the other: several may be of one place."""

    def create_atomic_rmw(self: Any, operation: Any, pointers: Handle, value: Handle, mask: Handle, *others: Any) -> Handle:
        if not is_bf16(value) or operation != interpreter._ir.ATOMIC_OP.FADD:
            return original(self, operation, pointers, value, mask, *others)
        before = np.zeros_like(value.data)
        for at in np.ndindex(before.shape):
            place, addend, here = (interpreter.TensorHandle(h.data[at].reshape(1), h.dtype) for h in (pointers, value, mask))
            found = self.create_masked_load(place, here, None, None, None, False)
            self.create_masked_store(place, self.create_fadd(found, addend), here, None, None)
            before[at] = found.data[0]
        return interpreter.TensorHandle(before, tl.bfloat16)

    return create_atomic_rmw


def _reduction(original: Method) -> Method:
    """Reductions and scans of one tensor or of a tuple of them."""

    def apply(self: Any, given: Any) -> Any:
        if not isinstance(given, tuple):
            return apply(self, (given,))[0]
        narrow = [isinstance(t, tl.tensor) and is_bf16(t.handle) for t in given]
        results = original(self, tuple(_retyped(t, widened) if n else t for t, n in zip(given, narrow, strict=True)))
        back = [n and r.dtype == tl.float32 for r, n in zip(results, narrow, strict=False)]
        return tuple(_retyped(r, narrowed) if n else r for r, n in zip(results, back, strict=True))

    return apply


def _retyped(tensor: Any, change: Callable[[Handle], Handle]) -> Any:
    handle = change(tensor.handle)
    return tl.tensor(handle, tl.block_type(handle.dtype, tensor.shape) if tensor.type.is_block() else handle.dtype)


def _argument(original: Method) -> Method:
    def implicit_cvt(value: Any) -> Any:
        if isinstance(value, bool):
            return tl.tensor(interpreter.TensorHandle(np.array([value]), tl.int1), tl.int1)
        if isinstance(value, float):
            return tl.tensor(interpreter.TensorHandle(np.array([value], dtype=np.float32), tl.float32), tl.float32)
        return original(value)

    return implicit_cvt


def _with_index(original: Method) -> Method:
    def patch_lang_tensor(tensor: Any, scope: Any) -> None:
        original(tensor, scope)
        scope.set_attr(tensor, "__index__", lambda self: int(self.handle.data.item()))

    return patch_lang_tensor


def _extern_elementwise(original: Method) -> Method:
    def create_extern_elementwise(self: Any, lib: str, path: str, symbol: str, given: list[Handle], kind: Any, pure: bool) -> Handle:
        wanted = kind.scalar
        name = symbol.removeprefix("__nv_")
        function = LIBDEVICE.get(name.removesuffix("f") if wanted == tl.float32 and name not in LIBDEVICE else name)
        if function is None or wanted not in TORCH:
            return original(self, lib, path, symbol, given, kind, pure)
        result = function(*(torch.from_numpy(np.array(a.data)) for a in given)).numpy()
        return interpreter.TensorHandle(result, wanted)

    return create_extern_elementwise


def _with_libdevice(original: Method) -> Method:
    """Before a kernel runs, what it has imported of libdevice becomes what the compiler would take."""

    def patch_lang(kernel: Any) -> Any:
        for name, value in list(kernel.__globals__.items()):
            if getattr(value, "__module__", None) == STUBS:
                kernel.__globals__[name] = _of_the_gpu(value)
            elif getattr(value, "__name__", None) == STUBS:
                for function in list(vars(value).values()):
                    if getattr(function, "__module__", None) == STUBS:
                        setattr(value, function.__name__, _of_the_gpu(function))
        return original(kernel)

    return patch_lang


def _once_a_launch(original: Method) -> Method:
    """The change of the language that lets a kernel be interpreted, made once in a launch for each module whose functions run in it,
    and not at every call of one. The scope of the launch takes all of it back at its end."""
    namespaces: set[int] = set()  # of the functions that this launch has called

    def end(restore: Callable[[], None]) -> None:
        restore()
        namespaces.clear()

    def patch_lang(kernel: Any) -> Any:
        if id(kernel.__globals__) in namespaces:
            return interpreter._LangPatchScope()
        scope = original(kernel)
        if not namespaces:
            scope.restore = partial(end, scope.restore)
        namespaces.add(id(kernel.__globals__))
        return scope

    return patch_lang


def _by_name(original: Method) -> Method:
    """A function of one of Triton's types, which its name identifies; blocks and pointers have no hash."""
    known: dict[str, Any] = {}

    def function(kind: Any) -> Any:
        if kind.name not in known:
            known[kind.name] = original(kind)
        return known[kind.name]

    return function


def _once_a_shape(original: Method) -> Method:
    """`block_type.__init__`: what it derives from a shape and the name of an element's type, made once and shared."""
    known: dict[tuple[Any, ...], dict[str, Any]] = {}

    def init(self: Any, element_ty: Any, shape: Any) -> None:
        key = (element_ty.name, *(s.value if isinstance(s, tl.constexpr) else s for s in shape))
        if key in known:
            self.__dict__.update(known[key], element_ty=element_ty)
        else:
            original(self, element_ty, shape)
            known[key] = dict(vars(self))

    return init


def _with_shared_shape(original: Method) -> Method:
    """`tensor.__init__`: the wrapped sizes that it keeps beside its type are made once for each shape and shared."""
    known: dict[tuple[int, ...], dict[str, Any]] = {}

    def init(self: Any, handle: Handle, type: Any) -> None:
        shape = tuple(type.shape) if type.is_block() else ()
        if shape in known:
            self.__dict__.update(known[shape], handle=handle, type=type, dtype=type.scalar)
        else:
            original(self, handle, type)
            known[shape] = {name: value for name, value in vars(self).items() if name not in ("handle", "type", "dtype")}

    return init


def _unless_alike(original: Method) -> Method:
    """The broadcast of two operands, which blocks of one shape are as they are."""

    def broadcast_impl_value(lhs: Any, rhs: Any) -> tuple[Any, Any]:
        alike = lhs.type.is_block() and rhs.type.is_block() and tuple(lhs.type.shape) == tuple(rhs.type.shape)
        return (lhs, rhs) if alike else original(lhs, rhs)

    return broadcast_impl_value


def _of_the_gpu(stub: Any) -> Any:
    from triton.language.extra.cuda import libdevice

    function = getattr(libdevice, stub.__name__, None)
    return partial(function, _semantic=interpreter.interpreter_semantic) if function else stub


def _first_of_equals(autotuner: Any) -> Callable[..., list[float]]:
    """A benchmark that runs nothing and finds every configuration equally fast: the first one is taken."""
    return lambda call, quantiles: [0.0] * len(quantiles)

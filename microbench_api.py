"""What a file for `--import` needs: your own implementations of the suite's ops, and ops of your own. docs/own-kernel.md shows both.

@implementation("matmul", name="mine", language="triton", precisions=["bf16", "fp16"])
def build(point, inputs): ...

@op("softmax_rows", dims=("m", "n"), inputs=make_inputs)
def reference(x): ...
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from kernels import support
from kernels.op import Impl, Inputs, Kernel, Language, OpError, Point, Unsupported, always, never
from kernels.own_op import DEFAULT_PRECISIONS, named_as, own_op
from kernels.precisions import PRECISIONS
from kernels.registry import OPS, RegistrationError, register
from kernels.support import Platform

if TYPE_CHECKING:
    import torch

__all__ = ["Inputs", "Kernel", "Platform", "Point", "Unsupported", "dtype", "implementation", "normal", "op"]

Function = TypeVar("Function", bound=Callable[..., Any])


def implementation(
    op: str,
    *,
    name: str,
    language: Language = "torch",
    precisions: Sequence[str] | None = None,
    options: Mapping[str, Sequence[str]] | None = None,
    compiled: bool = False,
    allocates: bool | Callable[[Point], bool] = False,
    refuses: Callable[[Point, Platform], str | None] | None = None,
) -> Callable[[Function], Function]:
    """Registers `build(point, inputs)` as an implementation of an op, whose inputs, reference, tolerance, cost and report it inherits.

    build returns what runs: a function without arguments, or a Kernel. That returns the result (a tensor or a tuple), or nothing where it
    has written to `inputs.out`. It raises Unsupported where a library refuses the point.

    language: "triton" where Triton kernels are launched: without a GPU these run in its interpreter, and are compiled ahead of time.
    precisions, options: what it takes, such as options={"layout": ["nn"]}; the rest is `unsupported`. None: everything.
    compiled: torch.compile builds the code. allocates: each run returns a new tensor, so that `inputs.out` needs no memory.
    refuses: further reasons why a point cannot run on a platform.
    """
    _known(precisions, PRECISIONS, "precisions")
    for key, values in (options or {}).items():
        _known([key], OPS[op].options if op in OPS else [key], "options")
        _known(values, OPS[op].options[key].choices or values if op in OPS else values, f"options {key}")

    def refuse(point: Point, platform: Platform) -> str | None:
        if precisions is not None and point.precision not in precisions:
            return f"{name} takes {', '.join(precisions)}"
        for key, values in (options or {}).items():
            if point.options[key] not in values:
                return f"{name} takes {key} {', '.join(values)}"
        return _needs(point, platform) or (refuses(point, platform) if refuses else None)

    def decorate(build: Function) -> Function:
        answer = allocates if callable(allocates) else always if allocates else never
        register(op, Impl(name, named_as(build, _wrapped(build)), refuse, answer, language, compiled))
        return build

    return decorate


def op(
    name: str,
    *,
    dims: Sequence[str],
    inputs: Callable[[Point, Any, Any], Any],
    doc: str = "",
    precisions: Sequence[str] = DEFAULT_PRECISIONS,
    flops: Callable[[Point], int] | None = None,
    bytes: Callable[[Point], tuple[int, int]] | None = None,
    small: Mapping[str, int] | None = None,
    example: Mapping[str, int] | None = None,
) -> Callable[[Function], Function]:
    """Registers an op that the decorated function defines: `reference(*operands)` returns the result, a tensor or a tuple of them.

    inputs: f(point, device, generator) -> an operand, or a tuple of them, on that device. `point.dims["m"]` is a size, `dtype(point)` its
    dtype. The generator is seeded; on the device "meta", which holds no numbers, it is None.
    flops, bytes: of a point, (bytes read, bytes written); by default counted on meta tensors, and those of inputs and outputs.
    small: the largest sizes that Triton's interpreter and the self-test get, where the default, some tens, is not possible.
    example: the sizes that `python -m benches kernel` measures where none are given.
    """
    _known(precisions, PRECISIONS, "precisions")

    def make(point: Point, device: str | torch.device, seed: int | None) -> Any:
        import torch

        return inputs(point, device, None if seed is None else torch.Generator(device).manual_seed(seed))

    def decorate(reference: Function) -> Function:
        try:
            made = own_op(
                name,
                dims,
                named_as(inputs, make),
                reference,
                doc=doc or (reference.__doc__ or "").strip().partition("\n")[0],
                precisions=precisions,
                flops=flops,
                traffic=bytes,
                small=small,
                example=example,
            )
        except OpError as error:
            raise RegistrationError(str(error)) from None
        register(made)
        return reference

    return decorate


def dtype(point: Point) -> torch.dtype:
    """The dtype of a point's precision; float32 for tf32."""
    from kernels.tensors import dtype_of

    return dtype_of(point.precision)


def normal(point: Point, device: Any, generator: Any, *shape: int) -> torch.Tensor:
    """Normally distributed numbers of a shape in the point's dtype."""
    import torch

    return torch.randn(shape, device=device, generator=generator, dtype=torch.float32).to(dtype(point))


def _wrapped(build: Callable[[Point, Inputs], Any]) -> Callable[[Point, Inputs], Kernel]:
    """The author's `build`, whatever it returns, as `Impl.build` is called."""

    def call(point: Point, inputs: Inputs) -> Kernel:
        made = build(point, inputs)
        if isinstance(made, Kernel):
            return made
        if not callable(made):
            raise TypeError(f"build returned {type(made).__name__}: return a function without arguments, or a Kernel")

        def run() -> Any:
            result = made()
            return inputs.out if result is None else result

        return Kernel(run)

    return call


def _needs(point: Point, platform: Platform) -> str | None:
    """What the platform lacks for the precision, whatever the implementation."""
    op = OPS[point.op]
    if point.precision not in op.precisions:
        return f"{op.name} is defined for {', '.join(op.precisions)}"
    if op.on_matrix_units:
        return support.matrix_units_or_interpreter(point.precision, platform)
    return support.no_products(point.precision, "the op runs in fp32") or support.fp8_conversions({point.precision}, platform)


def _known(given: Sequence[str] | None, valid: Any, what: str) -> None:
    for one in given or ():
        if one not in valid:
            raise RegistrationError(f"{what}: {one!r} is not known; valid: {', '.join(valid)}")

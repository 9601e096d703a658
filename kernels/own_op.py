"""An op that is given by a reference function and its inputs, and no more: cost, outputs, tolerance and a baseline follow from these.

    FLOPs      counted by PyTorch's FLOP counter on meta tensors, which hold no numbers; operators that it does not know count 0
    bytes      of the inputs and outputs, each moved once
    tolerance  kernels/noisy_reference.py
    baseline   the reference itself, in its own dtype: the implementation `torch`

Torch is imported where it is needed, so that a file which defines an op can be read without it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from kernels import support
from kernels.op import Cost, CostSource, Impl, Inputs, Kernel, Op, OpError, Point, ToleranceSource, always, code_name, order_dims
from kernels.parts import Contraction, Part, Stream
from kernels.precisions import PRECISIONS
from kernels.support import DeviceKind, Platform

if TYPE_CHECKING:
    import torch

MakeOperands = Callable[[Point, Any, int | None], Any]  # f(point, device, seed): a tensor or a tuple; seed None: values do not matter
RAGGED = (67, 131, 37, 53)  # sizes of a small shape: odd, so that blocks end within them
DEFAULT_PRECISIONS = ("fp32", "fp16", "bf16")


@dataclass(frozen=True)
class Traits:
    """What a call at one shape works on."""

    flops: int
    bytes_read: int
    bytes_written: int
    outs: tuple[torch.Tensor, ...]  # on the meta device
    several: bool  # the result is a tuple
    on_meta: bool  # the reference runs without numbers: it does not look at values, so that a CUDA graph can hold it


@dataclass
class OwnOp:
    """The tensor code of an op of one's own.

    flops, traffic: of a point, given by the author; None where they are counted. traffic: bytes read and bytes written.
    """

    make_operands: MakeOperands
    reference: Callable[..., Any]
    flops: Callable[[Point], int] | None = None
    traffic: Callable[[Point], tuple[int, int]] | None = None
    _traits: dict[tuple[Any, ...], Traits] = field(default_factory=dict)
    _exact: dict[str, bool] = field(default_factory=dict)  # by precision

    def traits(self, point: Point) -> Traits:
        """Runs the reference on meta tensors, once a shape; where it needs numbers, on the CPU."""
        key = (point.precision, *point.dims.items())
        if key not in self._traits:
            try:
                self._traits[key] = self._count(point, "meta")
            except Exception:  # whatever the reference raises where there are no numbers to look at
                self._traits[key] = self._count(point, "cpu")
        return self._traits[key]

    def _count(self, point: Point, device: str) -> Traits:
        import torch
        from torch.utils.flop_counter import FlopCounterMode

        operands = as_tuple(self.make_operands(point, device, None if device == "meta" else 0))
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            result = self.reference(*operands)
        outs = as_tuple(result)
        read, written = (sum(t.numel() * t.element_size() for t in some if isinstance(t, torch.Tensor)) for some in (operands, outs))
        read, written = self.traffic(point) if self.traffic else (read, written)
        flops = self.flops(point) if self.flops else int(counter.get_total_flops())
        metas = tuple(torch.empty(t.shape, dtype=t.dtype, device="meta") for t in outs)
        return Traits(flops, read, written, metas, isinstance(result, tuple | list), device == "meta")

    def cost(self, point: Point, device: DeviceKind = "cuda") -> Cost:
        """The analytic cost; the same on every device."""
        t = self.traits(point)
        return Cost(t.flops, t.bytes_read, t.bytes_written, t.bytes_read + t.bytes_written)

    def cost_source(self, point: Point) -> CostSource:
        return "given" if self.flops else "counted"

    def evaluates_in_fp64(self, point: Point, operands: tuple[Any, ...] | None = None) -> bool:
        """Whether the reference keeps fp64 operands in fp64 throughout. Found out once a precision, on the operands of the first check;
        None: on ones without numbers, where not everything shows."""
        from kernels.noisy_reference import keeps_fp64

        if point.precision not in self._exact:
            if operands is None:
                return self.traits(point).on_meta and keeps_fp64(self.reference, as_tuple(self.make_operands(point, "meta", None)))
            self._exact[point.precision] = keeps_fp64(self.reference, operands)
        return self._exact[point.precision]

    def tolerance_source(self, point: Point) -> ToleranceSource:
        return "derived" if self.evaluates_in_fp64(point) else "estimated"

    def make_inputs(self, allocates: Callable[[Point], bool]) -> Callable[[Point, Any, int | None], Inputs]:
        """`Op.make_inputs`. It carries the author's name, by which the code is found and hashed."""

        def make(point: Point, device: str | torch.device, seed: int | None) -> Inputs:
            import torch

            t = self.traits(point)
            where = "meta" if allocates(point) else device
            outs = tuple(torch.empty(out.shape, dtype=out.dtype, device=where) for out in t.outs)
            return Inputs(as_tuple(self.make_operands(point, device, seed)), outs if t.several else outs[0])

        return named_as(self.make_operands, make)

    def expected(self, point: Point, operands: tuple[Any, ...]) -> Any:
        """`Op.reference`: the result in fp64; in the reference's own dtypes where it cannot be evaluated in fp64, and then as fp64."""
        from kernels.noisy_reference import evaluate

        results = evaluate(self.reference, operands, self.evaluates_in_fp64(point, operands))
        return results if self.traits(point).several else results[0]

    def allowed(self, point: Point, operands: tuple[Any, ...], expected: Any) -> Any:
        """`Op.tolerance`."""
        from kernels.noisy_reference import allowed

        found = allowed(
            self.reference, operands, as_tuple(expected), point.precision, self.evaluates_in_fp64(point, operands), self.traits(point).outs
        )
        return found if self.traits(point).several else found[0]

    def build(self) -> Callable[[Point, Inputs], Kernel]:
        """`Impl.build` of the reference, as it is written."""

        def build(point: Point, inputs: Inputs) -> Kernel:
            several = self.traits(point).several

            def run() -> Any:
                result = self.reference(*inputs.operands)
                return as_tuple(result) if several else result

            return Kernel(run, capturable=self.traits(point).on_meta)

        return named_as(self.reference, build)


def named_as(author: Any, function: Callable[..., Any]) -> Callable[..., Any]:
    """The function under the name of the code that it calls, so that hashes and messages are about that code."""
    function.__module__, _, function.__qualname__ = code_name(author).partition(":")
    return function


def as_tuple(value: Any) -> tuple[Any, ...]:
    """A tensor, or a tuple or list of them, as a tuple."""
    return tuple(value) if isinstance(value, tuple | list) else (value,)


def parts(point: Point, cost: Cost) -> list[Part]:
    """What the cost model adds up: the traffic, and, where there are FLOPs, a square product with as many of them, since PyTorch's counter
    knows products only. An estimate."""
    if not cost.flops:
        return [Stream(cost.bytes, 0)]
    side = max(1, round((cost.flops / 2) ** (1 / 3)))
    depth = max(1, round(cost.flops / (2 * side**2)))
    return [Contraction(False, 1, side, side, depth, PRECISIONS[point.precision].bytes, cost.bytes)]


def refuses(precisions: Sequence[str]) -> Callable[[Point, Platform], str | None]:
    """`Impl.refuses` of an op in some precisions."""

    def refuse(point: Point, platform: Platform) -> str | None:
        if point.precision not in precisions:
            return f"{point.op} is defined for {', '.join(precisions)}"
        return support.matrix_units_or_interpreter(point.precision, platform)

    return refuse


def own_op(
    name: str,
    dims: Sequence[str],
    make_operands: MakeOperands,
    reference: Callable[..., Any],
    *,
    doc: str = "",
    precisions: Sequence[str] = DEFAULT_PRECISIONS,
    flops: int | Callable[[Point], int] | None = None,
    traffic: Callable[[Point], tuple[int, int]] | None = None,
    small: Mapping[str, int] | None = None,
    example: Mapping[str, int] | None = None,
    impls: Sequence[Impl] = (),
) -> Op:
    """An op with `reference` as its baseline. `registry.register` makes it known; implementations may be added later as well.

    make_operands: f(point, device, seed) -> a tensor or a tuple, in the point's precision; on the device "meta" without numbers, and then
    with seed None. reference: f(*operands). flops: a number or f(point); None: counted. traffic: f(point) -> bytes read, bytes written.
    small: the largest size of each dim that Triton's interpreter gets, and the self-test. example: the sizes that the command `kernel`
    measures where none are given; without it, the small ones.
    """
    order = tuple(dims)
    made = OwnOp(make_operands, reference, (lambda point: flops) if isinstance(flops, int) else flops, traffic)
    least = {dim: RAGGED[i % len(RAGGED)] for i, dim in enumerate(order)} | dict(small or {})
    if unknown := [dim for dim in least if dim not in order]:
        raise OpError(f"small: {unknown[0]!r} is not one of the dims {', '.join(order)}")
    if example is not None and set(example) != set(order):
        raise OpError(f"example: give a size for each of the dims {', '.join(order)} and no other")
    baseline = Impl("torch", made.build(), refuses(precisions), always)
    all_impls = {impl.name: impl for impl in (baseline, *impls)}

    return Op(
        name=name,
        doc=doc or f"{name}, defined by {code_name(reference).partition(':')[0]}.",
        options={},
        dim_order=lambda options, given: order_dims(order, given),
        check=lambda point: None,
        cost=made.cost,
        small_dims=lambda point: {dim: min(size, least[dim]) for dim, size in point.dims.items()},
        make_inputs=made.make_inputs(lambda point: all_impls[point.impl].allocates(point)),
        reference=made.expected,
        tolerance=made.allowed,
        impls=all_impls,
        parts=parts,
        on_matrix_units=True,  # their peak is the higher one: what is judged by it is never called faster than the device by mistake
        precisions=tuple(precisions),
        cost_source=made.cost_source,
        tolerance_source=made.tolerance_source,
        example=dict(example or least),
    )

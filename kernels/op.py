"""What an operation is: its name, dims, options, cost and implementations. No torch here: plans and reports read this too.

Tensor code is named by a string "package.module:function" and imported only when a point is measured, so that a sweep can be read,
planned and reported on a machine with neither torch nor triton.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pkgutil import resolve_name
from typing import Any, Literal

from kernels.parts import Part, Stream, one_a_part
from kernels.precisions import PRECISIONS
from kernels.support import DeviceKind, Platform, triton_needs

Dims = Mapping[str, int]
Options = Mapping[str, str]
Language = Literal["torch", "triton"]  # what a kernel is written in, which decides where it can run
CostSource = Literal["formula", "counted", "given"]  # by this suite's formula; by PyTorch's FLOP counter; by the op's author
ToleranceSource = Literal["derived", "estimated"]  # from a reference in fp64, or from one that cannot be evaluated in fp64
Code = str | Callable[..., Any]  # tensor code: "package.module:function", imported when it is needed, or the function itself


def load_code(code: Code) -> Callable[..., Any]:
    """The function."""
    return resolve_name(code) if isinstance(code, str) else code


def code_name(code: Any) -> str:
    """ "module:function" of code: of a function, of what a functools.partial calls, or of an object's class."""
    if isinstance(code, str):
        return code
    function = getattr(code, "func", code)
    named = function if hasattr(function, "__qualname__") else type(function)
    return f"{named.__module__}:{named.__qualname__}"


class OpError(ValueError):
    """Dims or options that an op cannot take. `key` is the offending key, `valid` what it could have been."""

    def __init__(self, message: str, key: str = "dims", valid: Iterable[str] = ()):
        super().__init__(message)
        self.key = key
        self.valid = tuple(valid)


class Unsupported(Exception):
    """Raised by an implementation's `build` where the library underneath refuses the point on the device at hand; the message says why.

    For what is known only once the library has been asked, there and in this version of it. What a spec knows without tensors is
    returned by `Impl.unsupported`, which plans show too.
    """


@dataclass(frozen=True)
class Cost:
    """Analytic cost of one call, exact integers. Bytes are compulsory traffic: each operand read once, each result written once."""

    flops: int
    bytes_read: int
    bytes_written: int
    memory_bytes: int  # what must be allocated at once: operands (with the parents they are slices of), results, intermediates

    @property
    def bytes(self) -> int:
        return self.bytes_read + self.bytes_written


@dataclass(frozen=True)
class Option:
    """Something besides dims that selects a point (layout, function, …). Every option is also a key and an axis of a sweep."""

    choices: tuple[str, ...]  # empty: free text that the op checks
    default: str | None  # None: must be given
    doc: str  # complete sentences, which the reference pages print
    leading: bool = False  # shown in the id before the dims, always
    form: str = "{}"  # how the value is shown in the id
    shown: Mapping[str, str] = field(default_factory=dict)  # and by value, where no form serves all


@dataclass(frozen=True, eq=False)
class Point:
    """One thing to measure; made by `Op.point`. Its `id` stays the same from night to night."""

    id: str  # for example matmul-triton-bf16-4096x4096x4096
    op: str
    impl: str
    precision: str
    dims: Dims  # in the op's canonical order
    options: Options  # every option of the op, defaults filled in
    label: str = ""  # where the shape comes from ("llama3_70b.qkv"); not part of what is measured


def slug(text: str) -> str:
    """An equation as pytest's -k and a shell take it: `b s h, b t h -> b s t` gives `b.s.h+b.t.h-b.s.t`, and `b (h w)` gives `b.h:w`."""
    ungrouped = re.sub(r"\(([^()]*)\)", lambda group: ":".join(group[1].split()) or "1", text)
    sides = ungrouped.split("->")
    return "-".join("+".join(".".join(term.split()) for term in side.split(",")) for side in sides)


@dataclass(frozen=True)
class Kernel:
    """A point bound to its tensors: `run()` enqueues the work and returns the output: a tensor, or a tuple of them.

    `phases`: the calls that `run` makes one after the other, by name, where it is worth knowing what each takes.
    """

    run: Callable[[], Any]
    config: str | Callable[[], str | None] | None = (
        None  # of the kernel that runs ("128x128x64 w8 s3"), or a call that gives it after a run
    )
    phases: tuple[tuple[str, Callable[[], Any]], ...] = ()
    compiled: Sequence[Any] = ()  # what Triton's launcher gave back at the last run, in order; empty before it
    reset: Callable[[], None] | None = None  # puts back what launches change besides `Inputs.updated`: a loader's place, a step count
    capturable: bool = True  # False: a CUDA graph cannot hold `run`: it waits for the device, copies from the host, or uses other streams
    config_origin: Literal["rule", "tuned"] | None = None  # who chose the config: the code's rule, or a file of tuned choices


@dataclass(frozen=True)
class Inputs:
    """Tensors of one point: operands in order, and the buffer that implementations with an `out=` write to.

    `out` also says which shapes and dtypes the result has: a tensor, or a tuple of them; on the meta device where no buffer is needed.
    `updated`: those operands that a launch changes in place. Each check starts from their first values.
    """

    operands: tuple[Any, ...]
    out: Any
    updated: tuple[Any, ...] = ()


def never(point: Point) -> bool:
    """Returns False: for an implementation that writes to `Inputs.out` whatever the point."""
    return False


def always(point: Point) -> bool:
    """True: for an implementation that allocates its result whatever the point."""
    return True


@dataclass(frozen=True)
class Impl:
    """One implementation. Its name is for people; what the suite does with it follows from `language` and `compiled`."""

    name: str
    build: Code  # f(point, inputs) -> Kernel, which may raise Unsupported
    refuses: Callable[[Point, Platform], str | None]  # why it cannot run a point, or None; see `unsupported`
    allocates: Callable[[Point], bool] = never  # whether each run returns new tensors: `Inputs.out` then needs no memory
    language: Language = "torch"  # Triton: interpreted and never timed where there is no GPU; compiled by `inspect`
    compiled: bool = False  # code is built when it runs, by torch.compile or by Triton; always true for Triton
    on_request: bool = False  # only where a sweep names it: building a point takes minutes, so it is not one of "all implementations"
    left_behind: Callable[[Point], int] = lambda point: 0  # bytes of its operators' intermediate results, besides `Cost.memory_bytes`

    def __post_init__(self) -> None:
        if self.language == "triton":
            object.__setattr__(self, "compiled", True)

    def load(self) -> Callable[[Point, Inputs], Kernel]:
        return load_code(self.build)

    @property
    def by_torch_compile(self) -> bool:
        """Whether PyTorch's compiler builds the code, which takes longest."""
        return self.compiled and self.language == "torch"

    def unsupported(self, point: Point, platform: Platform) -> str | None:
        """Why a point cannot run on a platform, or None. A missing compiler comes last: installing one would not remove the others."""
        needs = triton_needs(platform) if self.language == "triton" else None
        return needs or self.refuses(point, platform) or (platform.no_compiler if self.compiled else None)


def one_stream(point: Point, cost: Cost) -> list[Part]:
    """One kernel that reads, computes on the vector units and writes once, at the point's analytic cost."""
    return [Stream(cost.bytes, cost.flops)]


def no_check(point: Point) -> None:
    """Accepts every point: for an op whose combinations of dims and options all make sense, or are unsupported."""


@dataclass(frozen=True)
class Op:
    """An operation family, made by `define`. Three fields are tensor code, or name it:

    make_inputs  f(point, device, seed) -> Inputs      seeded operands and an output buffer
    reference    f(point, operands) -> fp64 tensor     the exact result for the operands as stored
    tolerance    f(point, operands, reference) -> fp64 tensor that broadcasts to it: the largest allowed absolute error

    Where a kernel returns a tuple, reference and tolerance do too. A reference sees updated operands as they were before the launch.
    """

    name: str
    doc: str  # a complete sentence, which the reference pages print
    options: Mapping[str, Option]
    dim_order: Callable[[Options, Iterable[str]], tuple[str, ...]]  # canonical order of the given dims; OpError if wrong
    check: Callable[[Point], None]  # OpError where the values of dims or options make no sense together
    cost: Callable[[Point, DeviceKind], Cost]  # of a call on a device of this kind, which the caller names
    small_dims: Callable[[Point], Dims]  # the dims of `shrink`
    make_inputs: Code
    reference: Code
    tolerance: Code
    impls: dict[str, Impl]  # which kernels/registry.py adds other people's to
    dims_doc: str = ""  # complete sentences on the dims, which the reference pages print
    parts: Callable[[Point, Cost], list[Part]] = one_stream  # what the cost model adds up
    # That PyTorch calls for a point, views among them: on a CPU each takes time, whatever it computes.
    operators: Callable[[Point, Sequence[Part]], int] = one_a_part
    predicted_by_impl: bool = False  # the number of operators, and with it a CPU's predicted time, is the implementation's
    on_matrix_units: bool = False  # FLOPs are bounded by the precision's own peak; else by the vector units'
    least_flops: Callable[[Point, Cost], int] = lambda point, cost: cost.flops  # where a right implementation may skip some
    is_view: Callable[[Point], bool] = lambda point: False  # the result shares the first operand's memory: nothing moves
    many_launches: bool = False  # a call is many launches, or one that a graph cannot hold
    trains: bool = False  # a call, and with it the reference, has a backward pass
    # A call starts from what was computed before it, as a backward pass does: kernels are built again when operands get other values.
    works_beforehand: Callable[[Point], bool] = lambda point: False
    exact_strides: bool = False  # the result's strides and offset are part of what is asked: those of `Inputs.out`
    cost_source: Callable[[Point], CostSource] = lambda point: "formula"  # where `cost` has its FLOPs from
    tolerance_source: Callable[[Point], ToleranceSource] = lambda point: "derived"
    precisions: tuple[str, ...] = tuple(PRECISIONS)  # that it is defined for
    example: Dims | None = None  # sizes to measure, and to shrink for the self-test, where no sweep that ships has the op

    @classmethod
    def define(
        cls,
        package: str,
        name: str,
        doc: str,
        *,
        options: Mapping[str, Option],
        dims: tuple[str, ...] | Callable[[Options, Iterable[str]], tuple[str, ...]],
        small: Mapping[str, int] | Callable[[Point], Dims],
        impls: Iterable[Impl],
        check: Callable[[Point], None] = no_check,
        **others: Any,
    ) -> Op:
        """An op whose tensor code lies in `package`: `data.py` holds make_inputs, reference and tolerance, and an implementation's `build`
        may name a module beside it, "torch_impl:eager".

        dims: their names in canonical order, or `dim_order`. small: the largest that `shrink` leaves of each, or `small_dims`.
        others: further fields.
        """
        named = [
            replace(impl, build=f"{package}.{impl.build}") if isinstance(impl.build, str) and "." not in impl.build else impl
            for impl in impls
        ]
        return cls(
            name=name,
            doc=doc,
            options=options,
            dim_order=dims if callable(dims) else lambda options, given: order_dims(dims, given),
            small_dims=small if callable(small) else lambda point: {n: min(size, small[n]) for n, size in point.dims.items()},
            impls={impl.name: impl for impl in named},
            check=check,
            make_inputs=f"{package}.data:make_inputs",
            reference=f"{package}.data:reference",
            tolerance=f"{package}.data:tolerance",
            **others,
        )

    def point(self, impl: str, precision: str, dims: Dims, options: Options | None = None, label: str = "") -> Point:
        """A checked point. `dims` in any order. Raises OpError for unknown or missing dims and options and for values that clash."""
        filled = self._fill(options or {})
        ordered = {name: dims[name] for name in self.dim_order(filled, dims)}
        point = Point(self._id(impl, precision, ordered, filled), self.name, impl, precision, ordered, filled, label)
        self.check(point)
        return point

    @property
    def baseline(self) -> str:
        """The implementation that others are compared with: the first that PyTorch runs as it is written, else the first."""
        return next((impl.name for impl in self.impls.values() if impl.language == "torch" and not impl.compiled), next(iter(self.impls)))

    def shrink(self, point: Point) -> Point:
        """The same point at a small ragged shape: what Triton's interpreter takes."""
        return self.point(point.impl, point.precision, self.small_dims(point), point.options)

    def _fill(self, options: Options) -> dict[str, str]:
        for name, value in options.items():
            if name not in self.options:
                raise OpError(f"unknown option {name!r}", key=name, valid=self.options)
            choices = self.options[name].choices
            if choices and value not in choices:
                raise OpError(f"{name} cannot be {value!r}", key=name, valid=choices)
        filled = {}
        for name, option in self.options.items():
            chosen = options.get(name, option.default)
            if chosen is None:
                raise OpError(f"{self.name} needs {name}", key=name, valid=option.choices)
            filled[name] = chosen
        return filled

    def _id(self, impl: str, precision: str, dims: Dims, options: Options) -> str:
        """Leading options stand before the dims, always; the others after them, where they differ from their default."""
        leading = [slug(options[n]) for n, o in self.options.items() if o.leading]
        trailing = self.shown(options, [name for name, option in self.options.items() if not option.leading])
        return "-".join([self.name, impl, precision, *leading, "x".join(map(str, dims.values())), *trailing])

    def shown(self, options: Options, names: Iterable[str]) -> list[str]:
        """Those of the named options that are not default, as an id has them."""
        chosen = [(self.options[name], options[name]) for name in names if options[name] != self.options[name].default]
        return [option.shown.get(value, option.form.format(value)) for option, value in chosen]

    def load(self, which: str) -> Callable[..., Any]:
        """The tensor code behind `make_inputs`, `reference` or `tolerance`."""
        return load_code(getattr(self, which))


DATA = Option(
    ("normal", "zeros", "integers"),
    "normal",
    "The values of the inputs: normally distributed numbers, zeros, or integers from −2 to 2. It changes a GPU's power, and so its speed.",
)


def order_dims(
    required: tuple[str, ...], given: Iterable[str], leading: tuple[str, ...] = (), optional: tuple[str, ...] = ()
) -> tuple[str, ...]:
    """`leading` then `required`, after checking that `given` names exactly those; but for `optional` ones that it leaves out.

    Raises OpError.
    """
    names = tuple(given)
    valid = leading + required
    for name in names:
        if name not in valid:
            raise OpError(f"unknown dim {name!r}", key=name, valid=valid)
    missing = [name for name in required if name not in names and name not in optional]
    if missing:
        raise OpError(f"missing dim {', '.join(missing)}", valid=valid)
    return tuple(name for name in valid if name in names)

"""One row of the journal: what a point is, how it ended, how long it took, what it should cost. SI units stand in the names.

No peaks and nothing derived from them are stored, so correcting a GPU's YAML needs no new measurement.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, PlainSerializer, ValidationError, WrapValidator, model_validator

from kernels.op import Cost, CostSource, Point, ToleranceSource

Status = Literal[
    "ok",  # timed
    "verified",  # checked, not timed: Triton on a machine without a GPU
    "noisy",  # timed, but the interval of the median did not become narrow enough
    "throttled",  # timed while heat or hardware slowed the device, after three tries to cool it
    "skipped",  # not started, for a reason that the sweep or a limit gives
    "unsupported",  # this implementation cannot do this
    "oom",  # out of memory
    "wrong",  # failed its reference
    "impossible",  # faster than physics allows
    "timeout",
    "crashed",
    "error",
]
# Causes.
INTERRUPTED = "interrupted"  # the session ended the wait for the point, which a resumed run measures again
CHECKED_ONLY = "checked only"  # timing was switched off
DISTURBED = "disturbed"  # other processes took the CPU
DEVICE_LOST = "device lost"  # no further point can be measured
CONTEXT_LOST = "context lost"  # the process's CUDA context may be beyond repair
TIMED: tuple[Status, ...] = ("ok", "noisy", "throttled")
FAILED: tuple[Status, ...] = ("oom", "wrong", "impossible", "timeout", "crashed", "error")
Cache = Literal["cold", "hot"]
Mode = Literal["graph", "events", "wall", "host"]
KNOWN: dict[str, tuple[str, ...]] = {"status": get_args(Status), "cache": get_args(Cache), "mode": get_args(Mode)}
WORD = re.compile(r"[A-Za-z][A-Za-z0-9_ -]{0,59}")  # a name that a newer version may give a field or a status: anything else is damage


class Conditions(BaseModel):
    """What the device told while the point ran; null where it did not."""

    model_config = ConfigDict(extra="forbid")

    sm_clock_hz: float | None = None
    memory_clock_hz: float | None = None
    power_w: float | None = None
    energy_j: float | None = None  # of one call
    temperature_c: float | None = None
    throttle_reasons: list[str] | None = None


class Row(BaseModel):
    """One point's result. A point that was not timed has no time."""

    model_config = ConfigDict(extra="forbid")

    point: str
    op: str
    impl: str
    precision: str
    dims: dict[str, int]
    layout: str | None = None  # these three follow from the options
    equation: str | None = None
    function: str | None = None
    options: dict[str, str] = {}  # every option of the op
    label: str | None = None
    config: str | None = None  # of the kernel that ran
    source_hash: str | None = None  # "v2:…", of the code that the kernel depends on (kernels/fingerprint.py)
    machine_code_hash: str | None = None  # of the Triton kernels that ran on a GPU

    status: Status
    reason: str | None = None  # for a reader
    cause: str | None = None  # the same for a program, where one acts on it: a constant of this module
    error_file: str | None = None  # in the run directory: the whole of an error's message, of which `reason` has a line

    median_s: float | None = None
    ci_low_s: float | None = None
    ci_high_s: float | None = None
    samples_s: list[float] = []  # in time order, unfiltered
    process_medians_s: list[float] = []  # of each fresh process, where there were several: the interval is then theirs
    timer: str | None = None
    regime: str | None = None
    cache: Cache | None = None
    mode: Mode | None = None  # benches/timing/method.py says what each is
    launches: int | None = None  # in a sample, which is their mean
    sets: int | None = None  # of inputs and outputs that the launches rotated through, each touched; 1: none, or a read before each
    dropped: dict[str, int] = {}  # samples that do not count, by cause; never for their value
    warmup_s: float | None = None
    duty: float | None = None  # of the time in which samples were taken, how much the device worked on them; null where not known
    floor_s: float | None = None  # a kernel that does nothing, timed in the same way; of short points only, and not subtracted
    enqueue_s: float | None = None  # of the host, a launch
    launch_bound: bool | None = None  # the host takes longer to enqueue a launch than the device to run it

    flops: int
    bytes_read: int
    bytes_written: int
    memory_bytes: int
    cost_source: CostSource | None = None  # of `flops`; null in rows of earlier versions: by formula
    tolerance: ToleranceSource | None = None  # null where the result was not compared, and in rows of earlier versions
    peak_memory_bytes: int | None = None  # what the allocator handed out at most
    scratch_bytes: int | None = None  # the part of it that no tensor held: what kernels take for themselves and give back

    error_over_tolerance: float | None = None  # the gate's worst element; at most 1 where it passed
    fresh_inputs: bool | None = None  # the gate gave the kernel other values than it was built with; false: memory did not hold them
    phases_s: dict[str, float] = {}  # of a call that has phases: the median seconds of each, timed on its own
    conditions: Conditions = Conditions()
    started_utc: str | None = None  # ISO 8601
    wall_s: float | None = None  # everything the point took: inputs, gate, timing

    @model_validator(mode="after")
    def derive(self) -> Self:
        """Fills in what follows from the options. A row of an old journal has no options and keeps its columns."""
        for name, value in columns_of(self.options).items():
            if value is not None:
                setattr(self, name, value)
        return self


def columns_of(options: Mapping[str, str]) -> dict[str, str | None]:
    """Returns `layout`, `equation` and `function` for readers of the file: the options of those names, or the matching ones of einops."""
    if "pattern" in options:
        reduction = options.get("reduction", "none")
        return {"layout": None, "equation": options["pattern"], "function": "rearrange" if reduction == "none" else reduction}
    return {name: options.get(name) for name in ("layout", "equation", "function")}


def _or_a_word(value: Any, check: Callable[[Any], Any]) -> Any:
    """Returns a value that this version knows, or a word that it does not. Raises ValidationError."""
    try:
        return check(value)
    except ValidationError:
        if isinstance(value, str) and WORD.fullmatch(value):
            return value
        raise


KeepsWords = WrapValidator(_or_a_word), PlainSerializer(lambda value: value)


class NewerConditions(Conditions):
    """Conditions with fields that this version does not know."""

    model_config = ConfigDict(extra="allow")


class NewerRow(Row):
    """A row that a newer version wrote: unknown fields, and unknown words for its status, cache or mode, are kept as they are. A status
    that is unknown here is neither a success nor a failure. The declared types name known words only."""

    model_config = ConfigDict(extra="allow")

    status: Annotated[Status, *KeepsWords]
    cache: Annotated[Cache | None, *KeepsWords] = None
    mode: Annotated[Mode | None, *KeepsWords] = None
    conditions: NewerConditions = NewerConditions()

    def unknown(self) -> Iterator[tuple[str, Any]]:
        """Names and values of the fields that this version does not know, those of the conditions among them."""
        yield from (self.model_extra or {}).items()
        yield from (self.conditions.model_extra or {}).items()

    def unknown_names(self) -> Iterator[str]:
        """Returns what this version does not know in the row: `status preempted`, `field fan_rpm`."""
        words = {"status": self.status, "cache": self.cache, "mode": self.mode}
        yield from (f"{name} {value}" for name, value in words.items() if value is not None and value not in KNOWN[name])
        yield from (f"field {name}" for name, _ in self.unknown())


def new_row(point: Point, cost: Cost, status: Status, reason: str | None = None, **fields: object) -> Row:
    """A row with the point's identity and analytic cost filled in."""
    return Row.model_validate(
        {
            "point": point.id,
            "op": point.op,
            "impl": point.impl,
            "precision": point.precision,
            "dims": dict(point.dims),
            "options": dict(point.options),
            "label": point.label or None,
            "status": status,
            "reason": reason,
            "flops": cost.flops,
            "bytes_read": cost.bytes_read,
            "bytes_written": cost.bytes_written,
            "memory_bytes": cost.memory_bytes,
            **fields,
        }
    )

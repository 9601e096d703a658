"""One row of the journal: what a point is, how it ended, how long it took, what it should cost. SI units stand in the names.

No peaks and nothing derived from them are stored, so correcting a GPU's YAML needs no new measurement.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, ValidationError, WrapValidator, model_validator

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

    sm_clock_hz: float | None = Field(default=None, description="The clock of the SMs.")
    memory_clock_hz: float | None = Field(default=None, description="The clock of the memory.")
    power_w: float | None = Field(default=None, description="The power that the board drew.")
    energy_j: float | None = Field(default=None, description="The energy of one call.")
    temperature_c: float | None = Field(default=None, description="The temperature of the GPU.")
    throttle_reasons: list[str] | None = Field(default=None, description="Why the driver lowered the clocks, by its own names.")


class Row(BaseModel):
    """One point's result. A point that was not timed has no time."""

    model_config = ConfigDict(extra="forbid")

    point: str = Field(description="The id of the point, which stays the same from night to night.")
    op: str = Field(description="The op.")
    impl: str = Field(description="The implementation.")
    precision: str = Field(description="The precision.")
    dims: dict[str, int] = Field(description="The sizes, in the op's order.")
    layout: str | None = Field(default=None, description="The option of this name; it follows from `options`.")
    equation: str | None = Field(default=None, description="The option of this name, or the pattern of einops; it follows from `options`.")
    function: str | None = Field(
        default=None, description="The option of this name, or the operation of einops; it follows from `options`."
    )
    options: dict[str, str] = Field(default={}, description="Every option of the op.")
    label: str | None = Field(default=None, description="The source of the shape, from the sweep.")
    config: str | None = Field(default=None, description="The configuration of the kernel that ran.")
    source_hash: str | None = Field(
        default=None, description="A hash of the code that the kernel depends on, after its version: `v2:…` (kernels/fingerprint.py)."
    )
    machine_code_hash: str | None = Field(default=None, description="A hash of the Triton kernels that ran on a GPU.")

    status: Status = Field(description="How the point ended.")
    reason: str | None = Field(default=None, description="Why, for a reader.")
    cause: str | None = Field(default=None, description="Why, for a program, where one acts on it: a constant of benches/row.py.")
    error_file: str | None = Field(
        default=None, description="The file in the run directory that holds the whole of an error's message, `reason` has one line of it."
    )

    median_s: float | None = Field(default=None, description="The median time of a call.")
    ci_low_s: float | None = Field(default=None, description="The lower end of the median's confidence interval.")
    ci_high_s: float | None = Field(default=None, description="The upper end of the median's confidence interval.")
    samples_s: list[float] = Field(default=[], description="The samples in time order, unfiltered. Each is the mean of `launches` calls.")
    process_medians_s: list[float] = Field(
        default=[], description="The median of each fresh process, where there were several: the interval is then theirs."
    )
    timer: str | None = Field(default=None, description="The clock that measured the time.")
    regime: str | None = Field(default=None, description="`sustained`, back to back, or `boost`, short bursts after idling.")
    cache: Cache | None = Field(
        default=None, description="The state of the caches when a sample started: `cold`, nothing of the inputs, or `hot`."
    )
    mode: Mode | None = Field(
        default=None, description="How a sample was timed (benches/timing/method.py): `graph`, `events`, `wall` or `host`."
    )
    launches: int | None = Field(default=None, description="Launches in a sample, which is their mean.")
    sets: int | None = Field(
        default=None,
        description="How many sets of inputs and outputs the launches rotate through, each touched; 1: none, or a read before each launch.",
    )
    dropped: dict[str, int] = Field(default={}, description="Samples that do not count, by cause. None is dropped for its value.")
    warmup_s: float | None = Field(default=None, description="How long the warm-up took.")
    duty: float | None = Field(
        default=None,
        description="The share of the time in which samples were taken that the device worked on them; null where it is not known.",
    )
    floor_s: float | None = Field(
        default=None,
        description="A kernel that does nothing, timed in the same way. It is measured for short points only, and not subtracted.",
    )
    enqueue_s: float | None = Field(default=None, description="How long the host takes to enqueue a launch.")
    launch_bound: bool | None = Field(
        default=None, description="Whether the host takes longer to enqueue a launch than the device to run it."
    )

    flops: int = Field(description="The analytic FLOPs of a call.")
    bytes_read: int = Field(description="The analytic bytes that a call reads, each operand once.")
    bytes_written: int = Field(description="The analytic bytes that a call writes, each result once.")
    memory_bytes: int = Field(description="The analytic bytes that the point must hold at once.")
    cost_source: CostSource | None = Field(
        default=None,
        description="Where `flops` comes from: `formula`, `counted` or `given`; null in rows of earlier versions, which is by formula.",
    )
    tolerance: ToleranceSource | None = Field(
        default=None, description="How the tolerance was found; null where the result was not compared, and in rows of earlier versions."
    )
    peak_memory_bytes: int | None = Field(default=None, description="The most memory that the allocator handed out.")
    scratch_bytes: int | None = Field(
        default=None, description="The part of it that no tensor held: workspace that kernels allocate and free."
    )

    error_over_tolerance: float | None = Field(
        default=None, description="The error of the worst element over its tolerance, at most 1 where the correctness check passed."
    )
    fresh_inputs: bool | None = Field(
        default=None,
        description="Whether the correctness check gave the kernel other values than it was built with; false: memory did not hold them.",
    )
    phases_s: dict[str, float] = Field(
        default={}, description="The median seconds of each phase of a call that has phases, each timed on its own."
    )
    conditions: Conditions = Field(default=Conditions(), description="The values that the device reported while the point ran.")
    started_utc: str | None = Field(default=None, description="When the point started, in ISO 8601.")
    wall_s: float | None = Field(default=None, description="The total time of the point: inputs, correctness check, timing.")
    host: str | None = Field(default=None, description="The machine that measured the point; null where the run was not given GPUs.")
    device_uuid: str | None = Field(default=None, description="The UUID of the GPU; null where the run was not given GPUs.")
    gpu_index: int | None = Field(default=None, description="The index of the GPU among those that CUDA shows; null where not given.")
    numa: int | None = Field(default=None, description="The NUMA node that the GPU is attached to; null where it is not known.")
    config_origin: Literal["rule", "tuned"] | None = Field(
        default=None,
        description="Who chose `config`: `rule`, the code, or `tuned`, the file of `--tuned`; null where the kernel does not record it.",
    )
    loops: list[dict[str, float]] = Field(
        default=[],
        description="What one pass of the main loop of each Triton kernel that ran on a GPU asks of an SM, by its machine code: FLOPs, "
        "instructions that are issued, bytes in shared memory, bytes loaded (kernels/loop_work.py). Empty where it is not known.",
    )

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

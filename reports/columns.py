"""Every column of the frame: label, unit and formula. The frame, the table, the hover text and the glossary all read this list."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from kernels.gpus import DEFAULT_GPU


@dataclass(frozen=True)
class Column:
    """`unit` is a key of reports.units.FORMATS, or empty for text."""

    name: str
    label: str
    unit: str
    group: str
    doc: str  # what it is; for a derived column its formula
    table: bool = False  # a column of the page's table
    hover: bool = False  # shown where the pointer rests on a point of a chart

    @property
    def numeric(self) -> bool:
        return self.unit != ""


IDENTITY, OUTCOME, TIME = "What was measured", "How it ended", "Time"
ANALYTIC, DERIVED, CONDITIONS = "Analytic cost", "Derived", "Conditions"
H100 = "Prediction for an H100"
GROUPS = (OUTCOME, IDENTITY, TIME, DERIVED, H100, ANALYTIC, CONDITIONS)

COLUMNS: tuple[Column, ...] = (
    Column("status", "Status", "", OUTCOME, "how the point ended; only ok, noisy and throttled points have a time", True, True),
    Column("point", "Point", "", IDENTITY, "stable id of the point; it does not change between runs", True),
    Column("op", "Op", "", IDENTITY, "operation family", True),
    Column("impl", "Impl", "", IDENTITY, "implementation: triton, or torch and its foreach, fused and compiled forms", True),
    Column("precision", "Precision", "", IDENTITY, "number format of the operands", True),
    Column("shape", "Shape", "", IDENTITY, "sizes of the dims in the op's canonical order", True),
    Column("dims", "Dims", "", IDENTITY, "names and sizes of the dims, as JSON"),
    Column("layout", "Layout", "", IDENTITY, "how a matmul's A and B are stored: n as written, t transposed"),
    Column("equation", "Equation", "", IDENTITY, "equation of an einsum, or pattern of einops"),
    Column("function", "Function", "", IDENTITY, "function of an elementwise or layout op, or operation of einops"),
    Column("options", "Options", "", IDENTITY, "every option of the op, as JSON"),
    Column(
        "cost_source",
        "FLOPs from",
        "",
        ANALYTIC,
        "formula: this suite's; counted: by PyTorch's FLOP counter, which knows products only, so that 0 is shown as no rate; given: by "
        "the op's author. Empty in rows of earlier versions: formula",
    ),
    Column(
        "fresh_inputs",
        "Fresh inputs",
        "",
        OUTCOME,
        "whether the check wrote new values into the operands; false where memory did not hold them twice",
    ),
    Column(
        "tolerance",
        "Tolerance",
        "",
        OUTCOME,
        "derived: from a reference in fp64; estimated: from a reference that cannot be evaluated in fp64. Empty if no result was compared",
    ),
    Column("label", "Label", "", IDENTITY, "where the shape comes from, such as a model's layer"),
    Column(
        "config",
        "Kernel config",
        "",
        IDENTITY,
        "configuration of the kernel that ran: tiles, warps, stages; for compiled code, of each kernel",
    ),
    Column("config_origin", "Config from", "", IDENTITY, "rule: the code chose the config; tuned: the file of --tuned did"),
    Column(
        "source_hash",
        "Source",
        "",
        IDENTITY,
        "hash of the code that operands and kernel depend on, after the version of its rules; comments and annotations do not count",
    ),
    Column("machine_code_hash", "Machine code", "", IDENTITY, "hash of the Triton kernels that ran on a GPU, without line numbers"),
    Column(
        "loops",
        "Main loops",
        "",
        IDENTITY,
        "what one pass of each Triton kernel's main loop asks of an SM, as JSON: FLOPs, instructions, bytes; bound_s follows from it",
    ),
    Column("median_s", "Median", "s", TIME, "median of the samples", True, True),
    Column("ci_low_s", "CI low", "s", TIME, "lower end of the interval of the median"),
    Column("ci_high_s", "CI high", "s", TIME, "upper end of the interval of the median"),
    Column("ci_half_width", "±CI", "fraction", TIME, "(ci_high_s − ci_low_s) / 2 / median_s", True, True),
    Column("samples", "Samples", "count", TIME, "number of timed samples; the samples are in rows.parquet and rows.jsonl"),
    Column(
        "process_medians_s",
        "Process medians",
        "",
        TIME,
        "median of each fresh process (--processes), s, as JSON; the interval is then computed from these",
    ),
    Column("samples_s", "Sample times", "", TIME, "every sample in time order, unfiltered, s; in rows.parquet and rows.jsonl only"),
    Column("timer", "Timer", "", TIME, "clock that measured the time"),
    Column("regime", "Regime", "", TIME, "sustained: back to back after warm-up; boost: short bursts after idling. Never set side by side"),
    Column("cache", "Cache", "", TIME, "cold: inputs rotate through more than the L2; hot: they stay in it"),
    Column(
        "mode",
        "Mode",
        "",
        TIME,
        "graph: many launches in a CUDA graph; events: one between two events; wall: the host's clock, on a CPU and for calls with "
        "host work; host: calls back to back by the host's clock, where enqueuing a call takes longer than a launch hold can last",
    ),
    Column("launches", "Launches", "count", TIME, "launches in one sample, which is their mean"),
    Column("sets", "Buffer sets", "count", TIME, "sets of inputs and outputs that launches rotate through, so that the cache is cold"),
    Column("dropped", "Dropped", "", TIME, "number of discarded samples by cause, as JSON; none for its value"),
    Column("warmup_s", "Warm-up", "s", TIME, "time until the point's times were steady"),
    Column("floor_s", "Floor", "s", TIME, "time of an empty kernel, measured in the same way; for short points only; not subtracted"),
    Column("enqueue_s", "Enqueue", "s", TIME, "time that the host takes to enqueue one launch"),
    Column(
        "launch_bound",
        "Launch-bound",
        "",
        TIME,
        "enqueue_s > median_s: the host, not the device, limits such launches; always true in mode host",
    ),
    Column("phases_s", "Phases", "", TIME, "for a call that has phases: the median time of each, s, as JSON, each timed separately"),
    Column("started_utc", "Started", "", TIME, "when the point began, UTC"),
    Column("wall_s", "Wall time", "s", TIME, "total time of the point: inputs, correctness check, timing"),
    Column("host", "Host", "", CONDITIONS, "machine that measured the point, in a run that was given GPUs"),
    Column("device_uuid", "GPU's UUID", "", CONDITIONS, "UUID of the GPU that measured the point, in a run that was given GPUs"),
    Column("gpu_index", "GPU's index", "", CONDITIONS, "index of that GPU among those that CUDA shows"),
    Column("numa", "NUMA node", "", CONDITIONS, "NUMA node that the GPU is attached to"),
    Column("flops_per_s", "Achieved", "FLOP/s", DERIVED, "flops / median_s", True, True),
    Column("mfu", "MFU", "fraction", DERIVED, "flops_per_s / (1979e12 / 2), for every precision", True, True),
    Column(
        "mfu_at_clock",
        "MFU at its clock",
        "fraction",
        DERIVED,
        "mfu × boost clock / sm_clock_hz: MFU at the clock that was measured; null if no clock was measured",
    ),
    Column(
        "peak_fraction", "Of peak", "fraction", DERIVED, "flops_per_s / the precision's own dense peak (CPU: its measured one)", True, True
    ),
    Column("bytes_per_s", "Traffic", "B/s", DERIVED, "(bytes_read + bytes_written) / median_s", True, True),
    Column(
        "bandwidth_fraction",
        "Of bandwidth",
        "fraction",
        DERIVED,
        "bytes_per_s / the memory bandwidth; on a CPU that of memory_level; null there if the run measured no caches",
        True,
        True,
    ),
    Column(
        "memory_level",
        "Level",
        "",
        DERIVED,
        "on a CPU: the smallest cache that holds memory_bytes, or memory; the run measured its bandwidth",
        hover=True,
    ),
    Column("intensity", "Intensity", "FLOP/B", DERIVED, "flops / (bytes_read + bytes_written), arithmetic intensity", True, True),
    Column("napkin_s", "Napkin", "s", DERIVED, "flops / peak of the units that compute (fp32's for elementwise): computing alone"),
    Column(
        "roofline_s",
        "Roofline",
        "s",
        DERIVED,
        "max(flops / peak, bytes / bandwidth), compulsory bytes; the peak is that of the units that compute: fp32 for elementwise",
    ),
    Column(
        "predicted_s",
        "Predicted",
        "s",
        DERIVED,
        "the cost model's best estimate: calibrated where constants are fitted, else roofline",
        True,
        True,
    ),
    Column(
        "tiles_s",
        "Tiles and waves",
        "s",
        DERIVED,
        "compute time beyond napkin_s: partly filled tiles and waves, a main loop below the peak",
    ),
    Column("traffic_s", "Traffic's time", "s", DERIVED, "time that memory traffic adds to computing, by the cost model"),
    Column("launches_s", "Launches' time", "s", DERIVED, "time that launches (on a CPU: operator calls) add, by the cost model"),
    Column(
        "clock_s",
        "Clock's time",
        "s",
        DERIVED,
        "time that a clock below the boost clock adds; negative if the clock was above it; 0 if not known",
    ),
    Column(
        "unexplained_s",
        "Unexplained",
        "s",
        DERIVED,
        "median_s − napkin_s − tiles_s − traffic_s − launches_s − clock_s: time the model does not explain; negative if it predicts more",
    ),
    Column("measured_over_predicted", "Meas./pred.", "ratio", DERIVED, "median_s / predicted_s", True, True),
    Column(
        "bound",
        "Bound",
        "",
        DERIVED,
        "compute, memory, or overhead: launches alone exceed the roofline time",
        True,
        True,
    ),
    Column(
        "bound_s",
        "Kernel's bound",
        "s",
        DERIVED,
        "the least time of the Triton kernel that ran: by its main loop's machine code, at the highest clock, with its tiles spread over "
        "all SMs, and by memory traffic. Only kernels that multiply matrices have one",
        hover=True,
    ),
    Column("measured_over_bound", "Meas./bound", "ratio", DERIVED, "median_s / bound_s", True, True),
    Column(
        "bound_limited_by",
        "Kernel's limit",
        "",
        DERIVED,
        "what limits bound_s: matrix units, issue slots, shared memory (docs/inspect.md#the-bound) or memory",
    ),
    Column("h100_predicted_s", "H100 predicted", "s", H100, f"predicted_s of the same point on {DEFAULT_GPU}", True, True),
    Column("h100_bound", "H100 bound", "", H100, "which term limits that time"),
    Column("flops", "FLOPs", "FLOP", ANALYTIC, "floating-point operations of one call; 2·m·n·k for a matmul"),
    Column("bytes_read", "Read", "B", ANALYTIC, "compulsory reads: each operand once"),
    Column("bytes_written", "Written", "B", ANALYTIC, "compulsory writes: each result once"),
    Column("memory_bytes", "Memory", "B", ANALYTIC, "memory that the point needs: operands, results, intermediates"),
    Column("peak_memory_bytes", "Peak memory", "B", CONDITIONS, "most memory that the allocator held, measured"),
    Column("tensor_memory_bytes", "Peak of tensors", "B", DERIVED, "peak_memory_bytes less scratch_bytes, where that is known"),
    Column("scratch_bytes", "Scratch", "B", CONDITIONS, "part of the peak that no tensor held: workspace that kernels allocated and freed"),
    Column("memory_over_analytic", "Peak/analytic memory", "ratio", DERIVED, "peak_memory_bytes / memory_bytes"),
    Column(
        "error_over_tolerance",
        "Error/tolerance",
        "ratio",
        OUTCOME,
        "largest error in the correctness check against the fp64 reference, over its tolerance; up to 1 passes",
    ),
    Column(
        "duty",
        "Duty",
        "fraction",
        CONDITIONS,
        "fraction of the time from the start of the first sample to the end of the last in which the device ran samples; null if not known",
    ),
    Column("sm_clock_hz", "SM clock", "Hz", CONDITIONS, "clock of the multiprocessors while it ran"),
    Column("memory_clock_hz", "Memory clock", "Hz", CONDITIONS, "clock of the memory while it ran"),
    Column("power_w", "Power", "W", CONDITIONS, "board power while it ran"),
    Column("energy_j", "Energy", "J", CONDITIONS, "energy of one call, over at least 3 s of calls back to back"),
    Column("temperature_c", "Temperature", "°C", CONDITIONS, "temperature of the GPU"),
    Column("throttle_reasons", "Throttling", "", CONDITIONS, "why the device slowed down, if it reported a reason"),
    Column("reason", "Reason", "", OUTCOME, "reason for the status", hover=True),
    Column("cause", "Cause", "", OUTCOME, "machine-readable reason, one word; empty for reasons that no program acts on", hover=True),
    Column("error_file", "Whole error", "", OUTCOME, "the file in the run directory that holds the error's whole message", hover=True),
)
# Computed for a page, which shows it in a point's dialog: too slow for every command that reads a run.
NEIGHBOURS = Column(
    "neighbours",
    "Better shapes nearby",
    "",
    DERIVED,
    "sizes of a single dim, multiples of 64, 128 or 256 next to its own, at which the cost model predicts 2% more FLOP/s or better; on "
    "the page and in explain only",
)
BY_NAME: dict[str, Column] = {column.name: column for column in (*COLUMNS, NEIGHBOURS)}


def beside(own: Mapping[str, Column], group: str) -> Callable[[str], Column]:
    """Descriptions for another table than a run's: its own columns by name, and what selects a point as it is described for a run, in
    `group` and not shown at first."""

    def described(name: str) -> Column:
        known = column(name)
        return own.get(name) or Column(name, known.label, known.unit, group, known.doc, known.table, False)

    return described


def column(name: str) -> Column:
    """The description of a column; one that a newer journal brings is shown under its own name."""
    return BY_NAME.get(name) or Column(name, name, "", OUTCOME, "not described")

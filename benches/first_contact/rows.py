"""What a row of the kernels must look like: status, error, mode, memory. Pure."""

from __future__ import annotations

from benches.first_contact.check import Check, Verdict, one_of, within
from benches.row import TIMED, Row
from benches.timing.method import GRAPH_BELOW_S, GRAPH_MAX_S
from kernels.registry import OPS, impl_of, point_of

CLEARLY = 2.0  # a factor: nearer to the limit between modes, either is right
MEMORY_LOW, MEMORY_HIGH = 0.9, 1.15  # of the analytic memory: the allocator rounds up
WORKSPACE_BYTES = 36 * 2**20  # where a row does not record what libraries took: cuBLAS 32 MiB a handle and stream, cublasLt 1 MiB
SMALL_BYTES = 2**20  # constants and scales, which are not worth a formula


def judge_row(step: str, row: Row, predicted_s: float | None) -> list[Check]:
    """The checks of one row. A point that is not supported passes where a reason is given."""
    if row.status == "unsupported":
        verdict: Verdict = "pass" if row.reason else "fail"
        return [Check(step, f"{row.point}: status", row.status, "", "timed, or unsupported with a reason", verdict)]
    checks = [one_of(step, f"{row.point}: status", row.status, TIMED, str(row.reason))]
    if row.error_over_tolerance is not None:
        checks.append(within(step, f"{row.point}: error over tolerance", row.error_over_tolerance, "", 0.0, 1.0))
    if row.status in TIMED and row.mode is not None:
        note = f"predicted {predicted_s:.3g} s, measured {row.median_s:.3g} s" if predicted_s and row.median_s else ""
        checks.append(one_of(step, f"{row.point}: mode", row.mode, expected_modes(row, predicted_s), note))
    if row.peak_memory_bytes is not None:
        checks.append(judge_memory(step, row))
    return checks


def expected_modes(row: Row, predicted_s: float | None) -> tuple[str, ...]:
    """The ways in which such a point may be timed."""
    if row.phases_s or row.bytes_read + row.bytes_written == 0:
        return ("wall",)
    slow_host = ("host",) if row.launch_bound else ()
    if row.cache == "cold" and row.sets == 1:  # the cache is flushed before each launch, which no graph can hold
        return ("events", *slow_host)
    if row.op in OPS and OPS[row.op].many_launches:
        return ("events", "graph", "host")
    seconds = predicted_s if predicted_s is not None else row.median_s
    if row.median_s and (row.sets or 1) * row.median_s > GRAPH_MAX_S / CLEARLY:  # much longer than predicted, a graph would take seconds
        return ("graph", "events", *slow_host)
    if seconds is None or GRAPH_BELOW_S / CLEARLY <= seconds <= GRAPH_BELOW_S * CLEARLY:
        return ("graph", "events", *slow_host)
    return ("graph",) if seconds < GRAPH_BELOW_S else ("events", *slow_host)


def judge_memory(step: str, row: Row) -> Check:
    """Checks the allocator's peak against the analytic memory, both in bytes. What a library allocated for itself, and what the operators
    of a formula leave to one another, may come on top."""
    peak = row.peak_memory_bytes or 0
    taken = WORKSPACE_BYTES if row.scratch_bytes is None else row.scratch_bytes
    if point := point_of(row):
        taken += impl_of(point).left_behind(point)
    low, high = MEMORY_LOW * row.memory_bytes, MEMORY_HIGH * row.memory_bytes + taken + SMALL_BYTES
    note = f"the analytic memory is {row.memory_bytes} bytes, libraries took {row.scratch_bytes}"
    return within(step, f"{row.point}: peak memory", float(peak) / 1e6, "MB", low / 1e6, high / 1e6, note)

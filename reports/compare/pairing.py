"""Every point of either run, once: as a pair where both have a time taken in the same way, else as what became of it. Pure."""

from __future__ import annotations

import json
import math

import numpy as np
import pandas as pd

from benches.row import FAILED, TIMED
from kernels.fingerprint import source_changed
from reports.compare.noise import replicated, size_class, within
from reports.compare.side import HOW, Record

IDENTITY = ["point", "op", "impl", "precision", "shape", "label", "options"]
OF_A_RUN = ["status", "reason", "median_s", "ci_low_s", "ci_high_s", "samples", "samples_s", "sm_clock_hz"]
REPLICATES = ["process_medians_s", "run_medians_s", "present"]
MIN_SAMPLES = 8  # whose extremes are a 99.2% interval of the median
CODE = {"config": "kernel config", "source_hash": "source", "machine_code_hash": "machine code", "mode": "way of timing", "flops": "FLOPs"}


def join(a: pd.DataFrame, b: pd.DataFrame) -> pd.DataFrame:
    """One row a point, B's order, then what only A has. Columns of the runs end in _a and _b; `verdict` is what became of a point
    (empty for a pair to judge), `why` says more, `noted` what differs in how a pair came about."""
    keep = [*OF_A_RUN, *REPLICATES, *HOW, *CODE]
    names = b.set_index("point").combine_first(a.set_index("point")).reset_index()[IDENTITY].set_index("point")
    left, right = a.set_index("point")[keep].add_suffix("_a"), b.set_index("point")[keep].add_suffix("_b")
    order = [*b["point"], *(point for point in a["point"] if point not in right.index)]
    joined = names.join(left).join(right).reindex(order)
    found = [_became(row) for row in joined.to_dict("records")]
    verdicts = pd.DataFrame(found, columns=["verdict", "why", "noted"], index=joined.index)
    return joined.join(verdicts).reset_index()


def _became(row: Record) -> tuple[str, str, str]:
    """Verdict (empty: judge it), why, what is to be noted."""
    a, b = row["status_a"], row["status_b"]
    if not isinstance(b, str):
        return "only in A", f"{a} in A", ""
    if not isinstance(a, str):
        return "only in B", f"{b} in B{_reason(row, 'b')}", ""
    if a in TIMED and b in TIMED:
        differ = [f"{name} {row[f'{name}_a']} in A, {row[f'{name}_b']} in B" for name in HOW if _differs(row, name)]
        if differ:
            return "not paired", "; ".join(differ), ""
        lacking = [f"{row[f'present_{run}']} of {run.upper()}" for run in "ab" if isinstance(row[f"present_{run}"], str)]
        return "", "", ", ".join([*(words for name, words in CODE.items() if _differs(row, name) and not _overruled(row, name)), *lacking])
    if a == b:
        return "untimed", f"{b} in both{_reason(row, 'b')}", ""
    change = "fails now" if b in FAILED and a not in FAILED else "works now" if a in FAILED and b not in FAILED else "other status"
    return change, f"{a} → {b}{_reason(row, 'a' if change == 'works now' else 'b')}", ""


def _reason(row: Record, run: str) -> str:
    reason = row[f"reason_{run}"]
    said = " in A" if run == "a" else ""
    return f"{said}: {reason}" if isinstance(reason, str) else ""


def _differs(row: Record, name: str) -> bool:
    """Where both runs say it: a run of an older version says less."""
    a, b = row[f"{name}_a"], row[f"{name}_b"]
    return not pd.isna(a) and not pd.isna(b) and a != b


def _overruled(row: Record, name: str) -> bool:
    """Whether different source hashes mean nothing: their rules differ, or both runs recorded the machine code, which is what ran."""
    known = not any(pd.isna(row[f"machine_code_hash_{run}"]) for run in "ab")
    return name == "source_hash" and (known or not source_changed(row["source_hash_a"], row["source_hash_b"]))


def measured(pairs: pd.DataFrame, threshold: float) -> pd.DataFrame:
    """Of rows to judge: log_ratio, size, why a time says little (`doubt`, else empty); and what is known of its error. Where both runs
    have one median each (`single`), their variances within (within_a, within_b, together within_var). Else replicates, of several runs
    or processes, tell (repeated_var, with repeated_df degrees of freedom): what moves a whole run is in them where they are of several
    runs, and is not in them where `common` runs had one draw of it."""
    found = pd.DataFrame({"log_ratio": np.log(pairs["median_s_b"] / pairs["median_s_a"])}, index=pairs.index)
    for run in "ab":
        rows = zip(*(pairs[f"{name}_{run}"] for name in ("ci_low_s", "ci_high_s", "samples")), strict=True)
        found[f"within_{run}"] = [within(*row) ** 2 for row in rows]
        found[f"medians_{run}"] = [_replicates(row, run) for row in pairs.to_dict("records")]
        found[f"runs_{run}"] = pairs[f"run_medians_s_{run}"].str.len().fillna(1).astype(int)
    known = replicated(found["medians_a"].tolist(), found["medians_b"].tolist())
    found["repeated_var"], found["repeated_df"] = known
    found["single"] = found["repeated_var"].isna()
    found.loc[~found["single"], ["within_a", "within_b"]] = 0.0
    found["within_var"] = found["within_a"] + found["within_b"]
    found["common"] = np.where(found[["runs_a", "runs_b"]].max(axis=1) > 1, 0, 2)
    found["size"] = pairs["median_s_a"].map(size_class)
    found["doubt"] = [_doubt(row) for row in pairs.to_dict("records")]
    found.loc[found["within_var"].isna() & (found["doubt"] == ""), "doubt"] = "a median without an interval"
    found["apart"] = [_apart(row, threshold) for row in pairs.to_dict("records")]
    return found


def _replicates(row: Record, run: str) -> list[float]:
    """Medians of a side's runs, else of its processes, else the one there is."""
    runs, processes = row[f"run_medians_s_{run}"], row[f"process_medians_s_{run}"]
    if isinstance(runs, list):
        return runs
    return json.loads(processes) if isinstance(processes, str) else [row[f"median_s_{run}"]]


def _doubt(row: Record) -> str:
    said = []
    for run in "ab":
        status, reason, samples = row[f"status_{run}"], row[f"reason_{run}"], row[f"samples_{run}"]
        if status != "ok":
            said.append(f"{status} in {run.upper()}" + (f" ({reason})" if isinstance(reason, str) else ""))
        elif isinstance(samples, float | int) and samples < MIN_SAMPLES:
            said.append(f"{samples:.0f} samples in {run.upper()}, wanted {MIN_SAMPLES}")
    return "; ".join(said)


def _apart(row: Record, threshold: float) -> bool:
    """Whether the slower run's fastest sample is slower than the faster one's slowest, by the threshold."""
    samples = [row["samples_s_a"], row["samples_s_b"]]
    ends = [(min(s), max(s)) if isinstance(s, list) and s else (0.0, math.inf) for s in samples]
    (low_a, high_a), (low_b, high_b) = ends
    return low_b > (1 + threshold) * high_a or low_a > (1 + threshold) * high_b

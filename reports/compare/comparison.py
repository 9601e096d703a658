"""Two runs, or several of each side, beside each other: everything that terminal and page show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd

from benches.run.sentinels import Reading, read_sentinels
from benches.timing.interval import Interval
from benches.units import megahertz
from reports.compare.differences import Field, differences, fields
from reports.compare.families import Family, families
from reports.compare.noise import CPU, GPU, Assumed, Spread, spreads
from reports.compare.pair_verdicts import judge, shift
from reports.compare.pairing import join, measured
from reports.compare.side import Side, side
from reports.refusal import RunError
from reports.report import Report

# In the order that deserves attention; changes of status before changes of speed.
CHANGED = ("fails now", "other status", "works now", "only in A", "only in B")
JUDGED = ("slower", "faster", "unclear", "same")
VERDICTS = (*CHANGED, *JUDGED, "not paired", "untimed")
CLOCK_DIFFERS = 0.01  # of the SM clock's median, from which it is said


@dataclass(frozen=True)
class Comparison:
    """`table`: a row a point of either run, what deserves attention first (verdict, then what is certain of the change)."""

    a: Side
    b: Side
    assumed: Assumed
    table: pd.DataFrame
    families: Sequence[Family]
    spreads: Sequence[Spread]
    shift: Interval | None  # B over A, median of the pairs; None where no pair can be trusted
    sentinels: dict[str, float]  # B over A
    environment: Sequence[Field]
    differs: Sequence[str]  # in words

    def of(self, *verdicts: str) -> pd.DataFrame:
        """The table's rows with these verdicts."""
        return self.table[self.table["verdict"].isin(verdicts)]

    @property
    def pairs(self) -> pd.DataFrame:
        return self.of(*JUDGED)

    @property
    def worse(self) -> bool:
        """Whether a point is slower or fails now, or a family's mean is slower."""
        return len(self.of("slower", "fails now")) > 0 or any(family.verdict == "slower" for family in self.families)

    def counts(self) -> dict[str, int]:
        """By verdict, those that occur, in the order of VERDICTS."""
        found = self.table["verdict"].value_counts()
        return {verdict: int(found[verdict]) for verdict in VERDICTS if verdict in found}


def compare(a: Sequence[Report], b: Sequence[Report], threshold: float | None = None) -> Comparison:
    """a, b: runs, several of a side being of the same code. threshold: relative, the device's default where None. Raises RunError where
    they cannot be compared."""
    every = [report.run_dir.resolve() for report in (*a, *b)]
    twice = next((run for run in every if every.count(run) > 1), None)
    if twice:
        raise RunError(f"{twice}: named twice: a run is compared with another one")
    if "simulated" in (kinds := {report.environment.kind for report in (*a, *b)}) and len(kinds) > 1:
        told = ", ".join(f"{report.run_dir} is {report.environment.kind}" for report in (*a, *b))
        raise RunError(f"a simulated run can only be compared with simulated runs: {told}")
    return of_sides(side(a), side(b), threshold)


def of_sides(a: Side, b: Side, threshold: float | None = None) -> Comparison:
    """Raises RunError where they have nothing in common."""
    kinds = {a.environment.kind, b.environment.kind}
    assumed = CPU if kinds == {"cpu"} else GPU
    assumed = assumed if threshold is None else replace(assumed, threshold=threshold)
    joined = join(a.frame, b.frame)
    if not set(a.frame["point"]) & set(b.frame["point"]):
        raise RunError(f"{a.last.run_dir} and {b.last.run_dir} have no point in common: compare two runs of the same sweep")
    to_judge = joined[joined["verdict"] == ""]
    pairs = measured(to_judge, assumed.threshold).join(to_judge[["op", "impl", "precision"]])
    pairs["seen"] = (pairs["doubt"] == "") & pairs["single"]
    spread = spreads(pairs, assumed)
    judged = judge(pairs, spread, assumed)
    moved = shift(judged)
    table = joined.join(judged.drop(columns=["op", "impl", "precision", "verdict", "why"]))
    table.loc[judged.index, ["verdict", "why"]] = judged[["verdict", "why"]]
    table["against_run"] = table["ratio"] / (moved.median if moved else np.nan)
    environment = fields(a.environment.fields, b.environment.fields)
    return Comparison(
        a,
        b,
        assumed,
        _ordered(table),
        families(judged, assumed),
        list(spread.values()),
        moved,
        _sentinels(*([reading for report in of.reports for reading in read_sentinels(report.run_dir)] for of in (a, b))),
        environment,
        [*differences(environment), *_clocks(table.loc[judged.index])],
    )


def _ordered(table: pd.DataFrame) -> pd.DataFrame:
    rank = table["verdict"].map({verdict: place for place, verdict in enumerate(VERDICTS)})
    size = np.log(table["at_least"]).abs().fillna(0.0), np.log(table["ratio"]).abs().fillna(0.0)
    return (
        table.assign(rank=rank, certain=-size[0], size_of=-size[1])
        .sort_values(["rank", "certain", "size_of", "point"])
        .drop(columns=["rank", "certain", "size_of"])
        .reset_index(drop=True)
    )


def _sentinels(a: Sequence[Reading], b: Sequence[Reading]) -> dict[str, float]:
    """Of points that never change, B's median over A's: what this is off 1, the machine (or PyTorch) moved by."""
    times = [pd.DataFrame({"name": [r.name for r in run], "s": [r.median_s for r in run]}).groupby("name")["s"].median() for run in (a, b)]
    return {str(name): float(ratio) for name, ratio in (times[1] / times[0]).dropna().items()}


def _clocks(pairs: pd.DataFrame) -> list[str]:
    clocks = [pairs[f"sm_clock_hz_{run}"].median() for run in "ab"]
    if not abs(clocks[1] / clocks[0] - 1) > CLOCK_DIFFERS:
        return []
    return [f"SM clock {megahertz(clocks[0]).removesuffix(' MHz')} → {megahertz(clocks[1])} (median of the pairs)"]

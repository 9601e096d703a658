"""In what a GPU differs from the others of its model: clocks, heat and power under load, its links and errors, its versions. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from reports.survey.boards import BESIDE, SLOWED
from reports.units import megahertz, show
from reports.verdict.robust import TO_SIGMA, Mask, medians

FAR = 4.0  # robust standard deviations from which a number is another one
RARE = 0.25  # share of the GPUs below which a word is a minority's
COMMON = 0.5  # share that the most frequent word must have to be what the others have
LEAST_GPUS = 3  # of a model: of two, neither is the one that differs
CAUSES = ("the clock", "a link", "an error", "heat and power", "a version")  # in the order in which they are shown


@dataclass(frozen=True)
class Difference:
    """What differs, in words, and how far: `score` orders those of the same `cause`, `whole_host`: all GPUs of its host share it."""

    fact: str
    cause: str
    text: str
    score: float
    whole_host: bool = False

    def __str__(self) -> str:
        return self.text + (", as all GPUs of this host" if self.whole_host else "")


@dataclass(frozen=True)
class _Fact:
    """How a column is compared and worded. least: by how much a number must differ; relative where `ratio`, else in its own unit."""

    cause: str
    words: Callable[[float, float], str]  # of this GPU's value and the others'
    least: float = 0.0
    ratio: bool = False
    counter: bool = False  # counts, of which most are 0


def _clock(what: str, when: str = "") -> Callable[[float, float], str]:
    return lambda own, others: f"{what} {megahertz(own)}{when}; the others {megahertz(others)}"


def _count(name: str) -> Callable[[float, float], str]:
    return lambda own, others: f"{own:,.0f} {name}; the others {others:,.0f}"


def _share(what: str) -> Callable[[float, float], str]:
    return lambda own, others: f"{what} in {own:.0%} of its points; the others in {others:.0%}"


NUMBERS: dict[str, _Fact] = {
    "sm_clock_hz": _Fact("the clock", _clock("SM clock", " under load"), 0.005, ratio=True),
    "memory_clock_hz": _Fact("the clock", _clock("memory clock", " under load"), 0.005, ratio=True),
    "sm_clock_max_hz": _Fact("the clock", _clock("SM clock limited to"), 0.005, ratio=True),
    "power_limit_w": _Fact("the clock", lambda own, o: f"power limited to {own:,.0f} W; the others {o:,.0f} W", 0.01, ratio=True),
    "heat_slowed": _Fact("the clock", _share("slowed by heat or hardware"), 0.02),
    "power_capped": _Fact("the clock", _share("at its power cap"), 0.1),
    "pcie_width": _Fact("a link", lambda own, o: f"PCIe x{own:.0f} instead of x{o:.0f}", 0.5),
    "pcie_generation": _Fact("a link", lambda own, o: f"PCIe generation {own:.0f} instead of {o:.0f}", 0.5),
    "nvlinks": _Fact("a link", lambda own, o: f"{own:.0f} NVLinks active instead of {o:.0f}", 0.5),
    "pcie_replays_grown": _Fact("a link", _count("PCIe replays during the survey"), 1, counter=True),
    "nvlink_crc_errors_grown": _Fact("a link", _count("NVLink CRC errors during the survey"), 1, counter=True),
    "nvlink_replays_grown": _Fact("a link", _count("NVLink replays during the survey"), 1, counter=True),
    "nvlink_recoveries_grown": _Fact("a link", _count("NVLink recoveries during the survey"), 1, counter=True),
    "ecc_uncorrected_grown": _Fact("an error", _count("uncorrected memory errors during the survey"), 1, counter=True),
    "ecc_corrected_grown": _Fact("an error", _count("corrected memory errors during the survey"), 1, counter=True),
    "ecc_uncorrected": _Fact("an error", _count("uncorrected memory errors so far"), 1, counter=True),
    "ecc_corrected": _Fact("an error", _count("corrected memory errors so far"), 1, counter=True),
    "remapped_rows_uncorrected": _Fact("an error", _count("memory rows remapped after uncorrected errors"), 1, counter=True),
    "remapped_rows_corrected": _Fact("an error", _count("memory rows remapped after corrected errors"), 1, counter=True),
    "pcie_replays": _Fact("an error", _count("PCIe replays so far"), 1, counter=True),
    "temperature_c": _Fact("heat and power", lambda own, o: f"{own:,.0f} °C under load; the others {o:,.0f} °C", 4.0),
    "memory_temperature_c": _Fact("heat and power", lambda own, o: f"memory at {own:,.0f} °C; the others {o:,.0f} °C", 4.0),
    BESIDE: _Fact(
        "heat and power",
        lambda own, o: f"time of its sentinels {show(own, 'change')} while the other GPUs work; the others {show(o, 'change')}",
        0.01,
    ),
    "power_w": _Fact("heat and power", lambda own, o: f"{own:,.0f} W under load; the others {o:,.0f} W", 0.03, ratio=True),
    "failed_fraction": _Fact("an error", _share("no time"), 0.02),
}
FLAGS = {  # yes or no: the words of both
    "ecc": ("the clock", {False: "ECC is off; the others have it on", True: "ECC is on; the others have it off"}),
    "remapping_failed": ("an error", {True: "remapping a memory row failed"}),
    "remapping_pending": ("an error", {True: "a memory row waits for a reset to be remapped"}),
}
WORDS = {  # names of versions and settings
    **{"driver": "driver", "vbios": "VBIOS", "torch": "torch", "triton": "triton", "cuda_runtime": "CUDA runtime"},
    **{"clock_policy": "clock settings", "commit": "commit"},
}
UNDER_LOAD = {"sm_clock_hz": True, "memory_clock_hz": True, "power_w": True, "temperature_c": False}  # whether GPUs differ by a factor
POWER_CAP = "power cap"
MEASURED = (*UNDER_LOAD, "heat_slowed", "power_capped", "failed_fraction")  # columns of `conditions` that come from rows


def conditions(rows: pd.DataFrame, boards: pd.DataFrame) -> pd.DataFrame:
    """Returns a line a GPU, by its UUID: the board's facts, and what its rows show under load.

    A clock, power or temperature is compared point by point: a GPU's value is the fleet's, moved by the median of how far the GPU is from
    the fleet's median of each point. rows, boards: of SurveyRun.
    """
    found = boards.set_index("gpu")
    places = found.index.get_indexer(pd.Index(rows["gpu"].astype(str)))
    gpus, points = len(found), pd.factorize(rows["point"])[0]
    wide = np.full((gpus, points.max() + 1 if len(rows) else 0), np.nan)
    measured = {}
    for name, ratio in UNDER_LOAD.items():
        values = wide.copy()
        values[places, points] = np.log(rows[name].where(rows[name] > 0)) if ratio else rows[name]  # a sensor that fails may show 0
        middle = medians(values.T)
        usual = medians(middle[None, :])[0] if len(middle) else np.nan
        own = medians(values - middle[None, :]) + usual if values.size else np.full(gpus, np.nan)
        measured[name] = np.exp(own) if ratio else own
    reasons = rows["throttle_reasons"].astype(object).fillna("").astype(str)
    others = reasons.str.replace(POWER_CAP, "").str.strip(", ") != ""
    shares = {"heat_slowed": others, "power_capped": reasons.str.contains(POWER_CAP), "failed_fraction": rows["median_s"].isna()}
    counted = np.bincount(places, minlength=gpus).astype(float)
    with np.errstate(invalid="ignore"):
        measured |= {name: np.bincount(places, weights=flags, minlength=gpus) / counted for name, flags in shares.items()}
    return found.assign(**measured)


def differing(table: pd.DataFrame, gpu: str) -> list[Difference]:
    """Returns in what a GPU differs from the others of its model, worst first: by CAUSES, then by how far. table: of `conditions`."""
    alike = table[table["model"] == table.at[gpu, "model"]]
    if len(alike) < LEAST_GPUS:
        return []
    place = int(np.flatnonzero(alike.index == gpu)[0])
    host = (alike["host"] == alike["host"].iloc[place]).to_numpy()
    found = [_number(name, fact, alike, place, host) for name, fact in NUMBERS.items()]
    found += [_slowed(str(name), alike, place, host) for name in alike if str(name).startswith(SLOWED)]
    found += [_flag(name, alike, place, host) for name in FLAGS]
    found += [_word(name, alike, place, host) for name in WORDS]
    kept = [one for one in found if one is not None]
    return _without_echoes(sorted(kept, key=lambda one: (CAUSES.index(one.cause), -one.score)))


def _without_echoes(found: list[Difference]) -> list[Difference]:
    """Leaves out what a counter shows of a lifetime where it also grew during the survey."""
    names = {one.fact for one in found}
    return [one for one in found if f"{one.fact}_grown" not in names]


def _number(name: str, fact: _Fact, alike: pd.DataFrame, place: int, host: Mask) -> Difference | None:
    if name not in alike:
        return None
    values = pd.to_numeric(alike[name], errors="coerce").to_numpy(float)
    others = np.delete(values, place)
    own, others = values[place], others[~np.isnan(others)]
    if np.isnan(own) or len(others) < LEAST_GPUS - 1:
        return None
    middle = float(np.median(others))
    apart = np.abs(values - middle)
    least = fact.least * abs(middle) if fact.ratio else fact.least
    spread = TO_SIGMA * float(np.median(np.abs(others - middle)))
    if fact.counter:  # most count nothing, so that the spread is 0: that of a count
        spread = max(spread, np.sqrt(max(middle, 1.0)) / 2)
    far = apart / max(spread, least / FAR, 1e-300)
    unlike = (far >= FAR) & (apart >= least) & (apart > 0)
    if not unlike[place] or (fact.counter and own < middle):
        return None
    same_way = unlike & (np.sign(values - middle) == np.sign(own - middle))
    return Difference(name, fact.cause, fact.words(own, middle), float(far[place]), _whole(same_way, host))


def _slowed(name: str, alike: pd.DataFrame, place: int, host: Mask) -> Difference | None:
    """Seconds for which a cause slowed the board. The power cap slows every board that works hard."""
    cause = name.removeprefix(SLOWED)
    fact = _Fact("the clock", lambda own, o: f"slowed for {own:,.0f} s by {cause}; the others {o:,.0f} s", 1.0)
    found = _number(name, fact, alike, place, host)
    values = pd.to_numeric(alike[name], errors="coerce")
    return found if found is not None and values.iloc[place] > values.median() else None


def _flag(name: str, alike: pd.DataFrame, place: int, host: Mask) -> Difference | None:
    cause, words = FLAGS[name]
    found = _minority(name, alike, place, host)
    if found is None or (own := bool(alike[name].iloc[place])) not in words:
        return None
    return Difference(name, cause, words[own], found[1], found[2])


def _word(name: str, alike: pd.DataFrame, place: int, host: Mask) -> Difference | None:
    found = _minority(name, alike, place, host)
    if found is None:
        return None
    return Difference(name, "a version", f"{WORDS[name]} {alike[name].iloc[place]} instead of {found[0]}", found[1], found[2])


def _minority(name: str, alike: pd.DataFrame, place: int, host: Mask) -> tuple[object, float, bool] | None:
    """The value that most have, how rare this GPU's is, and whether its whole host has it; None where it has what many have."""
    if name not in alike or pd.isna(own := alike[name].iloc[place]):
        return None
    known = alike[name].dropna()
    counts = known.value_counts()
    most, share = counts.index[0], float((known == own).mean())
    if own == most or share > RARE or counts.iloc[0] < COMMON * len(known):
        return None
    return most, float(-np.log(share)), _whole((alike[name] == own).to_numpy(bool), host)


def _whole(unlike: Mask, host: Mask) -> bool:
    """Whether every GPU of the host is unlike the others, of several."""
    return bool(np.count_nonzero(host) > 1 and unlike[host].all() and not unlike[~host].all())

"""What the page of a survey shows: a line a GPU with its state, its slowness by family, what differs at it, its place and conditions."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from reports.columns import Column
from reports.survey.boards import BESIDE
from reports.survey.families import FAMILIES
from reports.survey.inventory import PLACES
from reports.survey.judge import FINE, SLOW, UNUSABLE, WATCH, Judged
from reports.survey.neighbours import MEASURED, differing
from reports.survey.survey_run import SurveyRun
from reports.survey.words import failing
from reports.verdict.robust import TO_SIGMA

STATE, WHERE, SHOWS, HEALTH = "State", "Where it is", "Under load", "Health and versions"
GROUPS = (STATE, WHERE, SHOWS, HEALTH)
FAILING = "failing"  # the state, on the page, of a GPU that is not slow and fails points that most others time
ATTENTION = (SLOW, FAILING, UNUSABLE, WATCH)  # states that are worth a look, in this order
SLOWER = "slower "  # begins the column of a family, as in Judged.gpus
STEPS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
FEW = 64  # GPUs of a survey of which all are compared with the others, also those that are fine
MOST_COMPARED = 200  # GPUs: of more, something is wrong with the survey rather than with them
PAGE = "page"  # the column of the address of a GPU's own page
COLUMNS = (
    Column(
        "status", "State", "", STATE, "slow; failing: it fails points that most others time; unusable: not judged; watch; fine", True, True
    ),
    Column("point", "GPU", "", WHERE, "host and index of the GPU", True, True),
    Column(
        "slower", "Slower by", "change", STATE, "median over its points of its time over the median of all GPUs of its group", True, True
    ),
    *(
        Column(SLOWER + name, name.capitalize(), "change", STATE, f"the same over the points of the family {name}", True, True)
        for name in FAMILIES
    ),
    Column("slower_low", "Slower, at least", "change", STATE, "lower end of the 95% interval of Slower by"),
    Column("slower_high", "Slower, at most", "change", STATE, "upper end of the 95% interval of Slower by"),
    Column("worst", "Slow by", "change", STATE, "largest of the ratios for which it is slow or watched"),
    Column("rack", "Rack", "", WHERE, "from the inventory", True, True),
    Column("slot", "Slot", "", WHERE, "from the inventory", True, True),
    Column("sm_clock_hz", "SM clock", "Hz", SHOWS, "under load, compared point by point", True, True),
    Column("memory_clock_hz", "Memory clock", "Hz", SHOWS, "under load, compared point by point"),
    Column("temperature_c", "Temperature", "°C", SHOWS, "under load, compared point by point", True, True),
    Column("power_w", "Power", "W", SHOWS, "under load, compared point by point", True, True),
    Column("heat_slowed", "Slowed by heat", "fraction", SHOWS, "share of its points that heat or hardware slowed", True),
    Column("power_capped", "At power cap", "fraction", SHOWS, "share of its points at the power cap"),
    Column("failed_fraction", "Without a time", "fraction", SHOWS, "share of its points that failed or were not timed", True),
    Column(BESIDE, "Beside others", "change", SHOWS, "time of a sentinel while the other GPUs work over its time alone: the larger of two"),
    Column("points", "Points", "count", SHOWS, "points that were compared", True),
    Column("failed", "Failed", "count", SHOWS, "points that failed and that most others time", True),
    Column("noisy", "Noisy", "count", SHOWS, "points whose time did not become steady"),
    Column("throttled", "Throttled", "count", SHOWS, "points that were timed while heat or hardware slowed the GPU"),
    Column("model", "Model", "", HEALTH, "the board's name"),
    Column("pcie_generation", "PCIe generation", "count", HEALTH, "of the link, at best", False),
    Column("pcie_width", "PCIe lanes", "count", HEALTH, "of the link, at best", True),
    Column("ecc_corrected_grown", "ECC corrected", "count", HEALTH, "memory errors corrected during the survey", True),
    Column("ecc_uncorrected_grown", "ECC uncorrected", "count", HEALTH, "memory errors not corrected, during the survey", True),
    Column("ecc_corrected", "ECC corrected so far", "count", HEALTH, "memory errors corrected in the board's life"),
    Column("ecc_uncorrected", "ECC uncorrected so far", "count", HEALTH, "memory errors not corrected in the board's life"),
    Column("remapped_rows_corrected", "Remapped rows", "count", HEALTH, "memory rows remapped after corrected errors"),
    Column(
        "remapped_rows_uncorrected", "Remapped rows, uncorrected", "count", HEALTH, "memory rows remapped after uncorrected errors", True
    ),
    Column("nvlinks", "NVLinks", "count", HEALTH, "links that are active"),
    Column("nvlink_crc_errors_grown", "NVLink CRC errors", "count", HEALTH, "during the survey", True),
    Column("power_limit_w", "Power limit", "W", HEALTH, "enforced power limit"),
    Column("memory_temperature_c", "Memory temperature", "°C", HEALTH, "at the end of the survey"),
    Column("driver", "Driver", "", HEALTH, "version"),
    Column("vbios", "VBIOS", "", HEALTH, "version"),
    Column("torch", "torch", "", HEALTH, "version"),
    Column("triton", "triton", "", HEALTH, "version"),
    Column("serial", "Serial number", "", HEALTH, "of the board"),
    Column("bus", "PCI address", "", HEALTH, "of the board in its host"),
    Column("host", "Host", "", WHERE, "name of the machine"),
    Column("index", "Index", "count", WHERE, "among the GPUs that CUDA shows"),
    Column("numa", "NUMA node", "count", WHERE, "that the GPU is attached to"),
    Column("gpu", "UUID", "", WHERE, "of the GPU"),
    Column("directory", "Folder", "", WHERE, "its run directory in the survey's"),
    Column(PAGE, "Page", "", WHERE, "address of its own page, where there is one"),
    Column("reason", "What differs", "", STATE, "in what it differs from the others of its model, worst first", False, True),
)
BY_NAME = {column.name: column for column in COLUMNS}


@dataclass(frozen=True)
class Shown:
    """gpus: COLUMNS that are known, in the survey's order, indexed from 0. differs: in what a GPU differs, by the row of `gpus`."""

    run: SurveyRun
    judged: Judged
    gpus: pd.DataFrame
    differs: Mapping[int, list[str]]

    @property
    def families(self) -> list[str]:
        """Of the survey's points."""
        known = set(self.judged.points["family"])
        return [name for name in FAMILIES if name in known]

    @cached_property
    def scale(self) -> float:
        """The step of the map's colours, a round fraction: of healthy GPUs hardly one in twenty has a colour."""
        return next((step for step in STEPS if step >= 2 * spread(self.gpus["slower"])), STEPS[-1])

    def count(self, *states: str) -> int:
        """Returns how many GPUs are in any of these states."""
        return int(self.gpus["status"].isin(states).sum())

    def in_state(self, *states: str) -> pd.DataFrame:
        """GPUs of these states in the order of the states, those that are slowest in what they are slow in first."""
        found = self.gpus[self.gpus["status"].isin(states)]
        return found.assign(rank=found["status"].map(list(states).index)).sort_values(["rank", "worst"], ascending=[True, False])


def shown(run: SurveyRun, judged: Judged) -> Shown:
    """Puts a survey and its verdict together."""
    boards = _own_names(run.boards, {*BY_NAME, *judged.gpus})
    table = boards.set_index("gpu").assign(**{name: run.conditions[name] for name in MEASURED})
    verdicts = judged.gpus.set_index("gpu").reindex(table.index)
    status = verdicts["state"].where((verdicts["failed"] == 0) | (verdicts["state"] == SLOW), FAILING)
    looked_at = np.flatnonzero((status != FINE) | (len(table) <= FEW))[:MOST_COMPARED].tolist()
    differs = {i: [str(one) for one in differing(table, str(table.index[i]))] for i in looked_at}
    told = [about(*both) for both in zip(run.boards.to_dict("records"), verdicts.to_dict("records"), strict=True)]
    reasons = [" · ".join([*told[i], *differs.get(i, [])]) or None for i in range(len(table))]
    kept = ["slower", "slower_low", "slower_high", "worst", "points", "noisy", "throttled", "failed", "group"]
    gpus = table.join(verdicts[[*kept, *(SLOWER + family for family in FAMILIES)]]).assign(
        gpu=table.index, status=status, point=names(run.boards), reason=pd.Series(reasons, table.index, dtype=object)
    )
    known = [*(name for name in BY_NAME if name in gpus), *_free(boards), "group"]
    return Shown(run, judged, gpus[known].reset_index(drop=True), differs)


def about(board: Mapping[Any, Any], verdict: Mapping[Any, Any]) -> list[str]:
    """Why a GPU was lost or could not be judged, and whether it fails what others time."""
    lost = [str(board["reason"])] if board["status"] == "lost" and board["reason"] else []
    return [
        *lost,
        *([verdict["reason"]] if isinstance(verdict["reason"], str) and not lost else []),
        *([failing(verdict)] if verdict["failed"] > 0 else []),
    ]


def _own_names(boards: pd.DataFrame, known: Collection[str]) -> pd.DataFrame:
    """boards, with another name for each of the inventory's own columns that is called as one of the page is."""
    return boards.rename(columns={name: f"{name} (inventory)" for name in _free(boards) if name in known})


def _free(boards: pd.DataFrame) -> list[str]:
    """The inventory's own columns: those that follow rack and slot."""
    columns = list(map(str, boards))
    return columns[columns.index(PLACES[-1]) + 1 :] if PLACES[-1] in columns else []


def names(boards: pd.DataFrame) -> list[str]:
    """Returns host and index of each GPU, and the beginning of its UUID where a host has two of an index, as after an exchange."""
    plain = boards["host"].astype(str) + " GPU " + boards["index"].astype(str)
    again = plain.duplicated(keep=False)
    return list(plain.where(~again, plain + " (" + boards["gpu"].str[:12] + ")"))


def column(name: str) -> Column:
    """Returns a column of the table by its name: one of COLUMNS, or one of the inventory's own."""
    return BY_NAME.get(name) or Column(name, name, "", WHERE, "from the inventory", True, True)


def spread(slower: pd.Series) -> float:
    """The robust standard deviation of ratios, relative; 0 where there are none."""
    values = slower.dropna().to_numpy(float)
    return TO_SIGMA * float(np.median(np.abs(values - np.median(values)))) if len(values) else 0.0

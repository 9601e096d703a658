"""What the page of a survey shows: a line a GPU with its state, its slowness by family, what differs at it, its place and conditions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from reports.columns import Column
from reports.survey.families import FAMILIES
from reports.survey.inventory import PLACES
from reports.survey.neighbours import conditions, differing
from reports.survey.slowness import SLOWER, Wide, by_gpu, present, wide
from reports.survey.survey_run import SurveyRun

STATE, WHERE, SHOWS, HEALTH = "State", "Where it is", "Under load", "Health and versions"
GROUPS = (STATE, WHERE, SHOWS, HEALTH)
ATTENTION = ("slow", "unusable", "watch")  # states of GPUs whose differences are looked for
STEPS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2)
MOST_COMPARED = 200  # GPUs: of more, something is wrong with the survey rather than with them
COLUMNS = (
    Column("status", "State", "", STATE, "slow, watch, fine; unusable: no times; not judged", True, True),
    Column("point", "GPU", "", WHERE, "host and index of the GPU", True, True),
    Column(
        "slower", "Slower by", "change", STATE, "median over its points of its time over the median of all GPUs of its group", True, True
    ),
    *(
        Column(SLOWER + name, name.capitalize(), "change", STATE, f"the same over the points of the family {name}", True, True)
        for name in FAMILIES
    ),
    Column("rack", "Rack", "", WHERE, "from the inventory", True, True),
    Column("slot", "Slot", "", WHERE, "from the inventory", True, True),
    Column("sm_clock_hz", "SM clock", "Hz", SHOWS, "under load, compared point by point", True, True),
    Column("memory_clock_hz", "Memory clock", "Hz", SHOWS, "under load, compared point by point"),
    Column("temperature_c", "Temperature", "°C", SHOWS, "under load, compared point by point", True, True),
    Column("power_w", "Power", "W", SHOWS, "under load, compared point by point", True, True),
    Column("heat_slowed", "Slowed by heat", "fraction", SHOWS, "share of its points that heat or hardware slowed", True),
    Column("power_capped", "At power cap", "fraction", SHOWS, "share of its points at the power cap"),
    Column("failed_fraction", "Without a time", "fraction", SHOWS, "share of its points that failed or were not timed", True),
    Column("timed", "Points", "count", SHOWS, "points with a time", True),
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
    Column("reason", "What differs", "", STATE, "in what it differs from the others of its model, worst first", False, True),
)
BY_NAME = {column.name: column for column in COLUMNS}


@dataclass(frozen=True)
class Shown:
    """gpus: COLUMNS that are known, in the survey's order, indexed from 0. differs: what differs, by the row of `gpus`. found: times."""

    run: SurveyRun
    gpus: pd.DataFrame
    differs: Mapping[int, list[str]]
    found: Wide
    notes: tuple[str, ...] = field(default=())

    @property
    def families(self) -> list[str]:
        return present(self.found)

    @property
    def scale(self) -> float:
        """The step of the map's colours: a round number of percent of about the spread between GPUs, as a ratio's distance from 1."""
        return next((step for step in STEPS if step >= spread(self.gpus["slower"])), STEPS[-1])

    def count(self, *states: str) -> int:
        return int(self.gpus["status"].isin(states).sum())

    def in_state(self, *states: str) -> pd.DataFrame:
        """GPUs of these states, the slowest first; those without a time last."""
        return self.gpus[self.gpus["status"].isin(states)].sort_values("slower", ascending=False)


def shown(run: SurveyRun, states: Mapping[str, str] | None = None, groups: pd.Series | None = None) -> Shown:
    """states: of each GPU, by UUID; None where nothing was judged. groups: by UUID, what each is compared with; the model if None."""
    boards = run.boards.set_index("gpu", drop=False)
    found = wide(run.rows, boards["model"] if groups is None else groups.reindex(boards.index))
    measured = by_gpu(found)
    table = conditions(run.rows, run.boards)
    states = states or {}
    status = [
        states.get(gpu) or ("not judged" if timed else "unusable") for gpu, timed in zip(boards["gpu"], measured["timed"], strict=True)
    ]
    attention = [i for i, state in enumerate(status) if state in ATTENTION]
    differs = {i: [str(one) for one in differing(table, boards["gpu"].iloc[i])] for i in attention[:MOST_COMPARED]}
    reasons = [_reason(boards.iloc[i], differs.get(i, [])) for i in range(len(boards))]
    gpus = table.assign(**measured, gpu=boards["gpu"], status=status, point=names(run.boards), reason=reasons)
    known = [name for name in BY_NAME if name in gpus]
    extra = [name for name in run.boards if name in _free(run.boards)]
    return Shown(run, gpus[known + extra].reset_index(drop=True), differs, found)


def _free(boards: pd.DataFrame) -> list[str]:
    """The inventory's own columns: those that follow rack and slot."""
    columns = list(map(str, boards))
    return columns[columns.index(PLACES[-1]) + 1 :] if PLACES[-1] in columns else []


def _reason(board: pd.Series, differs: list[str]) -> str | None:
    lost = [str(board["reason"])] if board["status"] == "lost" and board["reason"] else []
    return "; ".join([*lost, *differs]) or None


def names(boards: pd.DataFrame) -> list[str]:
    """Returns host and index of each GPU, and the beginning of its UUID where a host has two of an index, as after an exchange."""
    plain = boards["host"].astype(str) + " GPU " + boards["index"].astype(str)
    again = plain.duplicated(keep=False)
    return list(plain.where(~again, plain + " (" + boards["gpu"].str[:12] + ")"))


def column(name: str) -> Column:
    """Of the table: COLUMNS, and the inventory's own ones."""
    return BY_NAME.get(name) or Column(name, name, "", WHERE, "from the inventory", True, True)


def place_of(gpu: pd.Series) -> str:
    """Rack and slot in words; empty where the inventory does not name them."""
    return ", ".join(f"{name} {gpu[name]}" for name in PLACES if isinstance(gpu.get(name), str) and gpu[name])


def spread(slower: pd.Series) -> float:
    """The robust standard deviation of ratios, relative; 0 where there are none."""
    values = slower.dropna().to_numpy(float)
    return 1.4826 * float(np.median(np.abs(values - np.median(values)))) if len(values) else 0.0

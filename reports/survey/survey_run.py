"""A survey's directory, read: every row of every GPU, and what is known of each board."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benches.run.survey_file import NAME, SurveyFile, read_survey
from kernels.cost_model import predict_rows
from kernels.gpus import Ceilings
from kernels.listed import first_of
from reports.environment import NAME as ENVIRONMENT
from reports.environment import Environment
from reports.refusal import RunError
from reports.survey.boards import board_table, environments
from reports.survey.families import family
from reports.survey.inventory import places, read_inventory
from reports.survey.neighbours import conditions
from reports.survey.rows_file import OBJECTS, Objects, Rows, survey_rows

WAY = ("point", "cache")  # what a prediction of one board's model depends on
NAMED = 3  # directories in a note
COST = ("op", "impl", "precision", "flops", "bytes_read", "bytes_written", "memory_bytes", "cache")


@dataclass(frozen=True)
class SurveyRun:
    """rows: a line a GPU and point that has a row; columns `gpu` (UUID), `host`, `index`, `model`, `directory`, those of the row, and
    `bound`, `family`, `predicted_s`. boards: a line a GPU (reports.survey.boards), with the inventory's columns. problems: for the reader.
    """

    run_dir: Path
    file: SurveyFile
    rows: pd.DataFrame
    boards: pd.DataFrame
    problems: tuple[str, ...] = ()

    @property
    def simulated(self) -> bool:
        return self.file.device_kind == "simulated"

    @cached_property
    def conditions(self) -> pd.DataFrame:
        """What is known of each GPU's board and what its rows show under load (reports.survey.neighbours)."""
        return conditions(self.rows, self.boards)


def read_run(run: Path, inventory: Path | None = None) -> SurveyRun:
    """Reads a survey's directory. Raises RunError where it holds no survey that this version reads, or the inventory is not one."""
    places_of = None if inventory is None else read_inventory(inventory)
    try:
        survey = read_survey(run)
    except OSError as error:
        raise RunError(f"{run / NAME}: cannot be read ({error.strerror}): a survey is what `--gpus` of several GPUs writes") from error
    except ValueError as error:
        raise RunError(str(error)) from error
    if not survey.gpus:
        raise RunError(f"{run / NAME}: names no GPU")
    of_machines = environments(run, survey)
    found = survey_rows(run, [gpu.directory for gpu in survey.gpus])
    boards = board_table(survey, of_machines)
    problems = [*found.problems, *_unknown(of_machines, set(found.table.column("directory").unique().to_pylist()))]
    if places_of is not None:
        where, notes = places(boards, places_of)
        boards = boards.join(where.rename(columns={name: f"{name} (inventory)" for name in where if name in boards}))
        problems += [f"{inventory}: {note}" for note in notes]
    return SurveyRun(run, survey, _rows(found, boards, of_machines), boards, tuple(problems))


def _unknown(of_machines: dict[str, Environment], measured: set[str]) -> list[str]:
    """A note on the directories that have rows, and no environment.json that can be read."""
    names = [name for name, found in of_machines.items() if name in measured and not found.fields]
    return [f"{ENVIRONMENT} missing or unreadable in {first_of(names, NAMED)}: board and versions are not known"] if names else []


def _rows(found: Rows, boards: pd.DataFrame, of_machines: dict[str, Environment]) -> pd.DataFrame:
    """SurveyRun.rows from those of the file, in the order of the GPUs."""
    rows = found.table.to_pandas()
    line = pd.Index(boards["directory"]).get_indexer(rows["directory"].astype(str))
    order = np.argsort(line, kind="stable")
    rows, line = rows.iloc[order].reset_index(drop=True), line[order]
    identity: dict[str, Any] = {name: pd.Categorical(boards[name], boards[name].unique())[line] for name in ("gpu", "host", "model")}
    identity["index"] = boards["index"].to_numpy()[line]
    limits = _limits(rows, found.objects, line, [of_machines[name].ceilings for name in boards["directory"]])
    return pd.DataFrame(identity).join(rows).assign(**limits)


def _limits(rows: pd.DataFrame, objects: Objects, line: np.ndarray, ceilings: list[Ceilings | None]) -> dict[str, pd.Series]:
    """`bound`, `family` and `predicted_s` of each row, computed once for a point and a model of boards."""
    kinds = pd.factorize(np.array(["" if one is None else one.model_dump_json() for one in ceilings], dtype=object))[0]
    known = dict(zip(kinds.tolist(), ceilings, strict=True))
    kind = kinds[line]
    way = rows.groupby([kind, *(rows[name] for name in WAY)], observed=True, dropna=False, sort=False).ngroup().to_numpy()
    _, first = np.unique(way, return_index=True)
    bound, seconds = np.full(len(first), None, dtype=object), np.full(len(first), np.nan)
    for one, limits in known.items():
        here = np.flatnonzero(kind[first] == one)
        if limits is None or not len(here):
            continue
        lines = rows.iloc[first[here]]
        asked = [objects.get(point, ({}, {})) for point in lines["point"]]
        found = predict_rows(
            {**{name: lines[name].tolist() for name in COST}, **dict(zip(OBJECTS, zip(*asked, strict=True), strict=True))}, limits
        )
        bound[here], seconds[here] = [text or None for text in found.bound], found.predicted_s
    ops, precisions = rows["op"].iloc[first], rows["precision"].iloc[first]
    families = [family(*one) for one in zip(ops, precisions, bound, strict=True)]
    return {
        "bound": pd.Series(pd.Categorical(bound[way])),
        "family": pd.Series(pd.Categorical(np.array(families, dtype=object)[way])),
        "predicted_s": pd.Series(seconds[way]),
    }

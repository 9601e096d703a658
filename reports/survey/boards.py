"""What is known of each board of a survey: versions, and the counters and links that the board itself reports."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from benches.devices.board_facts import COUNTERS, LINK
from benches.run.survey_file import SurveyFile
from reports.environment import Environment, load_environment

MACHINE = ("driver", "vbios", "cuda_runtime", "clock_policy", "commit", "started_utc", "finished_utc")
VERSIONS = ("torch", "triton")
BESIDE = "beside"  # by how much longer a sentinel takes while the other GPUs work: the largest ratio of a GPU
SLOWED = "slowed_s "  # begins the column of a cause: for how long it slowed the board during the survey
NAMES = ("gpu", "host", "index", "model", "numa", "directory", "status", "reason")


def environments(run_dir: Path, survey: SurveyFile) -> dict[str, Environment]:
    """Returns what each GPU's run recorded of its machine, by directory."""
    return {gpu.directory: load_environment(run_dir / gpu.directory) for gpu in survey.gpus}


def board_table(survey: SurveyFile, found: dict[str, Environment]) -> pd.DataFrame:
    """Returns a line a GPU: NAMES, MACHINE, VERSIONS, and the facts of environment.json's `board`. A counter has a second column,
    `<name>_grown`: by how much it grew during the survey."""
    lines = []
    for gpu in survey.gpus:
        fields = found[gpu.directory].fields
        line: dict[str, Any] = {"gpu": gpu.uuid, "host": gpu.host, "index": gpu.index, "model": gpu.name, "numa": gpu.numa}
        line |= {"directory": gpu.directory, "status": gpu.status, "reason": gpu.reason}
        line |= {BESIDE: max(gpu.beside.values())} if gpu.beside else {}
        line |= {name: _text(fields.get(name)) for name in MACHINE}
        versions = fields.get("versions")
        line |= {name: _text(versions.get(name)) if isinstance(versions, dict) else None for name in VERSIONS}
        lines.append(line | board_facts(fields.get("board")))
    columns = dict.fromkeys((*NAMES, *MACHINE, *VERSIONS, *(name for line in lines for name in line)))
    return pd.DataFrame(lines, columns=list(columns))


def _text(value: object) -> str | None:
    return None if value is None else str(value)


def board_facts(board: Any) -> dict[str, Any]:
    """Returns the facts at the end of a run, or where it has no end at its start; by how much each counter grew between them, and for how
    long each cause slowed the board.

    board: as environment.json has it, `{"start": {…}, "end": {…}}`; whatever else it holds gives nothing.
    """
    if not isinstance(board, dict):
        return {}
    start, end = (one if isinstance(one := board.get(name), dict) else {} for name in ("start", "end"))
    facts = dict(_plain((start | {name: value for name, value in end.items() if value is not None}).items()))
    both = {name: (start[name], end[name]) for name in start.keys() & end.keys()}
    numbers = {name: pair for name, pair in both.items() if all(map(_is_number, pair))}
    facts |= {f"{name}_grown": numbers[name][1] - numbers[name][0] for name in COUNTERS if name in numbers}
    facts |= {name: max(numbers[name]) for name in LINK if name in numbers}  # a link that rests may be slower
    before, after = both.get("slowed_s", ({}, {}))
    if isinstance(before, dict) and isinstance(after, dict):
        slowed = {cause: (before[cause], after[cause]) for cause in before.keys() & after.keys()}
        facts |= {f"{SLOWED}{cause}": pair[1] - pair[0] for cause, pair in sorted(slowed.items()) if all(map(_is_number, pair))}
    return facts


def _plain(items: Iterable[tuple[str, Any]]) -> Iterable[tuple[str, Any]]:
    """Numbers, words and yes or no; a newer version may write anything."""
    return (
        (name, value) for name, value in items if isinstance(name, str) and (value is None or isinstance(value, bool | int | float | str))
    )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)

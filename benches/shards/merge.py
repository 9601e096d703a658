"""Runs of parts of one sweep, made into one run: what they must agree in, whose row counts, and what is missing. Pure but for reading."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from benches.row import Row
from benches.run import board, environment, resume
from benches.run.journal import NEWER, read_journal
from benches.run.survey_file import is_survey
from benches.shards.split import ShardError, parse_shard, point_seconds, split
from benches.sweep.load import Sweep

NAMED = 3  # points in a line
OWN = ("host", "device_uuid")  # what parts may differ in: they ran on several machines
SHARD_OPTION = re.compile(r"(?:^| )--shard \S+")


class MergeError(ValueError):
    """The runs are not parts of one sweep. The message is one line."""


@dataclass(frozen=True)
class Part:
    """A run directory as it was read."""

    dir: Path
    environment: dict[str, Any]
    sweep: str  # the text of sweep.yaml
    rows: dict[str, Row]  # by point

    @property
    def shard(self) -> str | None:
        return self.environment.get("shard")

    @property
    def narrowed_by(self) -> str | None:
        """The options that narrowed the run, without its part of the sweep."""
        return SHARD_OPTION.sub("", self.environment.get("narrowed_by") or "").strip() or None


class AboutGpu(BaseModel):
    """One of `gpus` in environment.json."""

    uuid: str


class AboutImport(BaseModel):
    """One of `imports` in environment.json."""

    path: str
    sha256: str


class About(BaseModel):
    """What a merge takes from environment.json; whatever else the file holds is compared or copied as it is."""

    shard: str | None = None
    narrowed_by: str | None = None
    started_utc: str | None = None
    finished_utc: str | None = None
    gpus: list[AboutGpu] | None = None
    imports: list[AboutImport] | None = None


@dataclass(frozen=True)
class Merged:
    """What is written. missing: a line for each thing that the parts do not have."""

    environment: dict[str, Any]
    rows: list[Row]
    missing: list[str]


def read_part(run_dir: Path) -> Part:
    """Raises MergeError where the directory holds no run that can be read whole."""
    if is_survey(run_dir):
        raise MergeError(f"{run_dir}: a survey, where every GPU measured every point: merge runs with --shard, without --mode survey")
    try:
        contents = read_journal(run_dir)
        about = read_about(run_dir)
        sweep = (run_dir / "sweep.yaml").read_text(encoding="utf-8")
    except OSError as e:
        raise MergeError(f"{run_dir}: not a run directory that can be read: {e.filename}: {e.strerror}") from None
    except ValueError as e:
        raise MergeError(f"{run_dir}: not a run directory that can be read: {e}") from None
    if contents.newer:
        raise MergeError(f"{run_dir}: {NEWER}: merge it with that version")
    return Part(run_dir, about, sweep, {row.point: located(row, about) for row in contents.rows})


def read_about(run_dir: Path) -> dict[str, Any]:
    """Returns environment.json, in which the fields that are merged are as a run writes them. Raises OSError, and ValueError with one line
    that names the field."""
    path = run_dir / environment.NAME
    try:
        about = environment.read(run_dir)
        if (shard := About.model_validate(about).shard) is not None:
            parse_shard(shard)
    except ValidationError as e:
        first = e.errors(include_input=False, include_url=False)[0]
        raise ValueError(f"{path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None
    except ShardError as e:
        raise ValueError(f"{path}: shard: {e}") from None
    return about


def located(row: Row, about: dict[str, Any]) -> Row:
    """Returns the row with its machine and device, which a run that was not given GPUs has in environment.json only."""
    if row.host is not None:
        return row
    return row.model_copy(update={name: about.get(name) for name in OWN})


def merge(parts: Sequence[Part], sweep: Sweep) -> Merged:
    """Returns one run of the parts. sweep: as parsed from theirs. Raises MergeError."""
    for part in parts[1:]:
        refuse_differences(parts[0], part)
    owner: dict[str, Part] = {}
    rows: dict[str, Row] = {}
    for part in parts:
        done = resume.finished(part.rows.values(), retry=False)
        for name, row in part.rows.items():
            if name not in rows or name not in resume.finished([rows[name]], retry=False):
                rows[name], owner[name] = row, part
            elif name in done and not same(rows[name], row):
                raise MergeError(f"{name}: measured in {owner[name].dir} and in {part.dir}, with other results: leave one of the runs out")
    narrowed = {part.narrowed_by for part in parts}
    alike = narrowed.pop() if len(narrowed) == 1 else None
    return Merged(merged_environment(parts, alike), list(rows.values()), missing(parts, rows, sweep, alike))


def same(one: Row, other: Row) -> bool:
    """Whether two rows of a point are one result: the same samples, and the same end."""
    return (one.samples_s, one.status, one.started_utc) == (other.samples_s, other.status, other.started_utc)


def unlike(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Returns what two environments differ in besides the machine and the board, one `name: old → new` each."""
    ours, theirs = ({name: value for name, value in about.items() if name not in (*OWN, *resume.OF_A_BOARD)} for about in (one, other))
    return resume.differences(ours, theirs)


def refuse_differences(one: Part, other: Part) -> None:
    """Raises MergeError where two runs are not parts of the same."""
    if one.sweep != other.sweep:
        raise MergeError(f"{other.dir}: its sweep.yaml differs from that of {one.dir}: not parts of one sweep")
    changed = unlike(one.environment, other.environment)
    if changed:
        raise MergeError(f"{other.dir} differs from {one.dir}: {'; '.join(changed)}: not parts of one run")
    counts = {parse_shard(part.shard)[1] for part in (one, other) if part.shard}
    if len(counts) > 1:
        raise MergeError(f"{other.dir}: {other.shard} of the sweep, and {one.dir} {one.shard}: not parts of one split")


def missing(parts: Sequence[Part], rows: dict[str, Row], sweep: Sweep, narrowed_by: str | None) -> list[str]:
    """Returns what the merged run lacks, a line each: parts of the sweep, points without a row, points that were interrupted. Which points
    options such as -k left out is not known: with these, parts and runs without an end are named."""
    found = []
    shards = {part.shard for part in parts if part.shard}
    of = parse_shard(next(iter(shards)))[1] if shards else 1
    present = {parse_shard(shard)[0] for shard in shards} or {1}
    expected = split(point_seconds(sweep), of)
    for k, names in enumerate(expected, 1):
        absent = sorted(name for name in names if name not in rows)
        if of > 1 and k not in present and (narrowed_by or absent):
            found.append(f"--shard {k}/{of}: no run of it{'' if narrowed_by else f' ({len(absent)} points)'}")
        elif absent and not narrowed_by:
            found.append(f"no row: {listed(absent)}")
    again = sorted(rows.keys() - resume.finished(rows.values(), retry=False).keys())
    found += [f"interrupted or not timed: {listed(again)}"] if again else []
    found += [f"{part.dir} did not finish" for part in parts if narrowed_by and part.environment.get("interrupted") is not False]
    return found


def listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def merged_environment(parts: Sequence[Part], narrowed_by: str | None) -> dict[str, Any]:
    """Returns environment.json of the merged run: null for a host and a device that differ, and in `merged_from` what each part was."""
    abouts = [part.environment for part in parts]
    origin = ("host", "device_uuid", "shard", "started_utc", "finished_utc", "interrupted")
    return {name: value for name, value in shared_environment(abouts).items() if name != "shard"} | {
        "narrowed_by": narrowed_by,
        "started_utc": min((about["started_utc"] for about in abouts if about.get("started_utc")), default=None),
        "finished_utc": max((about["finished_utc"] for about in abouts if about.get("finished_utc")), default=None),
        "interrupted": any(about.get("interrupted") is not False for about in abouts),
        "merged_from": [{"directory": part.dir.name, **{name: part.environment.get(name) for name in origin}} for part in parts],
    }


def shared_environment(abouts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Returns the environment of GPUs that measured one run, from that of each: null for a host and a board that differ, and all GPUs, each
    with what its board reported."""
    first = {name: value for name, value in abouts[0].items() if name != "gpus"}
    for name in (*OWN, *resume.OF_A_BOARD):
        first[name] = abouts[0].get(name) if all(about.get(name) == abouts[0].get(name) for about in abouts) else None
    gpus = {gpu["uuid"]: gpu for about in abouts for gpu in about.get("gpus") or ()}
    unnamed = {"board": None} if len(abouts) > 1 and first.get("board") else {}  # of the first part, and perhaps not of the others
    return first | ({"gpus": list(gpus.values())} if gpus else {}) | unnamed | board.joined(abouts)


def journal_text(rows: Sequence[Row]) -> str:
    return "".join(row.model_dump_json() + "\n" for row in rows)

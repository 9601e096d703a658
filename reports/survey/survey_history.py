"""The surveys of a history: DIR/surveys holds one Parquet file each, a line a GPU, so that a GPU that was slow before is known."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from kernels.writing import write_file
from reports.history.record import started_utc
from reports.refusal import RunError
from reports.survey.families import FAMILIES
from reports.survey.judge import SLOW, UNUSABLE, Judged
from reports.survey.survey_run import SurveyRun

FOLDER = "surveys"
MARK, VERSION = b"microbench_surveys", b"1"
RATIOS = {name: f"slower {name}" for name in FAMILIES}
SCHEMA = pa.schema(
    [("survey", pa.string()), ("started_utc", pa.timestamp("us", tz="UTC")), ("run_dir", pa.string()), ("device_kind", pa.string())]
    + [(name, pa.string()) for name in ("gpu", "host", "model", "state")]
    + [("index", pa.int64()), ("slower", pa.float64())]
    + [(name, pa.float64()) for name in RATIOS.values()],
    metadata={MARK: VERSION},
)


def survey_id(run: SurveyRun) -> str:
    """The time, and a hash of what makes a survey itself: the same however often and from where it is added. Raises RunError."""
    started = started_utc(run.file.started_utc)
    if started is None:
        raise RunError(f"{run.run_dir / 'survey.json'}: started_utc is not an ISO 8601 time: {run.file.started_utc[:60]!r}")
    identity = json.dumps(
        [run.file.started_utc, run.file.device_kind, run.file.seed, run.file.sweeps, sorted(gpu.uuid for gpu in run.file.gpus)]
    )
    return f"{started:%Y%m%dT%H%M%SZ}-{hashlib.sha256(identity.encode()).hexdigest()[:10]}"


def add_survey(history: Path, run: SurveyRun, judged: Judged) -> str:
    """Adds a survey and returns its id; one that is added again counts once. Raises RunError, OSError."""
    survey = survey_id(run)
    lines = run.boards[["gpu", "host", "model", "index"]].merge(judged.gpus[["gpu", "state", "slower", *RATIOS.values()]], on="gpu")
    lines = lines.assign(
        survey=survey,
        started_utc=started_utc(run.file.started_utc),
        run_dir=str(run.run_dir.resolve()),
        device_kind=run.file.device_kind,
    )
    table = pa.Table.from_pandas(lines[SCHEMA.names], schema=SCHEMA, preserve_index=False).replace_schema_metadata(SCHEMA.metadata)
    folder = history / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    write_file(folder / f"{survey}.parquet", lambda path: pq.write_table(table, path, compression="zstd"))
    return survey


def surveys(history: Path) -> tuple[pd.DataFrame, list[str]]:
    """Every line of the surveys of a history, in the order of time, and a note for each file that cannot be read."""
    tables, notes = [SCHEMA.empty_table()], []
    for path in sorted((history / FOLDER).glob("*.parquet")):
        try:
            found = pq.read_table(path)
        except (OSError, pa.ArrowException) as error:
            notes.append(f"{path}: left out: damaged ({str(error).splitlines()[0][:120]})")
            continue
        if MARK not in (found.schema.metadata or {}) or not set(SCHEMA.names) <= set(found.schema.names):
            notes.append(f"{path}: left out: not a survey that this version wrote")
            continue
        try:
            tables.append(found.select(SCHEMA.names).cast(SCHEMA))
        except pa.ArrowException:
            notes.append(f"{path}: left out: a newer version wrote it")
    return pa.concat_tables(tables).to_pandas().sort_values("started_utc", kind="stable").reset_index(drop=True), notes


def before(lines: pd.DataFrame, survey: str) -> pd.DataFrame:
    """In how many of the surveys before one each GPU was judged, `judged`, and slow, `slow`; by UUID. lines: of `surveys`."""
    earlier = lines[(lines["survey"] < survey) & (lines["state"] != UNUSABLE)]
    return earlier.assign(slow=earlier["state"] == SLOW).groupby("gpu").agg(judged=("slow", "size"), slow=("slow", "sum"))

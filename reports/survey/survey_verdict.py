"""A survey, judged: the verdict on its rows, and what its files show of how it ended."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd

from benches.run.journal import NAME as JOURNAL
from benches.run.side_by_side import sentence
from benches.run.survey_file import NAME, is_survey
from kernels.listed import first_of
from reports.refusal import RunError
from reports.survey.fleet_history import NO_HISTORY, FleetHistory, of_surveys
from reports.survey.judge import NAMED, Judged, doubted, judge
from reports.survey.neighbours import differing
from reports.survey.survey_history import add_survey, before, surveys
from reports.survey.survey_run import SurveyRun, read_run
from reports.survey.thresholds import Thresholds, load_thresholds
from reports.survey.words import name_of, side_by_side


@dataclass(frozen=True)
class SurveyVerdict:
    """A survey's verdict with what stands beside it. differences: of each accused GPU by UUID, worst first. history: for each GPU that
    earlier surveys judged, how often (`judged`) and how often it was slow (`slow`); empty without a history."""

    run: SurveyRun
    judged: Judged
    differences: dict[str, list[str]]
    history: pd.DataFrame = field(default_factory=lambda: pd.DataFrame(columns=["judged", "slow"]))
    notes: tuple[str, ...] = ()
    past: FleetHistory = NO_HISTORY  # the surveys up to this one


def judge_survey(
    run_dir: Path, inventory: Path | None = None, history: Path | None = None, thresholds: Thresholds | None = None
) -> SurveyVerdict:
    """Reads and judges a survey, and adds it to the history. Raises RunError where it is not one, OSError for a history that cannot be
    written."""
    _check_is_survey(run_dir)
    run = read_run(run_dir, inventory)
    judged = doubted(judge(run.rows, thresholds or load_thresholds(), run.boards), list(_ended(run)))
    differences = {gpu: [str(one) for one in differing(run.conditions, gpu)] for gpu in judged.accused["gpu"]}
    problems = tuple(filter(None, (sentence(side_by_side(run)), *run.problems)))
    verdict = SurveyVerdict(run, judged, differences, notes=problems)
    if history is None:
        return verdict
    survey = add_survey(history, run, judged)
    lines, notes = surveys(history)
    past = of_surveys(lines[(lines["survey"] <= survey) & (lines["device_kind"] == run.file.device_kind)])
    return SurveyVerdict(run, judged, differences, before(lines, survey), (*problems, *notes), past)


def _check_is_survey(run_dir: Path) -> None:
    """Raises RunError, which says what to do, for a folder that holds something else."""
    if is_survey(run_dir):
        return
    if not run_dir.is_dir():
        raise RunError(f"{run_dir}: no such directory")
    if (run_dir / JOURNAL).exists():
        raise RunError(
            f"{run_dir}: a run, and a survey needs several GPUs that measured the same points: measure with --gpus all, or judge this run "
            "with `python -m reports nightly`"
        )
    raise RunError(f"{run_dir}: holds no {NAME}: name the folder that `pytest benches/ --gpus all` or `python -m benches fleet` wrote")


def _ended(run: SurveyRun) -> Iterator[str]:
    """How the survey ended, where that is not at its last point on every GPU."""
    if run.file.finished_utc is None:
        yield "the survey is not finished: it is under way, or was killed; resume it, or judge it when it ends"
    elif run.file.interrupted:
        yield "the survey was interrupted before its last point; resume it"
    boards = run.boards
    with_rows = boards["gpu"].isin(run.rows["gpu"].astype(str).unique())
    lost = boards[(boards["status"] == "lost") & with_rows]
    for reason, gpus in lost.groupby("reason", sort=False, dropna=False):
        yield f"lost during the survey: {first_of([name_of(gpu) for _, gpu in gpus.iterrows()], NAMED)} ({reason})"

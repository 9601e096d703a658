"""`python -m reports survey RUN`: which GPU of a survey is slow, printed and in the exit code.

0 none is slow; 1 one is slow, or fails points that most others time; 2 not a survey, or it cannot be read; 3 the survey is suspect.
"""

from __future__ import annotations

import argparse
import sys
import traceback
from pathlib import Path

from kernels.console import open_console
from kernels.strict_yaml.problems import SweepError
from kernels.writing import write_text
from reports.refusal import RunError, attempt, check_folder
from reports.survey.survey_files import to_json
from reports.survey.survey_text import show_survey
from reports.survey.survey_verdict import SurveyVerdict, judge_survey
from reports.survey.thresholds import load_thresholds


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_dir", type=Path, metavar="RUN", help="the survey: a folder with survey.json, which `--gpus` and `fleet` write")
    parser.add_argument(
        "--history", type=Path, metavar="DIR", help="add the survey to a history, and show which GPUs were slow before; created if missing"
    )
    parser.add_argument(
        "--inventory", type=Path, metavar="FILE", help="CSV of the GPUs' places: host, gpu (index or UUID), rack, slot, and other columns"
    )
    parser.add_argument(
        "--thresholds", type=Path, metavar="FILE", help="YAML of what counts as slow (configs/verdicts/survey/default.yaml)"
    )
    parser.add_argument("-o", "--out", type=Path, metavar="FILE", help="the page")
    parser.add_argument("--json", type=Path, metavar="FILE", help="the verdict as JSON")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """The exit code of the module's docstring."""
    check_folder(given.json)
    check_folder(given.out)
    try:
        thresholds = load_thresholds(given.thresholds) if given.thresholds else load_thresholds()
        verdict = judge_survey(given.run_dir, given.inventory, given.history, thresholds)
    except SweepError as error:
        print("\n".join(error.problems), file=sys.stderr)
        return 2
    except RunError:
        raise
    except OSError as error:
        raise RunError(f"{error.filename or given.run_dir}: {error.strerror or error}") from error
    except Exception:  # Python's own exit code would be 1, which here is a slow GPU
        traceback.print_exc()
        return 2
    written = [given.json is None or attempt(str(given.json), lambda: _write(given.json, to_json(verdict)))]
    written += [given.out is None or attempt(str(given.out), lambda: _write_page(verdict, given.out))]
    show_survey(verdict, open_console())
    return verdict.judged.exit_code or (0 if all(written) else 2)  # the verdict stands


def _write(path: Path, text: str) -> Path:
    write_text(path, text)
    return path


def _write_page(verdict: SurveyVerdict, path: Path) -> Path:
    from reports.survey.survey_page import write_page  # Plotly takes half a second to import

    write_page(verdict.run, verdict.judged, path, verdict.past)
    return path

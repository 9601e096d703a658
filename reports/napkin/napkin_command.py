"""`python -m reports napkin [QUESTION …] [-o FILE]`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from kernels.console import open_console
from kernels.gpus import GpuError
from kernels.strict_yaml.problems import SweepError
from reports.napkin.answer import answer
from reports.napkin.answer_text import show, show_published
from reports.napkin.asked import Question
from reports.napkin.napkin_page import write_page
from reports.napkin.published import published
from reports.napkin.question import load_question, question_names
from reports.refusal import writing


def add_arguments(parser: argparse.ArgumentParser) -> None:
    shipped = ", ".join(question_names())
    parser.add_argument(
        "question", nargs="*", metavar="QUESTION", help=f"a YAML file, or a name of configs/napkin (all of them: {shipped})"
    )
    parser.add_argument("-o", "--out", type=Path, metavar="FILE", help="also write a page with charts")
    parser.add_argument("--published", action="store_true", help="print the answers beside published runs (configs/published), and stop")
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Exit code 2, and a line for each mistake in any of the questions."""
    if given.published:
        return _published()
    questions: list[Question] = []
    problems: list[str] = []
    for name in given.question or question_names():
        try:
            questions.append(load_question(name))
        except SweepError as error:
            problems += error.problems
        except GpuError as error:
            problems.append(str(error))
    if problems:
        print("\n".join(problems), file=sys.stderr)
        return 2
    answers = [answer(question) for question in questions]
    if given.out:
        with writing(given.out):
            write_page(answers, given.out)
    console = open_console()
    for one in answers:
        show(one, console)
    if given.out:
        print(given.out)
    return 0


def _published() -> int:
    """Exit code 2 where the table of published runs is wrong."""
    try:
        runs = published()
    except SweepError as error:
        print("\n".join(error.problems), file=sys.stderr)
        return 2
    show_published(runs, open_console())
    return 0

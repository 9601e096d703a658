"""pytest's side of the page: made when a session that measured ends, also after Ctrl-C, and named in the last line of the output.

A table by op, implementation and precision takes the place of pytest-benchmark's tables, unless an option asks for those.
"""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from benches.pytest_plugin.session import KEY, OUT
from benches.row import Row
from benches.run.journal import read_journal
from benches.run.survey_file import is_survey
from kernels.escaping import one_line
from kernels.gpus import DEFAULT_GPU
from kernels.guard import ROOT
from kernels.imports import load_imports, specs
from kernels.listed import first_of
from kernels.registry import OPS, is_shipped, language_of

REPORT = pytest.StashKey[str]()
SUMMARY = pytest.StashKey[str]()
NAMED = 3  # pages of a survey's GPUs in a line
UNJUDGED = 8  # GPUs of a survey that cannot be judged of which a page is made
OTHERS = "of one GPU: python -m reports html RUN/GPU"
# Options of pytest-benchmark that are about its tables. --benchmark-only and --benchmark-json are not.
DISPLAY = ("columns", "sort", "group-by", "name", "verbose", "quiet", "compare", "compare-fail", "histogram", "cprofile")


@pytest.hookimpl(wrapper=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> Iterator[None]:
    """Runs before other plug-ins, which may fail, and after the run is closed: the hook that closes it is a wrapper too, and runs first."""
    make_page(session, exitstatus)
    return (yield)


def make_page(session: pytest.Session, exitstatus: int) -> None:
    found = session.config.stash.get(KEY, None)
    if found is None or found.started is None:
        return
    run_dir = found.started.dir
    if is_survey(run_dir):
        survey_reports(run_dir, found.started.dirs, session.config)
        return
    session.config.stash[REPORT] = report(run_dir, session.config)
    if found.device_kind == "cpu" and exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        try:
            inspected = inspect_kernels(run_dir, session.config)
        except KeyboardInterrupt:
            return  # the page exists, without this section
        if inspected:
            session.config.stash[REPORT] = report(run_dir, session.config)


def report(run_dir: Path, config: pytest.Config) -> str:
    """Makes the page and the terminal's summary, and returns a line with the page's path, or with why it could not be made."""
    again = shlex.join(["python", "-m", "reports", "html", str(run_dir)])
    try:
        from reports.build import write_report
        from reports.report import load_report
        from reports.run_text import run_text

        loaded = load_report(run_dir)
        config.stash[SUMMARY] = run_text(loaded, colour=has_colour(config))
        return one_line(f"report: {write_report(loaded)}")
    except ModuleNotFoundError as e:  # on a node that only measures
        return f"no report ({e.name} is not installed): pip install -r requirements.txt, then {again}"
    except Exception as e:  # the rows are safe in the journal, and the page can be made again
        return one_line(f"no report ({type(e).__name__}: {e}); try: {again}")


def survey_reports(run_dir: Path, gpu_dirs: Sequence[Path], config: pytest.Config) -> None:
    """Makes the survey's page and those of its GPUs, `gpu_dirs`: of all on a node, of more GPUs those that need a look.

    Leaves the verdict as the terminal's summary, and for the end of the output lines with the survey's page and those of its GPUs. Where
    the survey cannot be judged, these are the summaries of its GPUs, and a line with the reason."""
    again = shlex.join(["python", "-m", "reports", "survey", str(run_dir)])
    try:
        from reports.build import EVERY_PAGE, NAME, gpus_with_pages
        from reports.survey.survey_page import write_page
        from reports.survey.survey_text import survey_text
        from reports.survey.survey_verdict import judge_survey

        verdict = judge_survey(run_dir)
        wanted = set(gpus_with_pages(verdict))
        pages = [report(folder, config) for folder in gpu_dirs if folder in wanted]
        config.stash[SUMMARY] = survey_text(verdict, has_colour(config))
        try:
            write_page(verdict.run, verdict.judged, run_dir / NAME, verdict.past)  # after those of the GPUs, to which it has links
            page = f"report: {run_dir / NAME}"
        except OSError as e:  # a full disk: the verdict stands
            page = f"no report ({type(e).__name__}: {e}); try: {shlex.join(['python', '-m', 'reports', 'html', str(run_dir)])}"
        lines = [page, *gpu_lines(pages, run_dir, len(verdict.run.file.gpus) <= EVERY_PAGE), f"survey: {again}"]
    except ModuleNotFoundError as e:  # on a node that only measures
        lines = [*summaries(gpu_dirs, config)]
        lines.append(f"no verdict on the survey ({e.name} is not installed): pip install -r requirements.txt, then {again}")
    except Exception as e:  # the rows are safe in the journals
        lines = [*summaries(gpu_dirs, config), f"no verdict on the survey ({type(e).__name__}: {e}); try: {again}"]
    config.stash[REPORT] = "\n".join(map(one_line, lines))


def gpu_lines(pages: Sequence[str], run_dir: Path, each: bool) -> list[str]:
    """Returns a line on the pages of a survey's GPUs, and the line of each that could not be made.

    pages: a line a page, as `report` returns it. each: whether every GPU that has rows should have one."""
    made = [page.removeprefix(f"report: {run_dir}{os.sep}") for page in pages if page.startswith("report: ")]
    failed = [page for page in pages if not page.startswith("report: ")]
    if each:
        return [*([f"of each GPU: {run_dir / '*' / 'report.html'}"] if made else []), *failed]
    return [*([f"of GPUs that need a look: {first_of(made, NAMED)}"] if made else []), OTHERS, *failed]


def summaries(gpu_dirs: Sequence[Path], config: pytest.Config) -> list[str]:
    """Makes the page and the summary of each GPU of a survey that cannot be judged, and returns a line for each page."""
    lines, texts = list[str](), list[str]()
    for folder in gpu_dirs[:UNJUDGED]:
        lines.append(report(folder, config))
        if text := config.stash.get(SUMMARY, ""):
            texts.append(f"{folder.name}\n{text}")
            del config.stash[SUMMARY]
    if texts:
        config.stash[SUMMARY] = "\n".join(texts)
    return [*lines, *([OTHERS] if len(gpu_dirs) > UNJUDGED else [])]


def has_colour(config: pytest.Config) -> bool:
    """Whether pytest's own output has colours."""
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    return terminal is not None and bool(terminal.hasmarkup)


def asks_for_tables(arguments: Sequence[str]) -> bool:
    """Whether one of pytest's arguments is about pytest-benchmark's tables."""
    return any(argument.partition("=")[0] in {f"--benchmark-{name}" for name in DISPLAY} for argument in arguments)


def all_arguments(config: pytest.Config) -> list[str]:
    """Those of the command line, of PYTEST_ADDOPTS and of the configuration file."""
    return [*config.getini("addopts"), *shlex.split(os.environ.get("PYTEST_ADDOPTS", "")), *map(str, config.invocation_params.args)]


@pytest.hookimpl(tryfirst=True)
def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Prints the run's summary where pytest-benchmark would print its tables. Where none could be made, or an option is about those
    tables, they are printed as ever; its checks against saved runs are made in any case."""
    text = config.stash.get(SUMMARY, None)
    if text is None or asks_for_tables(all_arguments(config)):
        return
    benchmarks = getattr(config, "_benchmarksession", None)
    if benchmarks is not None:
        benchmarks.quiet = True
    terminalreporter.ensure_newline()
    for line in text.splitlines():
        terminalreporter.write_line(line)


def inspect_kernels(run_dir: Path, config: pytest.Config) -> bool:
    """Compiles the Triton kernels that this run checked in the interpreter for a GPU, ahead of time: inspect.json in the run directory.

    Returns False where there was nothing to compile.
    """
    if config.getoption("--no-inspect"):
        return False
    chosen = sorted({kernel for row in read_journal(run_dir).rows for kernel in kernels_of(row)})
    if not chosen:
        return False
    terminal = config.pluginmanager.get_plugin("terminalreporter")
    if terminal is not None and config.get_verbosity() >= 0:
        terminal.line("")  # pytest ends the line of its progress only after this
        terminal.write_line(f"compiling the run's Triton kernels for {DEFAULT_GPU} (--no-inspect skips this)")
    only = [argument for kernel in chosen for argument in ("--only", kernel)]
    imported = [word for one in load_imports(specs(config.getoption("imports"))) for word in ("--import", one.again)]
    command = [sys.executable, "-m", "kernels", "inspect", "--gpu", DEFAULT_GPU, "--json", str(run_dir / "inspect.json"), *only, *imported]
    subprocess.run(command, cwd=ROOT, stdout=subprocess.DEVNULL, check=False)  # its verdicts are in the JSON, which the page shows
    return True


def kernels_of(row: Row) -> list[str]:
    """What `inspect --only` calls the Triton kernels of a row: by their configs, and those of an imported implementation by its name."""
    if language_of(row.op, row.impl) != "triton":
        return []
    shipped = is_shipped(OPS[row.op].impls[row.impl])
    names = str(row.config or "").split(" + ") if shipped else [row.impl]
    return [f"{row.op}:{row.precision}:{name}" for name in names if name]


def pytest_unconfigure(config: pytest.Config) -> None:
    """The last line of the output."""
    line = config.stash.get(REPORT, None)
    if line:
        print(line, file=config.stash.get(OUT, None))

"""Root of both test trees: `tests/` (is the suite right?) and `benches/` (how fast are the kernels?)."""

from __future__ import annotations

import os

import pytest

from benches.devices.nvml import has_gpu
from kernels.guard import check_imports

check_imports()
if not has_gpu():
    os.environ.setdefault("TRITON_INTERPRET", "1")  # triton reads it when it is imported, which no module has done yet

pytest_plugins = ["benches.pytest_plugin"]
REPORT = pytest.StashKey[str]()


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """The page, also after Ctrl-C. It is made here because benches/ must not import reports/."""
    from benches.pytest_plugin import KEY

    found = session.config.stash.get(KEY, None)
    if found is None or found.started is None:
        return
    run_dir = found.started.dir
    try:
        from reports.build import build_report

        session.config.stash[REPORT] = f"report: {build_report(run_dir)}"
    except Exception as e:  # the rows are safe in the journal, and the page can be made again
        session.config.stash[REPORT] = f"no report ({type(e).__name__}: {e}); try: python -m reports html {run_dir}"


def pytest_unconfigure(config: pytest.Config) -> None:
    """The last line of the output."""
    line = config.stash.get(REPORT, None)
    if line:
        print(line)

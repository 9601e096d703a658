"""Stops when `kernels`, `benches`, `reports`, `studies` or `microbench_api` is somebody else's: PyPI has packages of some of these names,
and a benchmark that silently imports the wrong one measures the wrong thing."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent.parent
NAMES = ("kernels", "benches", "reports", "studies")
CANNOT = 2  # exit code of every `python -m` command that cannot do what it was asked for
DOOR = "microbench_api"  # a file in the root, for other people's code


def check_imports(root: Path = ROOT, code: int = CANNOT) -> None:
    """Prints a line that names the intruder and what to do, and raises SystemExit with `code`."""
    for name in (*NAMES, DOOR):
        spec = importlib.util.find_spec(name)
        found = Path(spec.origin).resolve() if spec and spec.origin else None
        own = root / f"{name}.py" if name == DOOR else root / name
        if found not in (own, own / "__init__.py"):
            where = found or "nowhere"
            stop(f"`{name}` resolves to {where}, not to {own}: run from {root}, or `pip uninstall {name}`", code)


def stop(line: str, code: int) -> NoReturn:
    """Prints the error on stderr and raises SystemExit. A SystemExit with a text would exit with 1, which is a finding for some."""
    print(f"error: {line}", file=sys.stderr)
    raise SystemExit(code)


def two_packages(error: BaseException) -> str | None:
    """A line for an error that arose because somebody's code imports another package that has one of NAMES, as `transformers` imports
    PyPI's `kernels` where that is installed; None for any other error. What caused the error is looked at too."""
    cause: BaseException | None = error
    while cause is not None:
        if found := _missing(cause):
            name, missing = found
            return (
                f"{missing} is not in this repository's package `{name}`: it is asked of another package of that name, and one process "
                f"cannot hold both. Leave out the code that imports it or, where that can do without, `pip uninstall {name}`"
            )
        cause = cause.__cause__ or cause.__context__
    return None


def _missing(error: BaseException) -> tuple[str, str] | None:
    """The package of NAMES, and what is not in it: a module, an attribute, or a name (which Python 3.12 and later know)."""
    if isinstance(error, ModuleNotFoundError):
        package, found = (error.name or "").partition(".")[0], f"`{error.name}`"
    elif isinstance(error, ImportError):
        name = getattr(error, "name_from", None)
        package, found = error.name or "", f"`{error.name}.{name}`" if name else f"a name imported from `{error.name}`"
    elif isinstance(error, AttributeError):
        package = getattr(error.obj, "__name__", "")
        found = f"`{package}.{error.name}`"
    else:
        return None
    return (package, found) if package in NAMES else None


@contextmanager
def missing_package_in_a_line(code: int = CANNOT) -> Iterator[None]:
    """Around imports: prints a line that says what to install, and raises SystemExit with `code`, where a package is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] in NAMES:
            raise
        stop(f"{error.name} is not installed: pip install -r requirements.txt", code)

"""Stops when `kernels`, `benches`, `reports`, `studies` or `microbench_api` is somebody else's: PyPI has packages of some of these names,
and a benchmark that silently imports the wrong one measures the wrong thing."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NAMES = ("kernels", "benches", "reports", "studies")
DOOR = "microbench_api"  # a file in the root, for other people's code


def check_imports(root: Path = ROOT) -> None:
    """Raises SystemExit with one line that names the intruder and what to do."""
    for name in (*NAMES, DOOR):
        spec = importlib.util.find_spec(name)
        found = Path(spec.origin).resolve() if spec and spec.origin else None
        own = root / f"{name}.py" if name == DOOR else root / name
        if found not in (own, own / "__init__.py"):
            where = found or "nowhere"
            raise SystemExit(f"error: `{name}` resolves to {where}, not to {own}: run from {root}, or `pip uninstall {name}`")


@contextmanager
def missing_package_in_a_line() -> Iterator[None]:
    """Around imports: raises SystemExit with one line that says what to install, where a package is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] in NAMES:
            raise
        raise SystemExit(f"error: {error.name} is not installed: pip install -r requirements.txt") from None

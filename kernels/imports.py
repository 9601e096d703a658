"""Loads other people's files and modules, which register ops and implementations through microbench_api.py (`--import`).

A file is imported as `microbench_import.<name>`, so that its code has the same name in every process. The folder it lies in comes last on
the search path: what lies beside it can be imported, and hides nothing.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import importlib.util
import os
import re
import sys
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from kernels.fingerprint import forget
from kernels.guard import DOOR, NAMES, ROOT, two_packages
from kernels.registry import RegistrationError, registered, restore

VARIABLE = "MICROBENCH_IMPORT"  # specs as for --import, separated as the entries of PATH are
PACKAGE = "microbench_import"
HELP = "load a file or module that registers your own ops and implementations (docs/own-kernel.md); repeatable"


class ImportProblem(Exception):
    """A file or module that cannot be used: one line, `FILE:LINE: what is wrong, what to do`."""


@dataclass(frozen=True)
class Imported:
    """A file or module that was loaded. `spec`: as it was given. `sha256`: of its sources, and of those beside it that it imported."""

    spec: str
    path: str  # of its file; what another process loads
    module: str
    sha256: str
    sources: tuple[str, ...] = ()  # the paths that were hashed

    @property
    def is_file(self) -> bool:
        """Whether a file was named, and not a module."""
        return self.module.startswith(f"{PACKAGE}.")

    @property
    def again(self) -> str:
        """The spec that loads it in another process, whatever folder that works in."""
        return self.path if self.is_file else self.module

    def recorded(self) -> dict[str, str]:
        """Its part of environment.json."""
        return {"spec": self.spec, "path": self.path, "sha256": self.sha256}


_loaded: dict[str, Imported] = {}  # by module


def add_option(parser: argparse.ArgumentParser) -> None:
    """Adds --import to a command."""
    parser.add_argument("--import", dest="imports", action="append", metavar="FILE|MODULE", help=HELP)


def specs(given: Sequence[str] | None) -> tuple[str, ...]:
    """The specs of the environment variable, then those of the command line."""
    named = [one for one in os.environ.get(VARIABLE, "").split(os.pathsep) if one]
    return tuple(dict.fromkeys([*named, *(given or ())]))


def load_imports(given: Sequence[str]) -> tuple[Imported, ...]:
    """Loads each spec once in a process. Raises ImportProblem, and then nothing of that spec stays registered."""
    return tuple(dict.fromkeys(_load(spec) for spec in given))


def _load(spec: str) -> Imported:
    path = Path(spec).expanduser().absolute()
    is_file = spec.endswith(".py") or os.sep in spec
    if is_file and not path.is_file():
        raise ImportProblem(f"{spec}:1: there is no such file to import; name a Python file, or a module without .py")
    name = f"{PACKAGE}.{re.sub(r'[^0-9A-Za-z_]', '_', path.stem)}" if is_file else spec
    if name in _loaded:
        if is_file and Path(_loaded[name].path) != path.resolve():
            raise ImportProblem(f"{spec}:1: {_loaded[name].path} is imported under the same name, {name}: rename one of the two files")
        return _loaded[name]
    before, modules, place = registered(), set(sys.modules), str(path) if is_file else spec
    try:
        module = import_file(path.resolve(), name) if is_file else importlib.import_module(name)
        if registered() == before:
            raise RegistrationError("it registers nothing: decorate a function with `implementation` or `op` of microbench_api")
    except (Exception, SystemExit) as error:
        restore(before)
        if is_file:
            sys.modules.pop(name, None)
        raise ImportProblem(error_line(error, spec, place)) from error
    forget()  # what was hashed before may import what now exists
    file = Path(getattr(module, "__file__", None) or place)
    new = [module, *(sys.modules[one] for one in sorted(set(sys.modules) - modules - {name}))]
    sources = _sources(file, new)
    _loaded[name] = Imported(spec, str(file.resolve()), name, _hash(file, sources), tuple(map(str, sources)))
    return _loaded[name]


def import_file(path: Path, name: str) -> ModuleType:
    """The module of a file, under a name that other processes give it too. Raises what the file raises."""
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))
    if PACKAGE not in sys.modules:
        package = ModuleType(PACKAGE, "Files that --import loaded.")
        package.__path__ = []
        sys.modules[PACKAGE] = package
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None  # for the suffix .py
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    setattr(sys.modules[PACKAGE], name.rpartition(".")[2], module)
    return module


def error_line(error: BaseException, spec: str, place: str) -> str:
    """The innermost line of the file, or of what lies beside it, that the error comes from."""
    if isinstance(error, SyntaxError) and error.filename:
        return f"{error.filename}:{error.lineno or 1}: {type(error).__name__}: {error.msg}; correct it, then import it again"
    folder = str(Path(place).parent) if place != spec or spec.endswith(".py") else ""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if _is_theirs(f.filename, folder)]
    where = f"{frames[-1].filename}:{frames[-1].lineno}" if frames else f"{spec}:1"
    if isinstance(error, RegistrationError):
        return f"{where}: {error}"
    if line := two_packages(error):
        return f"{where}: {line}"
    if isinstance(error, ModuleNotFoundError):
        return f"{where}: there is no module {error.name!r}: install it, or put it beside the file"
    first = (str(error).strip().splitlines() or [""])[0]
    return f"{where}: {type(error).__name__}: {first}; it was raised while importing: correct it, then import it again"


def _is_theirs(file: str, folder: str) -> bool:
    suite = any(Path(file).is_relative_to(ROOT / name) for name in NAMES) or Path(file) == ROOT / f"{DOOR}.py"
    return not suite and not file.startswith("<") and (file.startswith(folder) if folder else "importlib" not in file)


def _sources(file: Path, new: Iterable[ModuleType]) -> list[Path]:
    """The file and those of the modules that it brought with it from its own folder."""
    folder = file.resolve().parent
    sources = {file.resolve()}
    for module in new:
        path = Path(getattr(module, "__file__", None) or os.devnull).resolve()
        inside = path.is_relative_to(folder) and not any(path.is_relative_to(ROOT / name) for name in (*NAMES, ".venv"))
        if inside and path.suffix == ".py" and "site-packages" not in path.relative_to(folder).parts:
            sources.add(path)
    return sorted(sources)


def _hash(file: Path, sources: Iterable[Path]) -> str:
    folder, digest = file.resolve().parent, hashlib.sha256()
    for path in sources:
        digest.update(f"{path.relative_to(folder)}\n".encode() + path.read_bytes())
    return digest.hexdigest()

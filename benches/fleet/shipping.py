"""What travels to the machines of a fleet: the repository as it is here, and other people's files, known again by their hash."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from kernels.imports import Imported, ImportProblem, load_imports
from kernels.writing import write_file

# Folders and files of the repository's root that stay here, as patterns of .gitignore.
EXCLUDES = ("/.git", "/.venv", "/runs", "/.benchmarks", "/.*_cache", "/.hypothesis", "__pycache__", "*.pyc")


@dataclass(frozen=True)
class Shipped:
    """A file of --import with those beside it that it imports, by their path relative to its folder; or a module, which has no files since
    each machine has it installed."""

    spec: str
    name: str  # of the file, or the module
    sha256: str
    files: tuple[tuple[str, bytes], ...] = ()


def ship(imported: Imported) -> Shipped:
    """Reads the files. Raises OSError."""
    if not imported.is_file:
        return Shipped(imported.spec, imported.module, imported.sha256)
    folder = Path(imported.path).parent
    files = tuple((Path(path).relative_to(folder).as_posix(), Path(path).read_bytes()) for path in imported.sources)
    return Shipped(imported.spec, Path(imported.path).name, imported.sha256, files)


def unpack(shipped: Sequence[Shipped], folder: Path) -> tuple[str, ...]:
    """Writes files below a folder, loads them and the modules, and returns what loads them in another process of this machine. Raises
    ImportProblem where one cannot be loaded or is another than where the run began, and OSError."""
    found = []
    for one in shipped:
        place = folder / one.sha256[:16]
        for name, content in one.files:
            (place / name).parent.mkdir(parents=True, exist_ok=True)
            write_file(place / name, lambda path, content=content: path.write_bytes(content))  # type: ignore[misc]
        (loaded,) = load_imports([str(place / one.name) if one.files else one.name])
        if loaded.sha256 != one.sha256:
            raise ImportProblem(
                f"{one.spec}:1: {loaded.path} is another version than where the run began ({loaded.sha256[:12]}, there "
                f"{one.sha256[:12]}): install the same one everywhere"
            )
        found.append(loaded.again)
    return tuple(found)


def own_folder(text: str) -> Path:
    """Returns a folder of this user, made where it does not exist; variables and `~` are expanded. Raises OSError."""
    folder = Path(os.path.expandvars(os.path.expanduser(text)))
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    if folder.stat().st_uid != os.getuid():  # in a temporary folder that all share, somebody else may have been first
        raise PermissionError(1, "it belongs to another user", str(folder))
    return folder

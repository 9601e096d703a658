"""What `inspect` recorded of the shipped kernels, kept whole, so that where nothing has changed neither PyTorch nor a kernel is imported.

An entry is found by everything that its records may depend on: the source of kernels/ and the files of configs/, the GPU, what was asked
for, Triton with its compiler and tools, PyTorch and Python. This is coarser than the entries of single verdicts (finding_cache.py), which
are what is looked for where no entry fits. No torch here.
"""

from __future__ import annotations

import platform
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import triton
from triton._C.libtriton import get_cache_invalidating_env_vars
from triton.backends.compiler import GPUTarget
from triton.compiler import make_backend
from triton.runtime.cache import get_cache_key

from kernels import kept_json
from kernels.fingerprint import digest
from kernels.gpus import Gpu
from kernels.guard import ROOT

FOLDER = "records"  # in Triton's cache
Record = dict[str, Any]  # of one kernel, as `inspect --json` writes it
SOURCES = (("kernels", "*.py"), ("configs", "*.yaml"))


def entry(ops: Sequence[str], gpu: Gpu, only: Sequence[str] | None) -> Path | None:
    """The file of the records of these ops' shipped kernels; None where Triton is asked to compile always. only: as in `inspect`."""
    if triton.knobs.compilation.always_compile or triton.knobs.compilation.override:
        return None
    backend = make_backend(GPUTarget("cuda", gpu.compute_capability[0] * 10 + gpu.compute_capability[1], 32))
    source = SimpleNamespace(hash=lambda: digest(b"".join(_source(file) for file in _sources())))
    compiler = get_cache_key(source, backend, backend.parse_options({}), get_cache_invalidating_env_vars())
    asked = (compiler, tools(), _version("torch"), platform.python_version(), gpu, tuple(ops), only and sorted(only))
    return Path(triton.knobs.cache.dir, FOLDER, f"{digest(repr(asked).encode())}.json")


@cache
def tools() -> str:
    """The programs that read machine code, with their versions."""
    return "\n".join(f"{tool.path} {tool.version}" for tool in (triton.knobs.nvidia.cuobjdump, triton.knobs.nvidia.nvdisasm))


def _sources() -> Iterable[Path]:
    return sorted(path for folder, pattern in SOURCES for path in (ROOT / folder).rglob(pattern))


def _source(file: Path) -> bytes:
    """A file's name and contents, apart from those of others."""
    return f"\0{file.relative_to(ROOT).as_posix()}\0{digest(file.read_bytes())}".encode()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:  # built from source, without metadata
        return ""


def load(path: Path) -> list[Record] | None:
    """The records of an entry; None where there is none that can be read."""
    return kept_json.load(path, lambda kept: [dict(record) for record in kept["kernels"]])


def store(path: Path, records: Sequence[Record]) -> None:
    """Writes an entry, where the folder can be written, unless a kernel did not compile: that one is tried again the next time."""
    if all(record["registers"] is not None or record["status"] == "unsupported" for record in records):
        kept_json.store(path, {"kernels": records})

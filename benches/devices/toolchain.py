"""Whether this machine can build what torch.compile and Triton generate: each asks one of its compilers for a shared library.

On a CPU, torch.compile writes C++. On a GPU, Triton, and torch.compile through it, builds its launcher in C. Both include Python.h.
The compiler is the one that they take themselves (torch._inductor.cpp_builder.get_cpp_compiler, triton.runtime.build); their own search
is not called because importing it takes seconds, and a test holds that both answer alike.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

LIMIT_S = 60.0


@dataclass(frozen=True)
class Missing:
    """Something that this machine lacks, and what to do about it. `reason` is what a row, a plan and a note say."""

    what: str
    do: str

    @property
    def reason(self) -> str:
        return f"{self.what} ({self.do})"


@cache
def missing_for_cpu() -> Missing | None:
    """What torch.compile lacks to build its C++, or None."""
    if sys.platform == "win32" or os.environ.get("TORCH_INDUCTOR_INSTALL_GXX"):  # torch then looks for one in other ways
        return None
    for variable, folder in (("TMPDIR", tempfile.gettempdir()), ("TORCHINDUCTOR_CACHE_DIR", os.environ.get("TORCHINDUCTOR_CACHE_DIR", ""))):
        if re.search(r"[\s\\'\"]", folder):  # it takes its command apart as a shell would (torch._inductor.cpp_builder)
            return Missing(
                f"torch.compile cannot compile C++ in {folder}, since its path has a space or a quote", f"set {variable} to another folder"
            )
    named = os.environ.get("CXX")
    found = named or ("clang++" if sys.platform == "darwin" else "g++")
    if shutil.which(found) is None:
        what = f"no C++ compiler: torch.compile needs {found}, " + ("which CXX names, but it cannot be run" if named else "not on the PATH")
        return Missing(what, "apt-get install g++, or name one with CXX")
    if sys.platform == "darwin":
        return cannot_build([found, "-x", "c++"], "#include <Python.h>\n")
    return cannot_build([found, "-x", "c++", "-fopenmp"], "#include <Python.h>\n#include <omp.h>\n")


@cache
def missing_for_cuda() -> Missing | None:
    """What Triton lacks to build its launcher, or None."""
    if sys.platform == "win32":
        return None
    named = os.environ.get("CC")
    found = named or next(filter(shutil.which, ("gcc", "clang")), None)
    if found is None or shutil.which(found) is None:
        what = f"{named}, which CC names, but it cannot be run" if named else "gcc or clang, not on the PATH"
        return Missing(f"no C compiler: Triton and torch.compile need {what}", "apt-get install gcc, or name one with CC")
    return cannot_build([found, "-x", "c"], "#include <Python.h>\n")


def cannot_build(compiler: list[str], source: str) -> Missing | None:
    """Why such a source does not become a shared library, or None where it does."""
    include = Path(sysconfig.get_path("include", "posix_prefix"))
    if not (include / "Python.h").exists():
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        what = f"no Python headers: {compiler[0]} needs Python.h, which is not in {include}"
        return Missing(what, f"apt-get install python{version}-dev")
    with tempfile.TemporaryDirectory() as folder:
        command = [*compiler, "-shared", "-fPIC", f"-I{include}", "-", "-o", f"{folder}/probe.so"]
        try:
            done = subprocess.run(
                command, input=source, capture_output=True, encoding="utf-8", timeout=LIMIT_S, check=False, env=plain_messages()
            )
        except (OSError, subprocess.TimeoutExpired) as error:
            return Missing(f"no working compiler: {compiler[0]}: {error}", "apt-get install build-essential")
    if done.returncode == 0:
        return None
    first = next(iter(done.stderr.strip().splitlines()), f"exit code {done.returncode}")
    return Missing(f"no working compiler: {compiler[0]} cannot build a shared library: {first}", "apt-get install build-essential")


def plain_messages() -> dict[str, str]:
    """The environment with compilers' messages in English, so that they are the same everywhere."""
    return {**os.environ, "LC_ALL": "C"}

"""Whether Triton compiles kernels or runs them in its interpreter: only this module reads or sets the environment variable for it.

Triton reads the variable when it is imported, so it must be set before; processes started later inherit it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

VARIABLE = "TRITON_INTERPRET"
OFF = ("", "0", "false", "off")


def setting() -> str | None:
    """Returns the variable's value; None where it is not set."""
    return os.environ.get(VARIABLE)


def is_on(value: str | None) -> bool:
    """Whether Triton would interpret under this setting."""
    return value is not None and value.lower() not in OFF


def interpret_unless_set() -> None:
    """Chooses the interpreter unless the user has set the variable."""
    os.environ.setdefault(VARIABLE, "1")


def interpret() -> None:
    """Chooses the interpreter. Raises RuntimeError where Triton was already imported to compile."""
    if "triton" in sys.modules and not is_on(setting()):
        raise RuntimeError(f"triton was imported before its interpreter could be chosen: set {VARIABLE}=1")
    os.environ[VARIABLE] = "1"


def compile_kernels() -> bool:
    """Turns the interpreter off. Returns whether it was on; if Triton is already imported, only a new process then compiles."""
    return is_on(os.environ.pop(VARIABLE, None))


@contextmanager
def off_in_children() -> Iterator[None]:
    """Inside the `with` block, processes that are started compile kernels, whatever this one does."""
    value = setting()
    compile_kernels()
    try:
        yield
    finally:
        if value is not None:
            os.environ[VARIABLE] = value


def choose(device_kind: str) -> None:
    """Sets what a device needs: `cuda` compiles, `cpu` interprets, a simulated one runs none. Raises RuntimeError like `interpret`."""
    if device_kind == "cpu":
        interpret()
    elif device_kind == "cuda":
        compile_kernels()  # it would time the interpreter
        os.environ.setdefault("TRITON_DISABLE_LINE_INFO", "1")  # so that a cubin's hash is that of its instructions

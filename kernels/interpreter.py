"""Whether Triton compiles kernels or runs them in its interpreter: the one place that reads or sets the variable it goes by.

Triton reads it when it is imported, so a choice comes before that; processes that are started later inherit it.
"""

from __future__ import annotations

import os
import sys

VARIABLE = "TRITON_INTERPRET"
OFF = ("", "0", "false", "off")


def setting() -> str | None:
    """Returns the variable as it is; None where it is not set."""
    return os.environ.get(VARIABLE)


def is_on(value: str | None) -> bool:
    """Whether Triton would interpret under this setting."""
    return value is not None and value.lower() not in OFF


def interpret_unless_set() -> None:
    """The interpreter, where the user has not chosen."""
    os.environ.setdefault(VARIABLE, "1")


def interpret() -> None:
    """The interpreter. Raises RuntimeError where Triton was imported to compile."""
    if "triton" in sys.modules and not is_on(setting()):
        raise RuntimeError(f"triton was imported before its interpreter could be chosen: set {VARIABLE}=1")
    os.environ[VARIABLE] = "1"


def compile_kernels() -> bool:
    """No interpreter. Returns whether it was on; where Triton is imported already, only a new process then compiles."""
    return is_on(os.environ.pop(VARIABLE, None))


def choose(device_kind: str) -> None:
    """What a device needs: `cuda` compiles, `cpu` interprets, a simulated one runs no kernels. Raises RuntimeError as `interpret` does."""
    if device_kind == "cpu":
        interpret()
    elif device_kind == "cuda":
        compile_kernels()  # it would time the interpreter
        os.environ.setdefault("TRITON_DISABLE_LINE_INFO", "1")  # so that a cubin's hash is that of its instructions

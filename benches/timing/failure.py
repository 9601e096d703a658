"""What an exception of a kernel, a compiler or the driver means for what comes next. Pure.

The driver, Triton and cuBLAS tell what happened in their messages alone: those are looked at here, and nowhere else.
"""

from __future__ import annotations

import re

from benches.row import CONTEXT_LOST, DEVICE_LOST

# NVML_ERROR_GPU_IS_LOST, Xid 79, cudaErrorNoDevice: the GPU no longer answers.
LOST = re.compile(r"GPU is lost|fallen off the bus|no CUDA-capable device")
# The CUDA context may be beyond repair, and then every later call of the process fails.
STICKY = re.compile(r"CUDA( driver)? error|Triton Error \[CUDA\]|CUBLAS_STATUS|INTERNAL ASSERT")
COMPILERS_ERROR = re.compile(r"\berror\s*:", re.IGNORECASE)


def cause_of(error: BaseException) -> str | None:
    """DEVICE_LOST, CONTEXT_LOST, or None for an error that costs its point only."""
    message = str(error)
    if LOST.search(message):
        return DEVICE_LOST
    return CONTEXT_LOST if STICKY.search(message) else None


def first_words(error: BaseException) -> str:
    """Its type, and the first line that says what is wrong: a compiler's, where there is one, since the command comes before it."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    telling = next((line for line in lines if COMPILERS_ERROR.search(line)), lines[0])
    return f"{type(error).__name__}: {telling}"

"""Choosing Triton's interpreter, apart from everything that imports Triton."""

from __future__ import annotations

import os
import sys


def use_interpreter() -> None:
    """For a machine without a GPU. Triton reads the environment when it is imported, so this must come first. Raises RuntimeError."""
    if "triton" in sys.modules and os.environ.get("TRITON_INTERPRET") != "1":
        raise RuntimeError("triton was imported before its interpreter could be chosen: set TRITON_INTERPRET=1")
    os.environ["TRITON_INTERPRET"] = "1"

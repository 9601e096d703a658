"""What commands print ends none of them, whatever the encoding of the terminal or log that it goes to."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from kernels.guard import NAMES, ROOT


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "encoding", "line"),
    [
        (["kernels", "precisions"], "ascii", "stays at \\xb1448"),
        (["kernels", "precisions"], "latin-1", "stays at ±448"),
        (["reports", "napkin", "train_70b_15t"], "latin-1", "80e9 B \\u2212 0 reserved"),
    ],
)
def test_what_an_encoding_lacks_is_escaped(arguments: list[str], encoding: str, line: str) -> None:
    environment = os.environ | {"PYTHONIOENCODING": f"{encoding}:strict"}
    done = subprocess.run([sys.executable, "-m", *arguments], cwd=ROOT, env=environment, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    assert line in done.stdout.decode(encoding)


@pytest.mark.parametrize("folder", [name for name in NAMES if (ROOT / name / "__main__.py").exists()])
def test_every_entry_point_escapes(folder: str) -> None:
    assert "escape_unprintable()" in (ROOT / folder / "__main__.py").read_text(encoding="utf-8")

"""What `python -m benches kernel` says besides its table."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from benches.__main__ import main
from benches.kernel import kernel_command


@pytest.mark.parametrize(("device", "says"), [("simulated", True), ("cpu", False)])
def test_a_simulated_device_says_that_no_kernel_was_run(
    device: str, says: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its rows are `ok` and 0 of their tolerance whatever the kernel computes."""

    def measured(*_: Any) -> tuple[list[Any], dict[str, Any]]:
        return [], {"device_kind": device}

    monkeypatch.setattr("kernels.interpreter.choose", lambda kind: None)
    monkeypatch.setattr(kernel_command, "find", lambda *_: kernel_command.Found((), {}))
    monkeypatch.setattr(kernel_command, "make_sweep", lambda *_: None)
    monkeypatch.setattr(kernel_command, "measure", measured)
    monkeypatch.setattr(kernel_command, "_make_page", lambda run_dir: None)
    assert main(["kernel", "mine.py", "--device", device, "--run-dir", str(tmp_path)]) == 0
    assert ("no kernel was run and no result checked" in capsys.readouterr().out) == says

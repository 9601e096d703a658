"""What a run records of its machine, held to docs/environment.md."""

from __future__ import annotations

import json
import re

import pytest

from benches.devices.simulated import SimulatedDevice
from benches.run import environment
from benches.run.run import Request
from kernels.guard import ROOT

DOCUMENTED = set(
    re.findall(
        r"`(\w+)`",
        " ".join(
            line.split("|")[1] for line in (ROOT / "docs" / "environment.md").read_text(encoding="utf-8").splitlines() if line[:3] == "| `"
        ),
    )
)
LATE = {"finished_utc", "resumed_utc", "interrupted"}  # a run's end, or its resumption, adds these


def collected() -> dict[str, object]:
    request = Request("", ["smoke"], 1, {"max_call_s": 1.0})
    return environment.collect(SimulatedDevice().describe(), request.recorded())


def test_every_field_is_documented() -> None:
    assert set(collected()) - DOCUMENTED == set()
    assert LATE | set(environment.LATER) <= DOCUMENTED


def test_the_variables_are_those_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    monkeypatch.setenv("TORCH_HUB_TOKEN", "abc")
    monkeypatch.delenv("NVIDIA_TF32_OVERRIDE", raising=False)
    found = collected()["variables"]
    assert isinstance(found, dict)
    assert found["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert "NVIDIA_TF32_OVERRIDE" not in found
    assert "abc" not in json.dumps(found)

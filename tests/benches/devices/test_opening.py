"""Which device `--device auto` takes: NVML's answer, torch's where NVML is missing, never the CPU beside a GPU."""

from __future__ import annotations

import ctypes
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pynvml
import pytest

from benches.devices import opening
from benches.devices.opening import automatic_kind, torch_finds_cuda
from benches.pytest_plugin import hooks
from benches.pytest_plugin.session import KEY, Session


def script_nvml(monkeypatch: pytest.MonkeyPatch, answer: int) -> None:
    """`answer`: how many boards are listed or, negative, an NVML error when it starts."""

    def start() -> None:
        if answer < 0:
            raise pynvml.NVMLError(-answer)

    monkeypatch.setattr(pynvml, "nvmlInit", start)
    monkeypatch.setattr(pynvml, "nvmlDeviceGetCount", lambda: answer)


@pytest.mark.parametrize(
    ("nvml", "torch_finds", "kind"),
    [
        (8, None, "cuda"),
        (1, None, "cuda"),
        (0, None, "cpu"),
        (-pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, True, "cuda"),
        (-pynvml.NVML_ERROR_DRIVER_NOT_LOADED, True, "cuda"),
        (-pynvml.NVML_ERROR_LIBRARY_NOT_FOUND, False, "cpu"),
    ],
)
def test_torch_is_asked_only_where_nvml_gives_no_answer(
    monkeypatch: pytest.MonkeyPatch, nvml: int, torch_finds: bool | None, kind: str
) -> None:
    """None: asking torch, which takes seconds, would be a mistake."""

    def asked() -> bool:
        assert torch_finds is not None
        return torch_finds

    script_nvml(monkeypatch, nvml)
    monkeypatch.setattr(opening, "torch_finds_cuda", asked)
    assert automatic_kind() == kind


@pytest.mark.parametrize(
    ("driver", "torch", "found"),
    [
        (True, "cuda = type('cuda', (), {'is_available': staticmethod(lambda: True)})", True),
        (True, "cuda = type('cuda', (), {'is_available': staticmethod(lambda: False)})", False),
        (True, "raise ImportError('libcudart.so.13')", False),
        (False, "import pathlib; pathlib.Path('asked').touch()", False),
    ],
)
def test_torch_is_asked_in_another_process(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, driver: bool, torch: str, found: bool) -> None:
    """A torch.py in the folder where Python starts stands for torch."""

    def load(name: str) -> None:
        assert name == "libcuda.so.1"
        if not driver:
            raise OSError(f"{name}: cannot open shared object file")

    (tmp_path / "torch.py").write_text(torch, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONSAFEPATH", raising=False)
    monkeypatch.setattr(ctypes, "CDLL", load)
    assert torch_finds_cuda() is found
    assert not (tmp_path / "asked").exists()


def test_a_torch_that_never_answers_counts_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda name: None)
    monkeypatch.setattr(opening, "ASK_TORCH", "import time; time.sleep(60)")
    monkeypatch.setattr(opening, "ASKING_S", 0.1)
    assert torch_finds_cuda() is False


@pytest.mark.parametrize(
    ("environment", "lines"),
    [({}, []), ({"notes": []}, []), ({"notes": ["no peaks", "no throttle detection"]}, ["note: no peaks", "note: no throttle detection"])],
)
def test_a_run_ends_with_what_its_device_lacks(environment: dict[str, Any], lines: list[str]) -> None:
    session = Session.__new__(Session)
    session._run = SimpleNamespace(environment=environment)  # type: ignore[assignment]
    session.lost = []
    session.left_out = lambda: []  # type: ignore[method-assign]
    session.tuned = lambda: []  # type: ignore[method-assign]
    session.lost = []
    written: list[str] = []
    reporter = SimpleNamespace(ensure_newline=lambda: None, write_line=lambda line, **markup: written.append(line))
    hooks.pytest_terminal_summary(reporter, SimpleNamespace(stash={KEY: session}))  # type: ignore[arg-type]
    assert written == lines


def test_a_session_that_measured_nothing_has_no_notes() -> None:
    session = Session.__new__(Session)
    session._run = None
    assert session.limits() == []

"""What torch.compile and Triton need of the machine: found as they find it, told as a status, and counted at the end of a run."""

from __future__ import annotations

import sysconfig
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from benches import plan
from benches.devices import cpu, toolchain
from benches.devices.toolchain import Missing, missing_for_cpu, missing_for_cuda
from benches.pytest_plugin import session as session_module
from benches.pytest_plugin.session import Session
from benches.sweep.load import load_sweep
from benches.timing.measure import refuse
from kernels.gpus import load_gpu
from kernels.registry import OPS
from kernels.support import Platform
from tests.conftest import left_out

NO_GXX = "no C++ compiler: torch.compile needs g++, not on the PATH (apt-get install g++, or name one with CXX)"
NO_GCC = "no C compiler: Triton and torch.compile need gcc or clang, not on the PATH (apt-get install gcc, or name one with CC)"
H100 = Platform("cuda", (9, 0))
COMPILED = ("torch_compile", "triton")


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty PATH on Linux, no compiler named, and a temporary folder whose path is plain."""
    for name in ("CC", "CXX", "TORCH_INDUCTOR_INSTALL_GXX", "TORCHINDUCTOR_CACHE_DIR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(tempfile, "tempdir", "/tmp")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(toolchain.sys, "platform", "linux")
    for find in (missing_for_cpu, missing_for_cuda):
        find.cache_clear()
    yield tmp_path
    for find in (missing_for_cpu, missing_for_cuda):
        find.cache_clear()


@pytest.fixture
def headers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "Python.h").write_text("")
    monkeypatch.setattr(sysconfig, "get_path", lambda *names: str(tmp_path))


def program(path: Path, script: str) -> None:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)


def reason(find: Callable[[], Missing | None]) -> str | None:
    missing = find()
    return missing and missing.reason


def test_no_compiler(path: Path) -> None:
    assert reason(missing_for_cpu) == NO_GXX
    assert reason(missing_for_cuda) == NO_GCC


def test_torch_and_triton_find_none_either(path: Path) -> None:
    from torch._inductor.cpp_builder import cpp_compiler_search
    from torch._inductor.exc import InvalidCxxCompiler
    from triton.runtime.build import _build

    with pytest.raises(InvalidCxxCompiler):
        cpp_compiler_search.__wrapped__((None, "g++"))
    with pytest.raises(RuntimeError, match="Failed to find C compiler"):
        _build("name", "name.c", str(path), [], [], [], [])


def test_torch_takes_the_compiler_that_is_looked_for(path: Path, headers: None) -> None:
    from torch._inductor.cpp_builder import cpp_compiler_search

    program(path / "g++", "exit 0")
    assert cpp_compiler_search.__wrapped__((None, "g++")) == "g++"
    assert missing_for_cpu() is None


@pytest.mark.parametrize("name", ["gcc", "clang"])
def test_triton_takes_gcc_or_clang(path: Path, headers: None, name: str) -> None:
    program(path / name, "exit 0")
    assert missing_for_cuda() is None


def test_a_compiler_named_that_is_not_there(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CXX", "g++-99")
    monkeypatch.setenv("CC", "gcc-99")
    assert "torch.compile needs g++-99, which CXX names, but it cannot be run" in str(reason(missing_for_cpu))
    assert "Triton and torch.compile need gcc-99, which CC names, but it cannot be run" in str(reason(missing_for_cuda))


@pytest.mark.parametrize("name", ["a b", "a'b", 'a"b', "a\\b", "a\tb"])
@pytest.mark.parametrize("variable", ["TMPDIR", "TORCHINDUCTOR_CACHE_DIR"])
def test_a_path_at_which_torch_splits_its_command(
    variable: str, name: str, path: Path, headers: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(path / "g++", "exit 0")
    (folder := path / name).mkdir()
    monkeypatch.setenv(variable, str(folder))
    monkeypatch.setattr(tempfile, "tempdir", None)  # so that it is looked up again
    expected = f"torch.compile cannot compile C++ in {folder}, since its path has a space or a quote (set {variable} to another folder)"
    if variable == "TORCHINDUCTOR_CACHE_DIR":
        monkeypatch.setenv("TMPDIR", "/tmp")
    assert reason(missing_for_cpu) == expected


def test_no_python_headers(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(path / "g++", "exit 0")
    monkeypatch.setattr(sysconfig, "get_path", lambda *names: "/nowhere/include")
    assert "no Python headers: g++ needs Python.h, which is not in /nowhere/include (apt-get install python" in str(reason(missing_for_cpu))


def test_a_compiler_that_does_not_compile(path: Path, headers: None) -> None:
    program(path / "g++", "echo 'fatal error: omp.h: No such file or directory' >&2; exit 1")
    assert "g++ cannot build a shared library: fatal error: omp.h: No such file or directory" in str(reason(missing_for_cpu))


def test_the_compiler_of_this_machine_is_really_tried(tmp_path: Path) -> None:
    assert toolchain.cannot_build(["/bin/false"], "") is not None


@pytest.mark.parametrize("sweep", ["smoke", "nightly"])
def test_only_what_is_compiled_when_it_runs_needs_a_compiler(sweep: str) -> None:
    """A point's own reason stays: installing a compiler would not change it."""
    points = load_sweep(sweep).points
    met = Counter()
    for point in points:
        unsupported = OPS[point.op].impls[point.impl].unsupported
        own = unsupported(point, H100)
        assert unsupported(point, replace(H100, no_compiler=NO_GCC)) == (own or (NO_GCC if point.impl in COMPILED else None))
        met[point.impl] += own is None
    assert all(met[impl] for impl in ("torch", *COMPILED))


def test_a_cpu_says_so_as_a_status(path: Path) -> None:
    device = SimpleNamespace(platform=lambda impl: cpu.CpuDevice.platform(None, impl), predict_s=lambda point: None)  # type: ignore[arg-type]
    device.settings = SimpleNamespace(max_call_s=1.0)
    dims = {"m": 64, "n": 64, "k": 64}
    assert refuse(OPS["matmul"].point("torch_compile", "fp32", dims), device) == ("unsupported", NO_GXX)
    for impl in ("torch", "triton"):
        assert refuse(OPS["matmul"].point(impl, "fp32", dims), device) is None


@pytest.mark.parametrize("gpu_here", [True, False])
def test_a_plan_is_of_this_machine_only_where_it_has_a_gpu(path: Path, monkeypatch: pytest.MonkeyPatch, gpu_here: bool) -> None:
    monkeypatch.setattr(plan, "has_gpu", lambda: gpu_here)
    made = plan.make_plan(load_sweep("smoke"), load_gpu("h100_sxm5"))
    reasons = {impl: {why for p, why in zip(made.points, made.unsupported, strict=True) if p.impl == impl} for impl in ("torch", *COMPILED)}
    assert [NO_GCC in reasons[impl] for impl in ("torch", *COMPILED)] == [False, gpu_here, gpu_here]


def test_the_end_of_a_run_counts_what_was_left_out(path: Path) -> None:
    unsupported = Counter({NO_GXX: 12, "TF32 is another thing": 3})
    session = SimpleNamespace(device_kind="cpu", unsupported=unsupported)
    assert Session.left_out(session) == [f"note: 12 points unsupported: {NO_GXX}"]  # type: ignore[arg-type]
    session.device_kind = "cuda"
    assert Session.left_out(session) == []  # type: ignore[arg-type]
    session.unsupported = Counter({NO_GCC: 1})
    assert Session.left_out(session) == [f"note: 1 point unsupported: {NO_GCC}"]  # type: ignore[arg-type]


def test_a_run_that_left_nothing_out_looks_for_no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session_module, "missing_for_cpu", lambda: pytest.fail("it takes a third of a second"))
    session = SimpleNamespace(device_kind="cpu", unsupported=Counter())
    assert Session.left_out(session) == []  # type: ignore[arg-type]


def test_the_end_of_the_tests_counts_what_was_skipped(path: Path) -> None:
    reports = [SimpleNamespace(keywords={name: 1}) for name in ("browser", "browser", "compiler", "slow")]
    assert list(left_out(reports)) == [
        "note: 2 tests skipped: no Chromium or Chrome on the PATH that starts (apt-get install chromium)",
        f"note: 1 test skipped: {NO_GXX}",
    ]
    program(path / "chromium", "exit 0")
    assert list(left_out(reports)) == [f"note: 1 test skipped: {NO_GXX}"]

"""Names of the test files that benches/ had for each op: what to use instead, and which point a test of them measured."""

from __future__ import annotations

import gc
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benches.pytest_plugin import former_files, hooks
from benches.pytest_plugin.session import KEY
from benches.run.replay import ReplayClock
from kernels.collector import collector_paused
from kernels.guard import ROOT
from kernels.registry import OPS


@pytest.mark.parametrize(
    ("arguments", "use"),
    [
        *[([f"benches/test_{op}.py"], f"-m {op}") for op in OPS],
        (["benches/test_matmul.py", "benches/test_einsum.py", "benches/test_matmul.py"], "-m 'matmul or einsum'"),
        (["benches/test_matmul.py::test_matmul"], "-m matmul"),
        (["benches/test_einsum.py::test_einsum[einsum-a::b]"], "-m einsum or 'benches/test_points.py::test_point[einsum-a::b]'"),
        (
            ["benches/", "benches/test_points.py", "benches/test_nothing.py", "benches/test_matmul.pyc", "tests/test_matmul.py"],
            None,
        ),
    ],
)
def test_a_former_file_has_a_marker_instead(arguments: list[str], use: str | None) -> None:
    assert former_files.named(arguments) == use


@pytest.mark.parametrize(
    ("arguments", "patterns", "use"),
    [
        (["benches/test_matmul.py"], [], "-m 'not matmul'"),
        (["benches/test_matmul.py::test_matmul[matmul-a]"], ["benches/test_conv.py"], "-m 'not matmul'"),
        ([], ["*/test_ein*"], "-m 'not (einsum or einops)'"),
        ([], ["benches/*"], None),  # every point, as before
        (["benches/test_points.py::test_point[matmul-a]", "tests/kernels/test_einops.py"], ["*.pyc"], None),
    ],
)
def test_leaving_out_a_former_file_has_one_too(arguments: list[str], patterns: list[str], use: str | None) -> None:
    found = former_files.left_out(arguments, patterns)
    assert (found and sorted(found.split())) == (use and sorted(use.split()))


@pytest.mark.parametrize(
    ("expression", "use"),
    [
        ("test_matmul and not bf16", "-k 'matmul and not bf16'"),
        ("test_train_step or test_layout", "-k 'train_step or layout'"),
        ("matmul", None),
        ("test_point", None),
        ("latest_matmul", None),
        ("test_matmuls", None),
        ("", None),
    ],
)
def test_a_former_function_in_k(expression: str, use: str | None) -> None:
    assert former_files.in_words(expression) == use


@pytest.mark.parametrize(
    ("test", "point"),
    [
        *[(f"test_{op}[{op}-torch-fp32-1]", f"{op}-torch-fp32-1") for op in OPS],
        ("test_point[matmul-torch-bf16-1x2x3]", "matmul-torch-bf16-1x2x3"),
        ("test_einsum[einsum-torch-a[b]-1]", "einsum-torch-a[b]-1"),
        ("test_matmul[einsum-torch-fp32-1]", None),  # of another suite
        ("test_matmul[1024]", None),
        ("test_point[1-2]", None),
        ("test_matmul", None),
        ("test_a[1]", None),
    ],
)
def test_the_point_of_a_test(test: str, point: str | None) -> None:
    assert former_files.point_of(test) == point


MADE = [
    OPS["matmul"].point("torch", "bf16", {"m": 1, "n": 2, "k": 3}),
    OPS["matmul"].point("triton", "bf16", {"m": 1, "n": 2, "k": 3}),
    OPS["einops"].point("torch", "bf16", {"a": 2, "b": 3}, {"pattern": "a b -> b a"}),
]
POINTS = {point.id: point for point in MADE}


def wanting(file: str, fixtures: list[str]) -> tuple[Any, list[Any]]:
    """A test of a file in benches/, as pytest collects it in a session of two points, and what it was parametrised with."""
    given: list[Any] = []
    config = SimpleNamespace(stash={KEY: SimpleNamespace(points=POINTS, clock=ReplayClock())})
    definition = SimpleNamespace(path=Path(ROOT, "benches", file))
    test = SimpleNamespace(
        config=config, fixturenames=fixtures, definition=definition, parametrize=lambda name, values, **_: given.append((name, values))
    )
    return test, given


def test_every_point_is_collected_whatever_its_op() -> None:
    test, given = wanting("test_points.py", ["point", "bench"])
    hooks.pytest_generate_tests(test)
    (name, values), *more = given
    assert (name, more) == ("point", [])
    assert [value.id for value in values] == [value.values[0] for value in values] == list(POINTS)
    assert [{mark.name for mark in value.marks} for value in values] == [{"benchmark", p.op, p.impl, p.precision} for p in POINTS.values()]
    timers = {(mark.kwargs["group"], mark.kwargs["timer"]) for value in values for mark in value.marks if mark.name == "benchmark"}
    assert timers == {(f"{op} bf16", test.config.stash[KEY].clock) for op in ("matmul", "einops")}


def test_no_other_test_collects_points_again() -> None:
    test, given = wanting("test_sigmoid.py", ["point", "bench"])
    with pytest.raises(pytest.Collector.CollectError, match=r"test_sigmoid\.py: benches/test_points\.py collects the points of every op"):
        hooks.pytest_generate_tests(test)
    other, _ = wanting("test_other.py", ["benchmark"])
    hooks.pytest_generate_tests(other)
    assert given == []


@pytest.mark.parametrize("enabled", [True, False])
def test_collecting_leaves_the_collector_of_garbage_as_it_was(enabled: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    frozen: list[bool] = []
    monkeypatch.setattr(gc, "freeze", lambda: frozen.append(gc.isenabled()))
    before = gc.isenabled()
    try:
        gc.enable() if enabled else gc.disable()
        with suppress(ZeroDivisionError), collector_paused(freeze=True):
            assert not gc.isenabled()
            raise ZeroDivisionError  # a mistake in a sweep ends a collection too
        assert (gc.isenabled(), frozen) == (enabled, [False])
    finally:
        gc.enable() if before else gc.disable()

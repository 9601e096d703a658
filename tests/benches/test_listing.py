"""`python -m benches list`: everything that can be named is there, in 80 columns."""

from __future__ import annotations

import sys

import pytest

from benches.__main__ import main
from benches.listing import SUBJECTS, WIDTH, lines, values, written_in
from benches.sweep.load import sweep_names
from benches.sweep.shapes import model_names
from kernels import imports
from kernels.gpus import gpu_names
from kernels.guard import ROOT
from kernels.op import Option
from kernels.precisions import PRECISIONS
from kernels.registry import OPS, registered, restore

NAMES = {
    "sweeps": sweep_names(),
    "ops": [name for op in OPS.values() for name in (op.name, *(f"  {option}" for option in op.options))],
    "implementations": list(dict.fromkeys(name for op in OPS.values() for name in op.impls)),
    "precisions": list(PRECISIONS),
    "models": model_names(),
    "gpus": list(gpu_names()),
}


def printed(capsys: pytest.CaptureFixture[str], *subjects: str) -> dict[str, list[str]]:
    """The lines under each heading."""
    assert main(["list", *subjects]) == 0
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= WIDTH
    blocks = [block.splitlines() for block in out.strip().split("\n\n")]
    return {block[0].removesuffix(":"): block[1:] for block in blocks}


@pytest.mark.slow
def test_everything_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    found = printed(capsys)
    assert list(found) == list(NAMES) == list(SUBJECTS)
    for subject, names in NAMES.items():
        assert len(found[subject]) == len(names)
        assert all(line.startswith(f"  {name} ") for line, name in zip(found[subject], names, strict=True))


def test_a_subject_is_listed_alone_and_whole(capsys: pytest.CaptureFixture[str]) -> None:
    found = printed(capsys, "ops", "gpus", "ops")
    assert list(found) == ["ops", "gpus"]
    text = " ".join(" ".join(found["ops"]).split())
    for op in OPS.values():
        assert f"{op.name} {op.doc}" in text
        for name, option in op.options.items():
            assert f"{name} {values(option)}" in text
    assert "NVIDIA A100-SXM4-80GB" in " ".join(" ".join(found["gpus"]).split())


@pytest.mark.parametrize(
    ("option", "text"),
    [
        (Option(("a", "b"), "b", ""), "a, b (default)"),
        (Option(("a", "b"), None, ""), "must be given: a, b"),
        (Option((), None, ""), "a text, which must be given"),
        (Option((), "x", ""), "a text (default: x)"),
    ],
)
def test_values_of_an_option(option: Option, text: str) -> None:
    assert values(option) == text


@pytest.mark.parametrize(
    ("op", "impl", "language"),
    [("matmul", "torch", "PyTorch"), ("matmul", "torch_compile", "PyTorch, compiled by torch.compile"), ("matmul", "triton", "Triton")],
)
def test_the_language_of_an_implementation(op: str, impl: str, language: str) -> None:
    assert written_in(OPS[op].impls[impl]) == language


def test_long_texts_are_cut_or_wrapped() -> None:
    text = "seven " * 30
    assert list(lines("x", [("name", text)], cut=True)) == ["x:", "  name  " + "seven " * 11 + "…", ""]
    heading, first, *rest, _ = lines("x", [("name", text)], cut=False)
    assert (heading, first) == ("x:", "  name  " + "seven " * 11 + "seven")
    assert " ".join([first, *rest]).split() == ["name", *text.split()]


def test_imported_implementations_are_listed(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    before = registered()
    monkeypatch.setattr(imports, "_loaded", {})
    monkeypatch.setattr(sys, "path", list(sys.path))
    try:
        found = printed(capsys, "implementations", "--import", str(ROOT / "examples" / "implementation.py"))
    finally:
        restore(before)
        sys.modules.pop(f"{imports.PACKAGE}.implementation", None)
    assert ["in_halves", "PyTorch:", "matmul"] in [line.split() for line in found["implementations"]]
    assert main(["list", "--import", "nowhere.py"]) == 2
    assert capsys.readouterr().err.startswith("nowhere.py:1: there is no such file to import")


def test_an_unknown_subject_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["list", "sweep"])
    assert ended.value.code == 2
    assert "unknown subject 'sweep' (did you mean sweeps?)" in capsys.readouterr().err

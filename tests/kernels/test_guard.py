"""The line for code that wants another package named as one of this repository's."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from kernels.guard import missing_package_in_a_line, two_packages


@pytest.mark.parametrize(
    ("statement", "missing"),
    [
        ("from kernels import get_kernel", "a name imported from `kernels`" if sys.version_info < (3, 12) else "`kernels.get_kernel`"),
        ("import kernels; kernels.get_kernel('activation')", "`kernels.get_kernel`"),
        ("from kernels.layer import mapping", "`kernels.layer`"),
        ("import reports.generate", "`reports.generate`"),
    ],
)
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_package_that_imports_the_other_one(
    statement: str, missing: str, wrapped: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = ["try:", f"    {statement}", "except Exception as error:", "    raise RuntimeError('cannot import it') from error"]
    (tmp_path / "fetches_kernels.py").write_text("\n".join(lines) if wrapped else statement, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises((ImportError, AttributeError, RuntimeError)) as caught:
        __import__("fetches_kernels")
    line = two_packages(caught.value)
    assert line is not None
    package = statement.replace(".", " ").split()[1].rstrip(";")
    assert line.startswith(f"{missing} is not in this repository's package `{package}`: it is asked of another package of that name")
    assert line.endswith(f"`pip uninstall {package}`")


@pytest.mark.parametrize(
    "statement",
    ["import not_installed", "from kernels.op import Missing", "from math import nothing", "[].kernels", "1 / 0", "raise ImportError"],
)
def test_other_errors_are_left_alone(statement: str) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011  # of any kind
        exec(statement)
    assert two_packages(caught.value) is None


@pytest.mark.parametrize(("given", "code"), [((), 2), ((4,), 4)])
def test_a_missing_package_is_a_line_and_not_the_code_of_a_finding(
    given: tuple[int, ...], code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stopped, missing_package_in_a_line(*given):
        __import__("a_package_that_nobody_has.part")
    assert stopped.value.code == code
    assert capsys.readouterr().err == "error: a_package_that_nobody_has is not installed: pip install -r requirements.txt\n"

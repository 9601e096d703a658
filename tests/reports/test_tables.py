"""Rows as tables for documents and programs, and charts as pictures."""

import json
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import pandas as pd
import pytest

from reports.__main__ import main
from reports.picture import BROWSERS, charts_of, view_of
from reports.refusal import RunError
from reports.report import load_report
from reports.tables import chosen, latex, table_text

FRAME = pd.DataFrame(
    {"point": ["a_b|c", "=cmd"], "status": ["ok", "wrong"], "median_s": [1.234e-5, float("nan")], "flops_per_s": [1.5e12, float("nan")]}
)
EXPECTED = {
    "md": "| Point | Status | Median | Achieved |\n|---|---|---:|---:|\n"
    "| a_b\\|c | ok | 12.34 µs | 1.500 TFLOP/s |\n| =cmd | wrong | — | — |\n",
    "csv": "point,status,median_s,flops_per_s\na_b|c,ok,1.234e-05,1500000000000.0\n'=cmd,wrong,,\n",
    "latex": "\\begin{tabular}{llrr}\n\\toprule\nPoint & Status & Median & Achieved \\\\\n\\midrule\n"
    "a\\_b|c & ok & 12.34~$\\mu$s & 1.500~TFLOP/s \\\\\n"
    "=cmd & wrong & --- & --- \\\\\n\\bottomrule\n\\end{tabular}\n",
}


@pytest.mark.parametrize("form", EXPECTED)
def test_a_table(form: str) -> None:
    assert table_text(FRAME, form).replace("\u00a0", " ") == EXPECTED[form]


def test_json_has_null_for_what_is_missing() -> None:
    assert json.loads(table_text(FRAME, "json")) == [
        {"point": "a_b|c", "status": "ok", "median_s": 1.234e-5, "flops_per_s": 1.5e12},
        {"point": "=cmd", "status": "wrong", "median_s": None, "flops_per_s": None},
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [("50% & $x_1", r"50\% \& \$x\_1"), ("a\\b", r"a\textbackslash{}b"), ("{~^}", r"\{\textasciitilde{}\textasciicircum{}\}")],
)
def test_latex_shows_text_as_it_is(text: str, expected: str) -> None:
    assert latex(text) == expected


def test_a_column_that_is_not_there_is_named_with_what_is_meant() -> None:
    with pytest.raises(RunError, match="--columns: 'medan_s' is not a column; did you mean median_s"):
        chosen(FRAME, ["point", "medan_s"])


@pytest.mark.slow
def test_the_command_prints_and_writes(make_run: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run("cuda")
    assert main(["table", str(run), "--columns", "point, mfu", "--format", "json"]) == 0
    frame = load_report(run).frame
    assert [row["point"] for row in json.loads(capsys.readouterr().out)] == frame["point"].tolist()
    assert main(["table", str(run), "-o", str(tmp_path / "t.md")]) == 0
    assert len((tmp_path / "t.md").read_text(encoding="utf-8").splitlines()) == len(frame) + 2
    assert main(["table", str(run), "-o", str(tmp_path / "none" / "t.md")]) == 2
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.slow
def test_charts_and_views_are_found_by_name(make_run: Callable[..., Path]) -> None:
    charts = charts_of(load_report(make_run("cuda")))
    assert view_of(charts, "roofline").name == "all families"
    assert view_of(charts, "roofline:matmul").name == "matmul"
    with pytest.raises(RunError, match="did you mean roofline"):
        view_of(charts, "rooflin")
    with pytest.raises(RunError, match="not a view of roofline; choose all families, "):
        view_of(charts, "roofline:matmuls")


@pytest.mark.slow
@pytest.mark.browser
def test_a_chart_as_svg_and_png(make_run: Callable[..., Path], tmp_path: Path) -> None:
    run = str(make_run("cuda"))
    assert main(["chart", run, "curves", "-o", str(tmp_path / "c.svg")]) == 0
    assert ElementTree.parse(tmp_path / "c.svg").getroot().tag.endswith("svg")
    assert main(["chart", run, "roofline", "-o", str(tmp_path / "c.png")]) == 0
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
def test_without_a_browser_or_a_known_format_it_is_a_line(
    make_run: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["chart", str(make_run("cuda")), "roofline", "-o", str(tmp_path / "c.svg")]) == 2
    assert f"none of {', '.join(BROWSERS)} is on the PATH" in capsys.readouterr().err
    assert main(["chart", str(make_run("cuda")), "roofline", "-o", str(tmp_path / "c.pdf")]) == 2
    assert "a chart is written as .svg or .png" in capsys.readouterr().err

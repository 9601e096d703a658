"""`python -m reports html`."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from reports.__main__ import main

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
def test_prints_the_path_last(make_run: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run("cpu")
    assert main(["html", str(run)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(run / "report.html")


@pytest.mark.slow
def test_writes_elsewhere(make_run: Callable[..., Path], tmp_path: Path) -> None:
    run, out = make_run("cpu"), tmp_path / "page.html"
    assert main(["html", str(run), "-o", str(out)]) == 0
    assert out.stat().st_size > 1_000_000
    assert not (run / "report.html").exists()


@pytest.mark.slow
def test_damaged_lines_are_counted_and_said(make_run: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run("cpu")
    with (run / "rows.jsonl").open("ab") as journal:
        journal.write(b'{"point": "x"}\n\xff\xfe\n{"torn')
    assert main(["html", str(run)]) == 0
    assert "3 damaged lines in rows.jsonl" in capsys.readouterr().err
    assert "3 damaged lines in rows.jsonl" in (run / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("what", ["no directory", "no journal", "empty journal", "nothing but damage", "a file"])
def test_nothing_to_report_on_is_one_line_and_exit_2(tmp_path: Path, what: str, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    if what == "a file":
        run.write_text("", encoding="utf-8")
    elif what != "no directory":
        run.mkdir()
    if what == "empty journal":
        (run / "rows.jsonl").touch()
    if what == "nothing but damage":
        (run / "rows.jsonl").write_text("{\n", encoding="utf-8")
    assert main(["html", str(run)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("error: ")
    assert len(captured.err.splitlines()) == 1
    assert str(run) in captured.err


def test_a_page_that_cannot_be_written_is_one_line_and_exit_2(make_run: Callable[..., Path], capsys: pytest.CaptureFixture[str]) -> None:
    run = make_run("cpu")
    assert main(["html", str(run), "-o", str(run / "missing" / "page.html")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


@pytest.mark.slow
def test_neither_torch_nor_triton_is_imported(make_run: Callable[..., Path]) -> None:
    code = "import sys; from reports.__main__ import main; main(sys.argv[1:]); assert not {'torch', 'triton'} & set(sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code, "html", str(make_run("cpu"))], cwd=ROOT, capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_survey_that_has_no_rows_has_a_page_that_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gpus = [{"uuid": f"GPU-{i}", "host": "h", "index": i, "name": "n", "directory": f"h-gpu{i}"} for i in range(2)]
    about = {"device_kind": "simulated", "sweeps": ["s"], "seed": 1, "started_utc": "2026-11-27T00:00:00+00:00"}
    (tmp_path / "survey.json").write_text(json.dumps({**about, "gpus": gpus}), encoding="utf-8")
    (tmp_path / "h-gpu0").mkdir()
    (tmp_path / "h-gpu0" / "rows.jsonl").touch()  # killed before its first row
    assert main(["html", str(tmp_path)]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'report.html'}\n"
    assert "No verdict: none of 2 GPUs could be compared" in (tmp_path / "report.html").read_text(encoding="utf-8")
    (tmp_path / "survey.json").write_text("{}", encoding="utf-8")
    assert main(["html", str(tmp_path)]) == 2
    assert "survey.json: device_kind: Field required" in capsys.readouterr().err

"""The pages of docs/reference are those that the code makes, and every argument, option, key and field on them is explained."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from benches.row import Conditions, Row
from kernels.calibrated import BatchFit, Calibration, StreamFit, TileFit
from kernels.cpu_model import CpuModel
from kernels.gpus import Gpu
from kernels.registry import OPS
from reports.__main__ import main
from reports.reference.arguments import arguments, commands_of, names
from reports.reference.markdown import cell, page, table
from reports.reference.pages import PAGES, pages, programs, pytest_parser, sentence, type_name
from reports.reference.reference_command import FOLDER

COMMAND = "make the pages again: python -m reports reference"


@pytest.mark.slow
def test_the_pages_are_up_to_date() -> None:
    made = pages()
    assert sorted(path.name for path in FOLDER.iterdir()) == sorted(made), COMMAND
    stale = [name for name, text in made.items() if (FOLDER / name).read_text(encoding="utf-8") != text]
    assert not stale, f"{', '.join(stale)}: {COMMAND}"


def test_the_command_writes_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reference", "-o", str(tmp_path / "made")]) == 0
    assert {path.name for path in (tmp_path / "made").iterdir()} == {"index.md", *PAGES}
    assert capsys.readouterr().out == f"{len(PAGES) + 1} pages in {tmp_path / 'made'}\n"
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert main(["reference", "-o", str(tmp_path / "file")]) == 2
    assert capsys.readouterr().err == f"error: {tmp_path / 'file'}: cannot be written (File exists): name another place with -o\n"


def parsers() -> list[argparse.ArgumentParser]:
    return [pytest_parser(), *(command for program in programs() for command, _ in commands_of(program).values())]


def test_every_argument_has_a_help() -> None:
    bare = [f"{parser.prog}: {names(action)}" for parser in parsers() for action in parser._actions if not action.help]
    assert not bare
    assert [f"{program.prog} {name}" for program in programs() for name, (_, text) in commands_of(program).items() if not text] == []


@pytest.mark.parametrize("model", [Row, Conditions, Gpu, CpuModel, Calibration, TileFit, BatchFit, StreamFit])
def test_every_field_has_a_description(model: type[BaseModel]) -> None:
    bare = [name for name, field in model.model_fields.items() if not (field.description or "").endswith(".")]
    assert not bare, f"give these fields of {model.__name__} a description, a complete sentence"


@pytest.mark.parametrize("op", OPS)
def test_every_op_says_what_its_dims_are(op: str) -> None:
    assert OPS[op].dims_doc.endswith(".")


@pytest.mark.parametrize(
    ("given", "written"),
    [
        ((["sweep"], {"metavar": "SWEEP"}), ["SWEEP"]),
        ((["runs"], {"nargs": "+", "metavar": "RUN"}), ["RUN …"]),
        ((["names"], {"nargs": "*", "metavar": "NAME"}), ["[NAME …]"]),
        ((["-o", "--out"], {"metavar": "FILE"}), ["-o FILE", "--out FILE"]),
        ((["--all"], {"action": "store_true"}), ["--all"]),
        ((["--device"], {"choices": ("a", "b")}), ["--device a|b"]),
        ((["--op"], {}), ["--op OP"]),
    ],
)
def test_how_an_argument_is_written(given: tuple[list[str], dict[str, Any]], written: list[str]) -> None:
    action = argparse.ArgumentParser().add_argument(*given[0], **given[1])
    assert names(action) == written


def test_a_table_of_arguments() -> None:
    parser = argparse.ArgumentParser(prog="x")
    assert arguments(parser) == ["It takes no arguments."]
    parser.add_argument("--least", default=3, required=True, metavar="A|B", help="of <all> in `<code>`, %(default)s or 90%%")
    parser.add_argument("run")
    assert arguments(parser)[2:] == ["| `RUN` |  |", "| `--least A\\|B` | of &lt;all> in `<code>`, 3 or 90%; must be given |"]


@pytest.mark.parametrize(
    ("text", "escaped"),
    [("a | b", "a \\| b"), ("a\n  b", "a b"), ("<b> and `<b>`", "&lt;b> and `<b>`"), ("`a|b`", "`a\\|b`")],
)
def test_a_cell(text: str, escaped: str) -> None:
    assert cell(text) == escaped


def test_a_page() -> None:
    assert page("T", [["one"], table(("a", "b"), [("1", "2")])]) == "# T\n\none\n\n| a | b |\n| --- | --- |\n| 1 | 2 |\n"


@pytest.mark.parametrize(
    ("model", "field", "name"),
    [
        (Row, "point", "text"),
        (Row, "median_s", "number"),
        (Row, "dims", "mapping of integer"),
        (Row, "status", "text"),
        (Row, "cache", "text"),
        (Row, "launch_bound", "true or false"),
        (Row, "conditions", "mapping"),
        (Gpu, "boards", "list of text"),
        (Gpu, "compute_capability", "list of integer"),
        (Gpu, "sm_count", "integer"),
        (Gpu, "peak_flops_per_s", "mapping of number"),
        (Calibration, "matmul", "list of mapping"),
    ],
)
def test_the_name_of_a_type(model: type[BaseModel], field: str, name: str) -> None:
    assert type_name(model.model_fields[field]) == name


@pytest.mark.parametrize(("text", "whole"), [("make a page", "Make a page."), ("Is it?", "Is it?")])
def test_a_sentence(text: str, whole: str) -> None:
    assert sentence(text) == whole

"""The reference pages as text, by file name. Everything is read from the definitions that the code itself uses."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from benches.row import Conditions, Row, Status
from benches.sweep.given import KEYS as ENTRY_KEYS
from benches.sweep.load import FILE_KEYS
from benches.sweep.shapes import MODEL_KEYS
from kernels.calibrated import BatchFit, Calibration, StreamFit, TileFit
from kernels.cpu_model import CpuModel
from kernels.gpus import Gpu
from kernels.guard import ROOT
from kernels.op import Op
from kernels.precisions import PRECISIONS
from kernels.registry import OPS
from reports.napkin.keys import ASKS, Key
from reports.napkin.keys import KEYS as QUESTION_KEYS
from reports.reference.arguments import arguments, commands_of
from reports.reference.markdown import code, page, table
from reports.survey.thresholds import DEFAULT as SURVEY_FILE
from reports.survey.thresholds import KEYS as SURVEY_KEYS
from reports.verdict.accepted import KEYS as ACCEPTED_KEYS
from reports.verdict.thresholds import KEYS as THRESHOLD_KEYS

Block = Sequence[str]

MADE = "<!-- Made by `python -m reports reference`; edit the descriptions in the code instead. -->"


def pages() -> dict[str, str]:
    """Every page by the name of its file, and an index of them."""
    listed = table(("page", "holds"), ((f"[{title}]({name})", holds) for name, (title, holds, _) in PAGES.items()))
    index = page("Reference", [[MADE], ["Everything that can be named, made from the code that reads it."], listed])
    return {"index.md": index} | {name: page(title, [[MADE], *blocks()]) for name, (title, _, blocks) in PAGES.items()}


def commands() -> Iterator[Block]:
    """Every command of the three programs, and its arguments."""
    yield [
        "Every command runs from the root of the repository. A usage error ends a command with exit code 2, and "
        "`-h` prints the same texts as this page."
    ]
    for parser in programs():
        for name, (command, what) in commands_of(parser).items():
            yield [f"## {parser.prog} {name}"]
            yield [sentence(what)]
            yield arguments(command)


def programs() -> tuple[argparse.ArgumentParser, ...]:
    """The parsers of `python -m benches`, `kernels` and `reports`; imported here, for one of them is what calls this."""
    from benches.__main__ import make_parser as benches
    from kernels.__main__ import make_parser as kernels
    from reports.__main__ import COMMANDS
    from reports.__main__ import make_parser as reports

    return benches(), kernels()[0], reports(COMMANDS)


def pytest_options() -> Iterator[Block]:
    """The options that the suite adds to pytest."""
    yield [
        "`pytest benches/ --benchmark-only` takes these options beside pytest's own. Exit codes are pytest's; a mistake in a sweep "
        "or an option is 4. `-k`, `-m` with the name of an op, implementation or precision, a single point "
        "(`benches/test_points.py::test_point[<id>]`), `-x`, `--benchmark-json`, `--benchmark-autosave`, `--benchmark-compare` and "
        "`--benchmark-disable` (check the points, do not time them) work as usual."
    ]
    yield arguments(pytest_parser())


def pytest_parser() -> argparse.ArgumentParser:
    """The options that the suite's hooks give to pytest, as argparse keeps them."""
    from benches.pytest_plugin.hooks import pytest_addoption

    parser = argparse.ArgumentParser(prog="pytest", add_help=False)
    group: Any = SimpleNamespace(addoption=parser.add_argument)
    recorder: Any = SimpleNamespace(getgroup=lambda name, description="": group)
    pytest_addoption(recorder)
    return parser


def sweep_yaml() -> Iterator[Block]:
    """The keys of a sweep's file and of its entries."""
    yield ["A sweep is a file of configs/sweeps, or any YAML file given to `--sweep`. Each mistake in it is a line, before anything runs."]
    yield ["## The file"]
    yield key_table(FILE_KEYS)
    yield ["## An entry of `sweeps`"]
    yield key_table(ENTRY_KEYS)
    yield [
        "Besides these an entry has the options of its op ([ops.md](ops.md)). Options, `impl` and `precision` take one value or a list, "
        "which is one more axis."
    ]
    yield ["## Precisions"]
    formats = ((code(p.name), str(p.bytes), str(p.exponent_bits), str(p.mantissa_bits)) for p in PRECISIONS.values())
    yield table(("precision", "bytes", "exponent bits", "mantissa bits"), formats)


def ops() -> Iterator[Block]:
    """The ops with their dims, options and implementations."""
    yield ["The ops that a sweep can name, with the sizes (`dims`) and options of each. `python -m benches list ops` prints the same."]
    for op in OPS.values():
        yield [f"## {op.name}"]
        yield [" ".join(filter(None, (op.doc, op.dims_doc)))]
        yield option_table(op)
        yield [f"Implementations: {', '.join(map(code, op.impls))}."]


def option_table(op: Op) -> list[str]:
    """An op's options: values, default and meaning."""
    return table(
        ("option", "values", "default", "means"),
        (
            (code(name), ", ".join(map(code, option.choices)) or "a text", default_text(option.default), option.doc)
            for name, option in op.options.items()
        ),
    )


def gpu_yaml() -> Iterator[Block]:
    """The keys of the files that describe GPUs, CPUs and models."""
    yield [
        "## GPU",
        "",
        "A file of configs/gpus, or one that `--gpu` or a question names by its path. The file's name is its `name`. A run on a GPU finds "
        "its description by the name of the board, in configs/gpus only.",
    ]
    yield setting_table(Gpu)
    for title, model in (
        ("`model`", Calibration),
        ("`model.matmul`", TileFit),
        ("`model.batched`", BatchFit),
        ("`model.stream`", StreamFit),
    ):
        yield [f"### {title}"]
        yield setting_table(model)
    yield [
        "## CPU",
        "",
        "A file of configs/cpus, which `python -m reports calibrate` writes. It is used where CPU model and threads are the same.",
    ]
    yield setting_table(CpuModel)
    yield ["## Model", "", "A file of configs/models, whose layers a sweep takes by `shapes_from` and a question by `model`."]
    yield key_table(MODEL_KEYS)


def questions() -> Iterator[Block]:
    """The keys of a question."""
    yield [
        "A question is a file of configs/napkin, or any YAML file given to `python -m reports napkin`. Numbers may be written 70e9. A key "
        "with a point, such as `batch.sequence`, is inside the mapping of its first part."
    ]
    yield ["## `ask`"]
    yield table(("`ask`", "answers"), ((code(ask), answer) for ask, answer in ASKS.items()))
    yield ["## Keys", "", "A question takes a key, cannot do without one (**bold**), or refuses it."]
    yield question_table(QUESTION_KEYS.values())


def question_table(keys: Iterable[Key]) -> list[str]:
    """Keys, what each means, its default, and the questions that take it."""
    return table(
        ("key", "means", "default", "questions"),
        ((code(key.name), key.means, default_text(key.default), questions_text(key)) for key in keys),
    )


def questions_text(key: Key) -> str:
    """The questions that take a key, in bold those that need it."""
    if set(key.asks) == set(ASKS):
        return "all" if set(key.needed) != set(ASKS) else "**all**"
    return ", ".join(f"**{ask}**" if ask in key.needed else ask for ask in ASKS if ask in key.asks)


def verdicts() -> Iterator[Block]:
    """The keys of thresholds and of accepted changes."""
    yield ["What `python -m reports nightly` and `survey` count as a change, or a slowness, that matters, and which changes are known."]
    yield ["## Thresholds", "", "configs/verdicts/default.yaml, or the file that `--thresholds` names."]
    yield key_table(THRESHOLD_KEYS)
    yield [
        "## Surveys",
        "",
        f"What `python -m reports survey` calls slow: {SURVEY_FILE.relative_to(ROOT)}, or the file that its `--thresholds` names.",
    ]
    yield key_table(SURVEY_KEYS)
    yield ["## Accepted changes", "", "The file that `--accepted` names: a list `accepted` of entries with these keys."]
    yield key_table(ACCEPTED_KEYS)


def rows() -> Iterator[Block]:
    """The fields of a row."""
    yield [
        "A line of `rows.jsonl` is one point's row, and a column of `rows.parquet` holds a field of all rows. Seconds, bytes, hertz and "
        "watts stand in the names. A point that was not timed has no time; a field that is not known is null. "
        "[environment.md](../environment.md) says what the run directory records beside the rows."
    ]
    yield field_table(Row)
    yield ["## `conditions`", "", "Values that the device reported while the point ran; null if it reported none."]
    yield field_table(Conditions)
    yield ["## `status`", "", f"One of {', '.join(map(code, get_args(Status)))}."]


def key_table(keys: Mapping[str, str]) -> list[str]:
    """Keys and what each means."""
    return table(("key", "means"), ((code(name), means) for name, means in keys.items()))


def field_table(model: type[BaseModel]) -> list[str]:
    """The fields that a model writes: type and meaning."""
    fields = model.model_fields.items()
    return table(("field", "type", "means"), ((code(name), type_name(field), field.description or "") for name, field in fields))


def setting_table(model: type[BaseModel]) -> list[str]:
    """The keys that a model reads: type, whether one must be given, and meaning."""
    return table(
        ("key", "type", "default", "means"),
        (
            (code(name), type_name(field), "must be given" if field.is_required() else "", field.description or "")
            for name, field in model.model_fields.items()
        ),
    )


def type_name(field: FieldInfo) -> str:
    """The type as JSON and YAML have it: text, number, integer, true or false, a list, a mapping."""
    return _type_name(field.annotation)


def _type_name(kind: Any) -> str:
    arguments_of = [argument for argument in get_args(kind) if argument is not type(None)]
    origin = getattr(kind, "__origin__", None)
    if origin is dict:
        return f"mapping of {_type_name(arguments_of[1])}"
    if origin in (list, tuple):
        return f"list of {_type_name(arguments_of[0])}"
    if isinstance(kind, type):
        names = {str: "text", int: "integer", float: "number", bool: "true or false"}
        return names.get(kind, "mapping" if issubclass(kind, BaseModel) else kind.__name__)
    if arguments_of and all(isinstance(argument, str) for argument in arguments_of):
        return "text"
    return " or ".join(dict.fromkeys(map(_type_name, arguments_of[:1] if hasattr(kind, "__metadata__") else arguments_of)))


def default_text(default: str | None) -> str:
    """A default in code font; in words where the value must be given."""
    return "must be given" if default is None else code(default) if default else ""


def sentence(text: str) -> str:
    """The text with a capital at its begin and a point at its end."""
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "?", "!")) else ".")


PAGES: dict[str, tuple[str, str, Callable[[], Iterator[Block]]]] = {  # title, what it holds, and how it is made
    "commands.md": ("Commands", "every command of `python -m benches`, `kernels` and `reports`, and its arguments", commands),
    "pytest-options.md": ("Options of pytest", "the options that `pytest benches/` takes", pytest_options),
    "sweep-yaml.md": ("Keys of a sweep", "a sweep's file, its entries, and the precisions", sweep_yaml),
    "ops.md": ("Ops", "the sizes, options and implementations of each op", ops),
    "gpu-yaml.md": ("Keys of a GPU, a CPU and a model", "the files of configs/gpus, configs/cpus and configs/models", gpu_yaml),
    "questions.md": ("Keys of a question", "the files of configs/napkin", questions),
    "verdicts.md": ("Keys of verdicts", "the thresholds of a nightly verdict and of a survey's, and accepted changes", verdicts),
    "rows.md": ("Fields of a row", "fields of a point's row in a run's journal", rows),
}

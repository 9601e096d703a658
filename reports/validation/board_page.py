"""A board's folder of docs/validation as Markdown: what was checked, what was measured, the constants. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from benches.first_contact.check import COUNTED, Check, exit_code
from benches.row import TIMED, Row
from kernels.cost_model import predict
from kernels.escaping import code, markdown
from kernels.gpus import Gpu
from kernels.listed import first_of
from kernels.registry import OPS, point_of
from reports.environment import Environment
from reports.units import microseconds, tera
from reports.validation.contact import VERDICTS, Contact
from reports.validation.model import Fit, constants

ENDED = {0: "Everything is as expected.", 1: "Not everything is as expected.", 3: "It did not finish."}
FACTS = ("device_name", "driver", "vbios", "cuda_runtime", "cudnn", "clock_policy", "os", "commit")


def page(contact: Contact, checks: Sequence[Check], fitted: Fit | str) -> str:
    """README.md of the folder."""
    environment = contact.environment
    versions = environment.fields.get("versions") or {}
    built_with = [(name, str(version)) for name, version in sorted(versions.items()) if version]
    sections = [
        f"# {markdown(environment.text('device_name'))}, {contact.date}",
        "Made by `python -m reports validation` from the output of `python -m benches first-contact`; nothing here is written by hand. "
        f"{ENDED[exit_code(checks)]}",
        "## What it was",
        table(("", ""), [*((name, environment.text(name)) for name in FACTS), ("uncommitted changes", dirty(environment)), *built_with]),
        "## What was checked",
        table(("step", *verdicts(checks)), counts(checks)),
        *failures(checks),
        "## What was measured of the board",
        table(
            ("check", "value", "unit", "expected", ""),
            [
                (check.check, figure(check.value), check.unit, check.expected, check.verdict)
                for check in checks
                if check.step not in (*COUNTED, "real settings") and check.value is not None
            ],
        ),
        "## Kernels",
        "Medians of cold calls at short settings (0.1 s of warm-up, at most 30 samples), so most are `noisy`: their interval is wider than "
        "±0.5%. ![measured over predicted](measured.svg)",
        table(("point", "status", "mode", "median", "rate", "measured / predicted", "error / tolerance", "config"), kernels(contact)),
        "## Constants of the cost model",
        markdown(fitted) if isinstance(fitted, str) else constants_table(fitted),
    ]
    return "\n\n".join(sections) + "\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table. Cells are escaped as text, or shown as code where they are Code."""
    shown = ([code(cell, in_table=True) if isinstance(cell, Code) else markdown(str(cell)) for cell in line] for line in rows)
    return "\n".join("| " + " | ".join(line) + " |" for line in (head, ["---"] * len(head), *shown))


class Code(str):
    """A cell of `table` that is shown as code."""


def dirty(environment: Environment) -> str:
    """Whether the tree that ran was the commit's: a copy of a working tree carries the commit that it started from."""
    changed = environment.fields.get("dirty")
    return "not known" if changed is None else "yes: the commit is the one that they were made on" if changed else "no"


def counts(checks: Sequence[Check]) -> list[tuple[str, ...]]:
    """Of each step, how many of each verdict."""
    found = []
    for step in dict.fromkeys(check.step for check in checks):
        count = Counter[str](check.verdict for check in checks if check.step == step)
        found.append((step, *(str(count[verdict] or "") for verdict in verdicts(checks))))
    return found


def verdicts(checks: Sequence[Check]) -> list[str]:
    """Every verdict, those of a newer version last."""
    return list(dict.fromkeys([*VERDICTS, *sorted(check.verdict for check in checks)]))


def failures(checks: Sequence[Check]) -> list[str]:
    """A table of what was not as expected, unfinished checks of one step and note in one line; nothing where all was."""
    wrong = [check for check in checks if check.verdict not in ("pass", "skipped", "unfinished")]  # of a newer version too
    rows = [(check.step, check.check, f"{figure(check.value)} {check.unit}".strip(), check.expected, check.note) for check in wrong]
    groups: dict[tuple[str, str], list[Check]] = {}
    for check in checks:
        if check.verdict == "unfinished":
            groups.setdefault((check.step, check.note), []).append(check)
    for (step, note), unfinished in groups.items():
        first = unfinished[0]
        name = first_of([check.check for check in unfinished], 1)
        rows.append(
            (step, name, f"{figure(first.value)} {first.unit}".strip(), first.expected, f"unfinished: {note}" if note else "unfinished")
        )
    return ["### What was not as expected", table(("step", "check", "value", "expected", "note"), rows)] if rows else []


def figure(value: object) -> str:
    """Five digits of a float."""
    return "not measured" if value is None else f"{value:.5g}" if isinstance(value, float) else str(value)


def kernels(contact: Contact) -> list[tuple[str, ...]]:
    """A line for each row, sorted by point."""
    predicted = predictions(contact)
    return [
        (
            Code(row.point),
            row.status,
            row.mode or "",
            microseconds(row.median_s) if row.median_s and row.status in TIMED else "",
            rate(row),
            f"{ratio:.2f}" if (ratio := predicted.get(row.point)) else "",
            f"{row.error_over_tolerance:.2g}" if row.error_over_tolerance is not None else "",
            row.config or "",
        )
        for row in sorted(contact.rows, key=lambda row: row.point)
    ]


def rate(row: Row) -> str:
    """FLOP/s where the units for products work, else bytes/s."""
    if not row.median_s or row.status not in TIMED:
        return ""
    if row.op in OPS and OPS[row.op].on_matrix_units:
        return tera(row.flops / row.median_s, "FLOP/s")
    return tera((row.bytes_read + row.bytes_written) / row.median_s, "B/s", 3)


def predictions(contact: Contact) -> dict[str, float]:
    """Measured over predicted seconds of every timed row that can be predicted, by point."""
    gpu = contact.environment.ceilings
    timed = [(row, point) for row in contact.rows if row.median_s and row.status in TIMED and (point := point_of(row)) is not None]
    if not isinstance(gpu, Gpu) or not timed:
        return {}
    seconds = predict([point for _, point in timed], gpu).predicted_s
    return {row.point: float(row.median_s or 0) / float(s) for (row, _), s in zip(timed, seconds, strict=True) if s > 0}


def constants_table(fitted: Fit) -> str:
    """Shipped constants beside those that these rows give."""
    rows = [
        (name, constant, f"{shipped:.4g}", f"{value:.4g}" if value is not None else "kept", why)
        for name, constant, shipped, value, why in constants(fitted)
    ]
    return table(("fit", "constant", "shipped", "fitted to these rows", "why it was kept"), rows)

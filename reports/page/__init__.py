"""Templates, style and script of the page. Templates escape what they are given; names from sweeps and machines are never trusted."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from jinja2.utils import url_quote
from markupsafe import Markup

from reports import palette, units

HERE = Path(__file__).resolve().parent


@cache
def _templates() -> Environment:
    templates = Environment(
        loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    templates.filters["show"] = units.show
    templates.globals |= {
        "precision_colour": palette.precision_colour,
        "impl_mark": palette.impl_mark,
        "statuses": palette.STATUSES,
    }
    return templates


def render(template: str, **values: object) -> Markup:
    """A template of reports/page/templates, filled."""
    return Markup(_templates().get_template(template).render(values))


def page(
    title: str,
    subtitle: str,
    sections: Sequence[object],
    scripts: Sequence[str],
    bundles: Sequence[tuple[str, str]],
    *,
    instead: str,
    source: str,
    tone: str = "",
    simulated: bool = False,
    problems: Sequence[str] = (),
) -> Markup:
    """A whole page of reports.section.Section. Nothing in it refers to anything outside it.

    `scripts`: files of reports/page/scripts, in the order in which they need one another. `bundles`: what they unpack, by id.
    `tone`: of reports.palette, where the title is a verdict. `instead`: where a reader finds the same without the script, in words.
    `source`: what the page was made from.
    """
    return render(
        "page.html.j2",
        title=title,
        run=subtitle,
        tone=tone,
        simulated=simulated,
        problems=problems,
        sections=sections,
        style=Markup((HERE / "style.css").read_text(encoding="utf-8")),
        script=Markup("\n".join((HERE / "scripts" / f"{name}.js").read_text(encoding="utf-8") for name in scripts)),
        bundles=bundles,
        instead=instead,
        source=source,
        written=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def relative(path: Path, folder: Path) -> str:
    """The address of a file from a page in `folder`, the same wherever both are moved together."""
    return url_quote(os.path.relpath(path.resolve(), folder.resolve()).replace(os.sep, "/"))

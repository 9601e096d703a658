"""Templates, style and script of the page. Templates escape what they are given; names from sweeps and machines are never trusted."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
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

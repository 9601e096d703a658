"""Writes the tables of docs/accounting.md: every key of a question, and the napkin's answers beside published runs.

python -m studies.accounting [--write]
"""

from __future__ import annotations

import argparse
import re
import sys

from kernels.guard import ROOT
from kernels.models.architecture_yaml import FIELDS
from reports.napkin.keys import ASKS, KEYS, Key
from reports.napkin.published import markdown, published

PAGE = ROOT / "docs" / "accounting.md"
BEGIN, END = "<!-- made by python -m studies.accounting --write: {} -->", "<!-- end of {} -->"


def keys_table() -> str:
    """Every key but the architecture's, which have a table of their own."""
    rows = [f"| `{key.name}` | {key.means} | {_default(key)} | {_asks(key)} |" for key in KEYS.values() if "architecture." not in key.name]
    return "\n".join(["| key | means | default | asks |", "|---|---|---|---|", *rows])


def _default(key: Key) -> str:
    if key.default:
        return f"`{key.default}`"
    return "must be given" if key.needed and set(key.needed) == set(key.asks) else ""


def _asks(key: Key) -> str:
    if len(key.asks) == len(ASKS):
        return "all"
    left_out = [ask for ask in ASKS if ask not in key.asks]
    return "all but " + ", ".join(left_out) if len(left_out) <= 3 else ", ".join(key.asks)


def architecture_table() -> str:
    """Every key of an architecture."""
    rows = [
        f"| `{name}` | {field.means} | {f'`{field.default}`' if field.default else 'must be given'} |" for name, field in FIELDS.items()
    ]
    return "\n".join(["| key | means | default |", "|---|---|---|", *rows])


def asks_table() -> str:
    return "\n".join(["| `ask` | answers |", "|---|---|", *(f"| `{ask}` | {means} |" for ask, means in ASKS.items())])


def tables() -> dict[str, str]:
    """By name, as the page's markers have it."""
    return {"asks": asks_table(), "keys": keys_table(), "architecture": architecture_table(), "published": markdown(published())}


def with_tables(text: str) -> str:
    """The page with every table made again."""
    for name, table in tables().items():
        begin, end = BEGIN.format(name), END.format(name)
        text = re.sub(f"{re.escape(begin)}.*?{re.escape(end)}", lambda _, b=begin, t=table, e=end: f"{b}\n{t}\n{e}", text, flags=re.DOTALL)  # type: ignore[misc]
    return text


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="put the tables into docs/accounting.md")
    if parser.parse_args(argv).write:
        PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
        print(f"written: {PAGE}")
    else:
        print("\n\n".join(tables().values()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

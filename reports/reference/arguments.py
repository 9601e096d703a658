"""The arguments of a command as a Markdown table, the same whatever the terminal and the machine."""

from __future__ import annotations

import argparse
from collections.abc import Iterator

from reports.reference.markdown import code, table


def commands_of(parser: argparse.ArgumentParser) -> dict[str, tuple[argparse.ArgumentParser, str]]:
    """The subcommands of a program by name, each with its help."""
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {choice.dest: choice.help or "" for choice in action._choices_actions}
            return {name: (command, helps.get(name, "")) for name, command in action.choices.items()}
    return {}


def arguments(parser: argparse.ArgumentParser) -> list[str]:
    """A table of the positional arguments, then the options; a sentence where there are none."""
    rows = list(_rows(parser))
    return table(("argument", "means"), rows) if rows else ["It takes no arguments."]


def _rows(parser: argparse.ArgumentParser) -> Iterator[tuple[str, str]]:
    given = [action for action in parser._actions if not isinstance(action, argparse._HelpAction | argparse._SubParsersAction)]
    for action in sorted(given, key=lambda action: bool(action.option_strings)):
        text = (action.help or "") % {**vars(action), "prog": parser.prog}
        must = "; must be given" if action.option_strings and action.required else ""
        yield ", ".join(map(code, names(action))), text + must


def names(action: argparse.Action) -> list[str]:
    """How an argument is written: `SWEEP`, `RUN …`, `-o FILE`, `--gpu NAME|PATH`."""
    value = _value(action)
    if not action.option_strings:
        return [value]
    return [f"{name} {value}" if value else name for name in action.option_strings]


def _value(action: argparse.Action) -> str:
    if action.nargs == 0:
        return ""
    choices = "|".join(map(str, action.choices)) if action.choices else ""
    metavar = action.metavar if isinstance(action.metavar, str) else None
    name = metavar or choices or action.dest.upper()
    return {"+": f"{name} …", "*": f"[{name} …]", "?": f"[{name}]"}.get(str(action.nargs), name)

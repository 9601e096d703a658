"""Escapes names and messages from runs, files and machines, so that nothing interprets them as commands. Pure.

A point's id, a reason or a host's name may hold any text: a run directory can come from somebody else. For a shell there is shlex, for HTML
Jinja's escaping, for Rich's markup rich.markup.
"""

from __future__ import annotations

import re

# Escape sequences of terminals (ECMA-48): CSI (colours, cursor), OSC (titles, links, clipboard), DCS, SOS, PM and APC strings, others of
# two or more characters; each with ESC or with its single C1 character.
SEQUENCES = re.compile(
    r"(?:\x1b\[|\x9b)[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b\]|\x9d)[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)"
    r"|(?:\x1b[PX^_]|[\x90\x98\x9e\x9f])[^\x1b\x9c\n]*(?:\x1b\\|\x9c)"
    r"|\x1b[ -/]*[0-~]"
)
BREAKS = re.compile(r"\r\n|[\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")  # what str.splitlines and terminals treat as a line end
# C0 except tab and line feed, DEL, C1, and invisible characters: zero-width, direction marks (bidi), tags, noncharacters.
UNSEEN = re.compile(
    "[\x00-\x08\x0e-\x1f\x7f-\x9f\u061c\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ufffe\uffff\U000e0000-\U000e007f]"
)
HALVES = re.compile("[\ud800-\udfff]")  # lone surrogates: bytes of a file name that are not UTF-8, which cannot be written as text
BREAK = "\u200b"  # a zero-width space: GitHub and GitLab no longer see one word across it


def printable(text: str) -> str:
    """The text without what a terminal would interpret instead of showing. Line feeds and tabs stay, other line ends become spaces."""
    shown = BREAKS.sub(lambda found: "\n" if found[0] == "\r\n" else " ", SEQUENCES.sub("", text))
    return HALVES.sub("�", UNSEEN.sub("", shown))


def one_line(text: str) -> str:
    """A name or message as part of a log line: `printable`, without line ends, and without what a CI treats as a command."""
    return loggable(" ".join(printable(text).splitlines()))


def loggable(text: str) -> str:
    """Lines that a CI shows and does not run: `::error …` and `##[error]` (GitHub), `##vso[…]` (Azure) and `##teamcity[…]` get a space."""
    return re.sub(r"##(?=\w*\[)", "## ", re.sub(r"^([^\S\n]*):(?=:)", r"\1: ", text, flags=re.MULTILINE))


def markdown(text: str) -> str:
    """Text that GitHub and GitLab show as it is: no emphasis, HTML, image, link (bare addresses too), table, mention or reference.

    Anything that cannot be markup is unchanged, so that the source stays readable.
    """
    text = re.sub(r"[\\`*\[\]|~]|#(?=\w)", r"\\\g<0>", one_line(text))
    text = re.sub(r"(?<!\w)_++|_++(?![^\W_])", lambda found: "\\_" * len(found[0]), text)  # inside a word it is not markup
    text = text.replace("&", "&amp;").replace("<", "&lt;")
    text = re.sub(
        r"^(\s*)(?=[-+](?:\s|$)|[-=]{2}|[>#]|\d+[.)](?:\s|$))", rf"\1{BREAK}", text
    )  # at the start of a line: no list, heading or quotation
    text = re.sub(r"(?<=:)//|(?<=www)\.", rf"{BREAK}\g<0>", text, flags=re.IGNORECASE)
    return re.sub(r"[@#!$%](?=\w)", rf"\g<0>{BREAK}", text)


def code(text: str, in_table: bool = False) -> str:
    """Text as Markdown's code, in backticks, where nothing is markup except, in a table, the bar."""
    text = one_line(text) or " "
    fence = "`" * (1 + max(map(len, re.findall("`+", text)), default=0))
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    shown = f"{fence}{pad}{text}{pad}{fence}"
    return shown.replace("|", "\\|") if in_table else shown


def chat(text: str) -> str:
    """A line for a chat's webhook: a space breaks what Slack, Teams and Discord would turn into a mention or a link."""
    return re.sub(r"@(?=\w)|<(?=[!@#]|\w+:)|:(?=//)", r"\g<0> ", one_line(text))


def cell(value: object) -> object:
    """A value as a CSV cell that no spreadsheet runs as a formula: text that begins like one gets a leading ', numbers are unchanged."""
    return f"'{value}" if isinstance(value, str) and re.match(r"[=+\-@\t\r\n]", value) else value

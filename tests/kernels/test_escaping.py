"""Names and messages of a run stay text wherever they are pasted or shown: nothing in them runs, links, mentions, colours or computes."""

from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from kernels.escaping import BREAK, cell, chat, code, loggable, markdown, one_line, printable
from kernels.guard import ROOT

SHOWN = {
    "plain matmul-triton-bf16-4096x4096x4096, 3.1 us → 4 µs": "plain matmul-triton-bf16-4096x4096x4096, 3.1 us → 4 µs",
    "tab\tand\nline": "tab\tand\nline",
    "a\r\nb": "a\nb",
    "seen\rhidden": "seen hidden",
    "\x1b[31mred\x1b[0m": "red",
    "\x1b[2J\x1b[1;1Hcleared": "cleared",
    "\x1b[?25l\x1b[38;2;1;2;3mx": "x",
    "\x1b]0;title\x07x": "x",
    "\x1b]8;;https://evil.example\x1b\\click\x1b]8;;\x1b\\": "click",
    "\x1b]52;c;cm0gLXJm\x07x": "x",  # writes the clipboard
    "\x1b]0;never ends": "0;never ends",
    "\x1bPq#0\x1b\\x\x1b_apc\x1b\\y": "xy",
    "\x1bcreset\x1b(0graphics": "resetgraphics",
    "\x9b31mred\x9d0;title\x9cx\x90dcs\x9cy": "redxy",  # the same in C1
    "bell\x07 back\x08 null\x00 delete\x7f next\x85line": "bell back null delete next line",
    "\u202egnp.exe\u202c \u2066x\u2069 \u200f\u061c": "gnp.exe x ",
    "zero\u200bwidth\ufeff\U000e0041": "zerowidth",
    "\u2028\u2029": "  ",
    "half \ud800 \udcff": "half � �",
    "[bold]×[/bold] α": "[bold]×[/bold] α",
}


@pytest.mark.parametrize("text", SHOWN, ids=range(len(SHOWN)))
def test_a_terminal_shows_and_obeys_nothing(text: str) -> None:
    assert printable(text) == SHOWN[text]


@given(st.text())
def test_nothing_is_left_that_a_terminal_obeys(text: str) -> None:
    shown = printable(text)
    assert not [c for c in shown if (ord(c) < 32 and c not in "\t\n") or 127 <= ord(c) < 160 or 0xD800 <= ord(c) < 0xE000]
    assert "\n" not in one_line(text)
    assert len(one_line(text).splitlines()) <= 1
    markdown(text).encode()
    code(text).encode()


# As actions/runner reads a line (ActionCommand.TryParseV2, TryParse): `::` after white space alone, `##[` anywhere.
LOGGED = {
    "::error file=x::y": ": :error file=x::y",
    "  \t::stop-commands::z": "  \t: :stop-commands::z",
    "first\n::add-mask::z\n": "first\n: :add-mask::z\n",
    "a ##[error]b": "a ## [error]b",
    "##vso[task.setvariable]x": "## vso[task.setvariable]x",
    "##teamcity[blockOpened]": "## teamcity[blockOpened]",
    "benches/test_matmul.py::test_matmul": "benches/test_matmul.py::test_matmul",
    "## heading": "## heading",
}


@pytest.mark.parametrize("text", LOGGED)
def test_a_ci_obeys_nothing(text: str) -> None:
    assert loggable(text) == LOGGED[text]


ATTACKS = (
    "![x](https://evil.example/a.png) [y](javascript:alert) <img src=x> <b>",
    "<https://evil.example> https://evil.example www.evil.example WWW.evil.example",
    "@everyone @org/team me@evil.example #12 org/repo#12 !3 $4 %5",
    "`code` *em* _em_ __strong__ ~~gone~~ | cell | \\| &lt; &amp; &#64;",
    "# heading",
    "- item",
    "1. item",
    "> quoted",
    "--- === +++",
    "+ item ``` ~~~",
    "name_of_a_dim a_b 2*3 x#y",
)


def rendered(text: str) -> tuple[set[str], str]:
    """The kinds of Markdown that a text holds, and the text that a reader sees."""
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)
    inner = [child for token in tokens for child in token.children or []]
    return {token.type for token in [*tokens, *inner]}, "".join(child.content for child in inner)


PARAGRAPH = {"paragraph_open", "inline", "text", "paragraph_close"}


@pytest.mark.parametrize("attack", ATTACKS)
def test_markdown_shows_a_text_as_it_is(attack: str) -> None:
    kinds, seen = rendered(markdown(attack))
    assert kinds - {"text_special"} == PARAGRAPH
    assert seen.replace(BREAK, "") == attack
    for linked in ("://", "www.", "@everyone", "@org", "@evil", "#12", "!3"):  # what GitHub and GitLab look for in the text itself
        assert linked not in seen.lower()


@pytest.mark.parametrize("attack", ATTACKS)
def test_a_cell_stays_one(attack: str) -> None:
    text = f"| a | b |\n|---|---|\n| {markdown(attack)} | {code(attack, in_table=True)} |"
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)
    cells = [tokens[i + 1] for i, token in enumerate(tokens) if token.type == "td_open"]
    assert len(cells) == 2
    (only,) = cells[1].children or []
    assert (only.type, only.content) == ("code_inline", attack)


@pytest.mark.parametrize("text", ["a`b", "``", "`a`", "", " ", "a|b"])
def test_code_holds_backticks(text: str) -> None:
    kinds, seen = rendered(code(text))
    assert kinds == {"paragraph_open", "inline", "code_inline", "paragraph_close"}
    assert seen.strip() == text.strip()


def test_what_cannot_be_markup_stays_readable() -> None:
    text = "matmul-torch-bf16-1x2x3: +5.0% tonight, 3.1 standard deviations; BM128_BN64 (known) -> 2 * 3"
    assert markdown(text) == text.replace("*", "\\*")


def test_a_chat_mentions_nobody() -> None:
    assert (
        chat("<!channel> @everyone <@U1> <https://e.example|x> a <b> 3 @ 4")
        == "< !channel> @ everyone < @ U1> < https: //e.example|x> a <b> 3 @ 4"
    )


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "-"])
def test_a_spreadsheet_computes_nothing(text: str) -> None:
    assert cell(text) == f"'{text}"


@pytest.mark.parametrize("value", [-1, -1.5, True, None, "", "a=1", "matmul-torch", " =1", float("-inf")])
def test_other_cells_stay(value: object) -> None:
    assert cell(value) is value


def test_the_page_guards_the_same_cells() -> None:
    """Its script is inside a closure that no test reaches, so its text is compared."""
    script, ours = (ROOT / name for name in ("reports/page/scripts/data.js", "kernels/escaping.py"))
    assert all(r"[=+\-@\t\r\n]" in path.read_text(encoding="utf-8") for path in (script, ours))


def test_words_of_a_command_stay_words() -> None:
    from reports.nightly.words import rerun_command

    point, run = "x$(touch PWN)`touch PWN`\"';|&", "runs/a b"
    words = shlex.split(rerun_command(point, run))
    assert words == ["pytest", "benches/", "--benchmark-only", "--sweep", "runs/a b/sweep.yaml", "-k", point, "--processes", "3"]

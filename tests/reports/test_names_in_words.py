"""A verdict about points, machines and reasons with hostile names: as commands, Markdown, JUnit and a chat's text."""

from __future__ import annotations

import shlex
import xml.etree.ElementTree as ET
from dataclasses import replace

import pandas as pd
import pytest
from markdown_it import MarkdownIt

from benches.first_contact.check import Check, summary
from reports.nightly import files, words
from reports.nightly.model import StatusChange, Verdict, Warned
from reports.store import spreadsheet
from reports.validation.board_page import Code, table
from tests.reports.test_nightly import CHANGE, VERDICT

NAME = (
    "x$(touch PWN)`id` ![i](https://evil.example/i.png) <b> @everyone #1 | ::error::e ##[error] "
    "\x1b]0;t\x07\x1b[31m\u202e \ud800\ufffe\nnew"
)
ATTACKED = Verdict(
    **vars(
        replace(
            VERDICT,
            run=NAME,
            run_dir=NAME,
            device_name=NAME,
            changes=(replace(CHANGE, point=NAME, op=NAME, accepted=None), replace(CHANGE, accepted=NAME)),
            suspect=(NAME,),
            statuses=(StatusChange(NAME, "ok", "oom", reason=NAME, since="2026-11-03"),),
            warnings=(Warned(0, NAME, 1.2, 9.0, 1e-5),),
            notes=(NAME,),
        )
    )
)


def kinds(text: str) -> set[str]:
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text)
    return {token.type for token in [*tokens, *(child for token in tokens for child in token.children or [])]}


def test_markdown() -> None:
    text = files.to_markdown(ATTACKED)
    text.encode()
    assert not kinds(text) & {"image", "link_open", "html_inline", "html_block"}
    outside_code = "".join(text.split("``")[::2])
    assert "@everyone" not in outside_code
    assert "://" not in outside_code


def test_junit() -> None:
    text = files.to_junit(ATTACKED)
    suite = ET.fromstring(text.encode())
    assert len(suite.findall("testcase")) == 3
    assert "\x1b" not in text
    assert "\u202e" not in text


def test_a_chat() -> None:
    lines = words.summary(ATTACKED)
    assert not [line for line in lines if "@everyone" in line or "://" in line or "\x1b" in line or "\n" in line]


@pytest.mark.parametrize(("before", "after"), [("--output=x", "b" * 40), ("a" * 40, "$(id)"), ("a" * 40, None), ("main", "b" * 40)])
def test_commits_that_are_not_hashes_make_no_command(before: str, after: str | None) -> None:
    assert words.commits_line(replace(CHANGE, commits=(before, after))) == ""


def test_commits_that_are() -> None:
    assert words.commits_line(replace(CHANGE, commits=("a" * 40, "b" * 40))) == f"git log {'a' * 10}..{'b' * 10}"


def test_a_command_names_one_point() -> None:
    assert shlex.split(words.rerun_command(NAME, NAME))[-3] == NAME


def test_a_board_s_page() -> None:
    text = table(("a", "b"), [(NAME, Code(NAME))])
    assert not kinds(text) & {"image", "link_open", "html_inline", "html_block"}
    assert len(text.splitlines()) == 3


def test_a_summary_of_a_contact() -> None:
    assert summary([Check("s", "c", 1.0, "", "", "pass")], f"first contact with {NAME}").splitlines()[0].isprintable()


def test_a_spreadsheet() -> None:
    frame = pd.DataFrame(
        {"point": ["=1+1", "a", None], "config": ["@x", "+1", "-"], "median_s": [-1.0, 2.0, None], "ok": [True, False, True]}
    )
    lines = spreadsheet(frame).to_csv(index=False).splitlines()
    assert lines == ["point,config,median_s,ok", "'=1+1,'@x,-1.0,True", "a,'+1,2.0,False", ",'-,,True"]

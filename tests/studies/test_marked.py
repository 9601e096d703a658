"""What a study writes into a page of docs/ stands between two marks."""

from __future__ import annotations

from pathlib import Path

import pytest

from studies.marked import replace_between


@pytest.mark.parametrize("old", ["", "old\n", "old\n\nand older\n"])
def test_only_what_is_between_the_marks_is_replaced(tmp_path: Path, old: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n<!-- a -->\n{old}<!-- b -->\nafter\n", encoding="utf-8")
    for _ in range(2):
        assert replace_between(page, "<!-- a -->", "<!-- b -->", ["new", "", "lines"]) == page
        assert page.read_text(encoding="utf-8") == "before\n<!-- a -->\nnew\n\nlines\n<!-- b -->\nafter\n"


@pytest.mark.parametrize("text", ["", "<!-- a -->\n", "<!-- b -->\n", "<!-- b -->\n<!-- a -->\n", "<!-- a --><!-- a --><!-- b -->"])
def test_a_page_without_its_marks_stays_as_it_is(tmp_path: Path, text: str) -> None:
    page = tmp_path / "page.md"
    page.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match="unpack"):
        replace_between(page, "<!-- a -->", "<!-- b -->", ["new"])
    assert page.read_text(encoding="utf-8") == text

"""Names stay what they are in Markdown."""

from __future__ import annotations

import html
import re

from hypothesis import given
from hypothesis import strategies as st

from modelport.repository import markdown


@given(st.text())
def test_nothing_in_a_name_is_read_as_markdown(name: str) -> None:
    shown = markdown.table(["a", "b"], [[markdown.code(name), "end"]]).split("\n")[2]
    cells = shown.removeprefix("| ").removesuffix(" |").split(" | ")
    assert len(cells) == 2
    inner = re.fullmatch(r"`([^`|<\\]*)`|<code>((?:\w|\s|&#\d+;)*)</code>", cells[0])
    assert inner, shown
    text = html.unescape(inner[1] or inner[2] or "")
    # Entities cannot stand for characters that HTML knows not; these become others or none.
    if all(c.isprintable() for c in name):
        assert text == name


def test_usual_names_read_well() -> None:
    assert markdown.code("digits_cnn") == "`digits_cnn`"
    assert markdown.code("@team|<b>") == "<code>&#64;team&#124;&#60;b&#62;</code>"


def test_a_table_has_one_line_for_each_row() -> None:
    assert markdown.table(("x", "y"), [(1, "a\nb"), ("c|d", None)]) == (
        "| x | y |\n| --- | --- |\n| 1 | a b |\n| c\\|d | None |"
    )

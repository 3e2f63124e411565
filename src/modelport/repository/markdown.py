"""Markdown as GitHub reads it: tables, and names that stay what they are.

Source: GitHub Flavored Markdown Spec 0.29, tables and code spans.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

_TAME = re.compile(r"\w(?:[\w .,:+/-]*\w)?", re.ASCII)


def table(columns: Sequence[str], rows: Sequence[Sequence[object]]) -> str:
    """Write a table; a bar in a cell is escaped, a line break becomes a space."""
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)


def code(text: str) -> str:
    """Show a text as it is, whatever it holds: no link, no HTML, no mention of a user."""
    if _TAME.fullmatch(text):
        return f"`{text}`"
    # Also a bar behind a backslash, which nothing could keep together in a table otherwise.
    letters = (c if c.isalnum() or c == " " else f"&#{ord(c)};" for c in text)
    return f"<code>{''.join(letters)}</code>"


def _cell(value: object) -> str:
    return " ".join(str(value).splitlines()).replace("|", "\\|")

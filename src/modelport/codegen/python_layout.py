"""Python text that is laid out as ``ruff format`` does: in one line, or one element a line."""

from __future__ import annotations

import textwrap
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

WIDTH = 100


@dataclass(frozen=True)
class Bracketed:
    """Elements in brackets, such as the arguments of a call.

    Attributes:
        before: all up to the opening bracket, which it holds.
        elements: what stands between commas.
        after: the closing bracket, and what follows it.
    """

    before: str
    elements: Sequence[Node]
    after: str = ")"

    def flat(self) -> str:
        """Give it in one line."""
        inside = ", ".join(_flat(element) for element in self.elements)
        # A tuple of one element is one by its comma.
        lone = len(self.elements) == 1 and self.before.endswith(("=(", "= ("))
        return f"{self.before}{inside}{',' if lone else ''}{self.after}"


@dataclass(frozen=True)
class Comprehension:
    """A list made of another.

    Attributes:
        before: all up to the opening bracket, which it holds.
        element: what is made of each.
        clause: ``for item in items``.
    """

    before: str
    element: Node
    clause: str

    def flat(self) -> str:
        """Give it in one line."""
        return f"{self.before}{_flat(self.element)} {self.clause}]"


Node: TypeAlias = "str | Bracketed | Comprehension"


def _flat(node: Node) -> str:
    return node if isinstance(node, str) else node.flat()


def prefixed(before: str, node: Node) -> Node:
    """Put a piece of code behind some text, such as ``name=``."""
    if isinstance(node, str):
        return before + node
    if isinstance(node, Comprehension):
        return Comprehension(before + node.before, node.element, node.clause)
    return Bracketed(before + node.before, node.elements, node.after)


def lay_out(node: Node, indent: int = 0, after: str = "") -> str:
    """Lay a piece of code out; a line that is too long is broken at its outermost brackets.

    Args:
        node: the code.
        indent: spaces before each line.
        after: what follows on the last line, such as a comma.
    """
    space = " " * indent
    line = f"{space}{_flat(node)}{after}"
    if fits(line) or isinstance(node, str):
        return line
    if isinstance(node, Comprehension):
        whole = f"{space}    {_flat(node.element)} {node.clause}"
        if fits(whole):
            return "\n".join([f"{space}{node.before}", whole, f"{space}]{after}"])
        made = lay_out(node.element, indent + 4)
        clause = f"{space}    {node.clause}"
        return "\n".join([f"{space}{node.before}", made, clause, f"{space}]{after}"])
    inside = [lay_out(element, indent + 4, ",") for element in node.elements]
    return "\n".join([f"{space}{node.before}", *inside, f"{space}{node.after}{after}"])


def fits(line: str) -> bool:
    """Tell whether a line is short enough; wide signs, as of Chinese, take two columns."""
    wide = 0 if line.isascii() else sum(unicodedata.east_asian_width(sign) in "WF" for sign in line)
    return len(line) + wide <= WIDTH


def quoted(text: str) -> str:
    """Write a string as ``ruff format`` does: in double quotes, unless they need more escapes."""
    mark = "'" if text.count('"') > text.count("'") else '"'
    # Python's own way to write all but the quotation marks.
    parts = (sign if sign in "\"'" else repr(sign)[1:-1] for sign in text)
    return mark + "".join(f"\\{sign}" if sign == mark else sign for sign in parts) + mark


def paragraph(text: str, indent: int = 0, hanging: int = 0) -> str:
    """Break words into lines; further lines are set in by ``hanging``."""
    return textwrap.fill(
        plain(text),
        WIDTH,
        initial_indent=" " * indent,
        subsequent_indent=" " * (indent + hanging),
        break_long_words=False,
        break_on_hyphens=False,
    )


def plain(text: str) -> str:
    """Make words fit for a line of text: one line, without what is no text."""
    return " ".join("".join(sign if sign.isprintable() else " " for sign in text).split())


def sentence(text: str) -> str:
    """End words with a full stop, and begin them with a capital."""
    shown = plain(text)
    shown = shown[:1].upper() + shown[1:]
    return shown if shown.endswith((".", "!", "?")) else f"{shown}."


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"""', '""\\"')


def docstring(summary: str, *blocks: str, indent: int = 4) -> str:
    """Make a docstring of a line and paragraphs that are laid out already.

    Only here are signs escaped that code has another use for: what comes in is plain text.
    """
    space = " " * indent
    summary, blocks = _escaped(summary), tuple(map(_escaped, blocks))
    # A quotation mark at the end would end the docstring, one at the start look like part of it.
    lead = " " if summary.startswith('"') else ""
    if summary.endswith('"'):
        summary += "."
    if not blocks:
        return f'{space}"""{lead}{summary}"""'
    body = "\n\n".join(blocks)
    return f'{space}"""{lead}{summary}\n\n{body}\n{space}"""'

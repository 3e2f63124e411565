"""Counting the lines that a user writes."""

from __future__ import annotations

import ast
from collections.abc import Iterable
from pathlib import Path


def count(paths: Iterable[Path]) -> int:
    """Count lines that are neither empty, nor comments, nor docstrings."""
    return sum(lines(path.read_text(encoding="utf-8"), path.suffix == ".py") for path in paths)


def lines(text: str, is_python: bool) -> int:
    """Count in one text; ``#`` begins a comment in Python, pbtxt and TOML alike."""
    skipped = docstrings(text) if is_python else set()
    return sum(
        bool(line.strip()) and not line.lstrip().startswith("#") and number not in skipped
        for number, line in enumerate(text.splitlines(), 1)
    )


def docstrings(source: str) -> set[int]:
    """Give the numbers of the lines that docstrings take."""
    owners = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    found: set[int] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, owners) and ast.get_docstring(node, clean=False) is not None:
            first = node.body[0]
            found.update(range(first.lineno, (first.end_lineno or first.lineno) + 1))
    return found

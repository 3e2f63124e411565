"""Digests of Python code by what it says: comments, layout and unrelated code do not count."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

# What a tensor means to people; the same network answers, so no weights depend on it.
_MEANINGS = {"unit", "minimum", "maximum", "content", "values", "instead_of"}
_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)


def of_file(path: Path) -> str:
    """Digest a whole file by its syntax tree."""
    return _digest([_parsed(path)])


def of_fields(path: Path, model: str, fields: Sequence[str]) -> str:
    """Digest what some fields of one declaration depend on, and nothing else of the file.

    Follows names from the fields' values through the file's definitions. What runs
    at import without defining a name (a call, an ``if``) always counts. Where the
    declaration is not found as a call with ``name="..."``, the whole file counts.

    Args:
        path: the builder file.
        model: name of the declared model.
        fields: keyword arguments of its declaration.
    """
    module = _parsed(path)
    values = _values(module, model, fields)
    if values is None:
        return _digest([module])
    defined, running = _statements(module.body)
    needed = _closure([*values, *running], defined)
    # In the order of the file, which names that are assigned twice depend on.
    return _digest([*values, *(s for s in module.body if s in needed or s in running)])


def _values(module: ast.Module, model: str, fields: Sequence[str]) -> list[ast.expr] | None:
    for node in ast.walk(module):
        if isinstance(node, ast.Call):
            given = {keyword.arg: keyword.value for keyword in node.keywords}
            name = given.get("name")
            if isinstance(name, ast.Constant) and name.value == model and None not in given:
                return [given[field] for field in fields if field in given]
    return None


def _statements(body: list[ast.stmt]) -> tuple[dict[str, list[ast.stmt]], list[ast.stmt]]:
    """Sort top-level statements: those that define names, and those that just run."""
    defined: dict[str, list[ast.stmt]] = {}
    running = []
    for statement in body:
        names = _names_of(statement)
        for name in names:
            defined.setdefault(name, []).append(statement)
        if not names and not _is_text(statement):
            running.append(statement)
    return defined, running


def _names_of(statement: ast.stmt) -> list[str]:
    if isinstance(statement, _DEFINITIONS):
        return [statement.name]
    if isinstance(statement, (ast.Import, ast.ImportFrom)):
        return [(alias.asname or alias.name).split(".")[0] for alias in statement.names]
    if isinstance(statement, (ast.Assign, ast.AnnAssign)):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        nodes = (node for target in targets for node in ast.walk(target))
        # `x.y = 1` and `x[0] = 1` change x rather than define it: they run.
        plain = all(isinstance(t, (ast.Name, ast.Tuple, ast.List)) for t in targets)
        return [node.id for node in nodes if isinstance(node, ast.Name)] if plain else []
    return []


def _is_text(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)


def _closure(roots: Iterable[ast.AST], defined: dict[str, list[ast.stmt]]) -> set[ast.stmt]:
    needed: set[ast.stmt] = set()
    waiting = list(roots)
    while waiting:
        for node in ast.walk(waiting.pop()):
            if isinstance(node, ast.Name):
                new = [s for s in defined.get(node.id, ()) if s not in needed]
                needed.update(new)
                waiting += new
    return needed


def _digest(nodes: Sequence[ast.AST]) -> str:
    return hashlib.sha256("\n".join(ast.dump(node) for node in nodes).encode()).hexdigest()


def _parsed(path: Path) -> ast.Module:
    """Parse a file, and leave out what its tensors mean."""
    module = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(module):
        if isinstance(node, ast.Call) and _is_tensor(node.func):
            node.keywords = [one for one in node.keywords if one.arg not in _MEANINGS]
    return module


def _is_tensor(function: ast.expr) -> bool:
    name = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
    return name == "Tensor"

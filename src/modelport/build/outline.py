"""What a builder file says without being run: its models' names, and when it is built.

Running a builder file imports torch, and some import more; choosing among the files must
not take seconds.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from pathlib import Path

# Set to True at the top of a builder file, it leaves the file out of `all`.
BY_NAME_ONLY = "BY_NAME_ONLY"
_KINDS = {"TorchModel", "SklearnModel", "OnnxModel", "PythonModel", "Ensemble"}


@dataclass(frozen=True)
class Outline:
    """What is read of a builder file.

    Attributes:
        models: names that stand as text in its declarations; one that is computed is missing.
        by_name_only: it is built when it is named, not with all.
    """

    models: tuple[str, ...] = ()
    by_name_only: bool = False


def read(path: Path) -> Outline:
    """Read a builder file; one that does not parse says nothing, and its build says why."""
    try:
        module = ast.parse(path.read_text(encoding="utf-8"))
    except (OSError, SyntaxError, ValueError):
        return Outline()
    names = [name for node in ast.walk(module) if (name := _declared(node))]
    return Outline(tuple(dict.fromkeys(names)), any(_says_by_name(s) for s in module.body))


def _declared(node: ast.AST) -> str | None:
    """Give the name in a call such as ``TorchModel(name="digits_cnn", ...)``."""
    if not isinstance(node, ast.Call) or not _KINDS & set(_path(node.func)):
        return None
    for keyword in node.keywords:
        if keyword.arg == "name" and isinstance(keyword.value, ast.Constant):
            return str(keyword.value.value)
    return None


def _path(called: ast.expr) -> list[str]:
    """Give the names in ``spec.Ensemble.chain``, or in ``TorchModel``."""
    if isinstance(called, ast.Attribute):
        return [*_path(called.value), called.attr]
    return [called.id] if isinstance(called, ast.Name) else []


def _says_by_name(statement: ast.stmt) -> bool:
    if isinstance(statement, ast.Assign):
        targets: list[ast.expr] = statement.targets
    elif isinstance(statement, ast.AnnAssign):
        targets = [statement.target]
    else:
        return False
    named = any(isinstance(t, ast.Name) and t.id == BY_NAME_ONLY for t in targets)
    return named and isinstance(statement.value, ast.Constant) and statement.value.value is True

"""Rules about models of the python backend, read from their source without running it."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence

from modelport.repository.doctor.finding import Problem
from modelport.repository.doctor.subject import Subject

CLASS = "TritonPythonModel"


def syntax_error(subject: Subject) -> Iterator[Problem]:
    """model.py is no Python."""
    for path in subject.sources():
        error = subject.tree(path)
        if isinstance(error, SyntaxError):
            yield Problem(
                path=path,
                line=error.lineno,
                field="",
                expected="Python source",
                got=error.msg,
                fix="mend that line",
            )


def no_model_class(subject: Subject) -> Iterator[Problem]:
    """model.py does not define what the backend looks for."""
    for path, tree in subject.trees():
        if CLASS not in _top_level_names(tree):
            yield Problem(
                path=path,
                field=CLASS,
                expected=f"a class {CLASS}",
                got=", ".join(sorted(_classes(tree))) or "no class",
                fix=f"name the class {CLASS}",
            )
            continue
        model = _classes(tree).get(CLASS)
        if model and not model.bases and not _method(model, "execute"):
            yield Problem(
                path=path,
                line=model.lineno,
                field=f"{CLASS}.execute",
                expected="a method execute(self, requests)",
                got=", ".join(f"{name}()" for name in _methods(model)) or "no methods",
                fix="add execute; it returns one InferenceResponse per request",
            )


def returns_none(subject: Subject) -> Iterator[Problem]:
    """Execute can end without a list of responses."""
    policy = subject.config.model_transaction_policy
    if policy is not None and policy.decoupled:
        return  # answers go through the response sender
    for path, tree in subject.trees():
        if _uses_sender(tree):
            continue
        model = _classes(tree).get(CLASS)
        execute = _method(model, "execute") if model else None
        place = _none_at(execute) if execute else None
        if place is not None:
            yield Problem(
                path=path,
                line=place,
                field=f"{CLASS}.execute",
                expected="a list with one response per request on every path",
                got="None",
                fix="return the list of responses there",
            )


def _uses_sender(tree: ast.Module) -> bool:
    """Tell whether answers go through a response sender, after which None is right."""
    attributes = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    return "get_response_sender" in attributes


def _none_at(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int | None:
    """Give the line where a function returns None, or its last line if it can run off its end."""
    for node in _own_nodes(function.body):
        if isinstance(node, ast.Return) and _is_none(node.value):
            return node.lineno
    if not _ends(function.body) and not _is_generator(function):
        return function.body[-1].lineno
    return None


def _is_none(value: ast.expr | None) -> bool:
    return value is None or (isinstance(value, ast.Constant) and value.value is None)


def _is_generator(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any(isinstance(n, ast.Yield | ast.YieldFrom) for n in _own_nodes(function.body))


def _own_nodes(body: Sequence[ast.stmt]) -> Iterator[ast.AST]:
    """Walk statements without entering functions or classes defined among them."""
    pending: list[ast.AST] = list(body)
    while pending:
        node = pending.pop(0)
        yield node
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda):
            pending.extend(ast.iter_child_nodes(node))


def _ends(body: Sequence[ast.stmt]) -> bool:
    """Tell whether control never runs off the end of these statements."""
    return any(_statement_ends(statement) for statement in body)


def _statement_ends(statement: ast.stmt) -> bool:
    match statement:
        case ast.Return() | ast.Raise():
            return True
        case ast.If(body=body, orelse=orelse):
            return _ends(body) and _ends(orelse)
        case ast.With(body=body) | ast.AsyncWith(body=body):
            return _ends(body)
        case ast.Try(body=body, handlers=handlers, orelse=orelse, finalbody=final):
            handled = all(_ends(handler.body) for handler in handlers)
            return _ends(final) or (handled and (_ends(body) or _ends(orelse)))
        case ast.While(test=ast.Constant(value=True)):
            return not any(isinstance(n, ast.Break) for n in _own_nodes(statement.body))
        case ast.Match(cases=cases):
            complete = any(_catches_all(case) for case in cases)
            return complete and all(_ends(case.body) for case in cases)
    return False


def _catches_all(case: ast.match_case) -> bool:
    return isinstance(case.pattern, ast.MatchAs) and case.pattern.pattern is None and not case.guard


def _classes(tree: ast.Module) -> dict[str, ast.ClassDef]:
    return {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}


def _top_level_names(tree: ast.Module) -> set[str]:
    """Names that the module defines or imports; a star import may bring any."""
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.ImportFrom | ast.Import):
            imported = [alias.asname or alias.name for alias in node.names]
            names.update([CLASS] if "*" in imported else imported)
        elif isinstance(node, ast.Assign):
            names.update(target.id for target in node.targets if isinstance(target, ast.Name))
    return names


def _methods(model: ast.ClassDef) -> list[str]:
    return [n.name for n in model.body if isinstance(n, ast.FunctionDef | ast.AsyncFunctionDef)]


def _method(model: ast.ClassDef, name: str) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
    for node in model.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == name:
            return node
    return None

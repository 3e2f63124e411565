"""Rules about what a Python model asks of other models (business logic scripting)."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from modelport.repository.doctor.finding import Problem
from modelport.repository.doctor.subject import Subject
from modelport.spec.config import CALLS_PARAMETER


@dataclass(frozen=True)
class Call:
    """One ``pb_utils.InferenceRequest(…)`` whose model can be told from the source."""

    model: str
    outputs: tuple[str, ...]
    """Names in ``requested_output_names``; empty where they are computed."""
    line: int


def unknown_callee(subject: Subject) -> Iterator[Problem]:
    """The code, or the parameter that lists what it calls, names a model that is not here."""
    for path, tree in subject.trees():
        for call in calls(tree):
            if call.model not in subject.neighbours:
                yield Problem(
                    path=path,
                    line=call.line,
                    field="InferenceRequest.model_name",
                    expected="a model of this repository",
                    got=repr(call.model),
                    fix=_near(call.model, subject),
                )
    for name in declared(subject):
        if name not in subject.neighbours:
            yield Problem(
                field=f"parameters.{CALLS_PARAMETER}",
                expected="models of this repository",
                got=repr(name),
                fix=_near(name, subject),
            )


def unknown_called_tensor(subject: Subject) -> Iterator[Problem]:
    """The code asks a model for an output that it does not have."""
    for path, tree in subject.trees():
        for call in calls(tree):
            neighbour = subject.neighbours.get(call.model)
            config = neighbour.config_or_none if neighbour else None
            names = [tensor.name for tensor in config.output] if config else []
            for name in call.outputs if names else ():
                if name not in names:
                    yield Problem(
                        path=path,
                        line=call.line,
                        field="InferenceRequest.requested_output_names",
                        expected=f"an output of {call.model}: {', '.join(map(repr, names))}",
                        got=repr(name),
                        fix=f"ask for an output that {call.model} has",
                    )


def declared(subject: Subject) -> tuple[str, ...]:
    """Give the models that the parameter ``calls`` lists."""
    return subject.config.calls if subject.config.backend == "python" else ()


def callees(subject: Subject) -> set[str]:
    """Give every model that a model asks, as far as that can be told."""
    found = set(declared(subject)) if subject.config_or_none else set()
    for _, tree in subject.trees():
        found.update(call.model for call in calls(tree))
    return found


def calls(tree: ast.Module) -> Iterator[Call]:
    """Find the requests that a source makes of models."""
    known = _constants(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and _called(node) == "InferenceRequest":
            given = {word.arg: word.value for word in node.keywords if word.arg}
            model = _text(given["model_name"], known) if "model_name" in given else None
            if model:
                outputs = _texts(given.get("requested_output_names"), known)
                yield Call(model, outputs, node.lineno)


def _called(node: ast.Call) -> str:
    function = node.func
    if isinstance(function, ast.Attribute):
        return function.attr
    return function.id if isinstance(function, ast.Name) else ""


def _constants(tree: ast.Module) -> Mapping[str, str | None]:
    """Give the text behind each name or attribute that is only ever bound to that one."""
    found: dict[str, str | None] = {}
    for node in ast.walk(tree):
        targets = node.targets if isinstance(node, ast.Assign) else []
        for target in targets:
            name = ast.unparse(target)
            value = getattr(node, "value", None)
            text = _text(value, {}) if isinstance(value, ast.Constant) else None
            found[name] = text if found.get(name, text) == text else None
        if isinstance(node, ast.arg | ast.For | ast.comprehension | ast.AugAssign | ast.AnnAssign):
            bound = node.arg if isinstance(node, ast.arg) else ast.unparse(node.target)
            found[bound] = None
    return found


def _text(node: ast.expr, known: Mapping[str, str | None]) -> str | None:
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.Name | ast.Attribute):
        return known.get(ast.unparse(node))
    return None


def _texts(node: ast.expr | None, known: Mapping[str, str | None]) -> tuple[str, ...]:
    elements = node.elts if isinstance(node, ast.List | ast.Tuple) else []
    texts = [_text(element, known) for element in elements]
    return tuple(text for text in texts if text is not None)


def _near(name: str, subject: Subject) -> str:
    near = difflib.get_close_matches(name, subject.neighbours, n=1)
    return f"did you mean {near[0]}?" if near else "build or copy that model too"

"""Rules about how model.py uses Triton's Python API, and what it does to its process."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterator

from modelport.repository.doctor.finding import Problem
from modelport.repository.doctor.subject import Subject

_COMPLETION = "auto_complete_config"
# Exist in a running model only; tried: tritonserver 2.51.0.
_RUNTIME_ONLY = ("Tensor", "InferenceRequest", "InferenceResponse")
_LOOKUPS = {
    "get_input_tensor_by_name": "input",
    "get_input_config_by_name": "input",
    "get_output_config_by_name": "output",
}
_EXITS = ("os._exit", "os.abort", "sys.exit", "exit", "quit")


def undeclared_name(subject: Subject) -> Iterator[Problem]:
    """The code looks a tensor up that config.pbtxt does not declare."""
    for path, tree in subject.trees():
        if _completes(tree):
            continue  # the code declares its tensors itself
        for role, name, line in _looked_up(tree):
            names = _declared(subject, role)
            if names and name not in names:
                near = difflib.get_close_matches(name, names, n=1)
                yield Problem(
                    path=path,
                    line=line,
                    field=name,
                    expected=f"an {role} of config.pbtxt: {', '.join(map(repr, names))}",
                    got=repr(name),
                    fix=f"did you mean {near[0]!r}?" if near else "declare it in config.pbtxt",
                )


def _looked_up(tree: ast.Module) -> Iterator[tuple[str, str, int]]:
    """Give role, name and line of every look-up whose name stands in the source."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call) or len(node.args) < 2:
            continue
        function = node.func.attr if isinstance(node.func, ast.Attribute) else ""
        name = node.args[1]
        if function in _LOOKUPS and isinstance(name, ast.Constant) and isinstance(name.value, str):
            yield _LOOKUPS[function], name.value, node.lineno


def _declared(subject: Subject, role: str) -> list[str]:
    config = subject.config
    if role == "output":
        return [tensor.name for tensor in config.output]
    names = [tensor.name for tensor in config.input]
    batching = config.sequence_batching
    if names and batching is not None:
        names += [control.name for control in batching.control_input]
        names += [state.input_name for state in batching.state]
    return names + [name for computed in config.batch_input for name in computed.target_name]


def _completes(tree: ast.Module) -> bool:
    return any(isinstance(n, ast.FunctionDef) and n.name == _COMPLETION for n in ast.walk(tree))


def ends_process(subject: Subject) -> Iterator[Problem]:
    """The code ends the process that it runs in."""
    for path, tree in subject.trees():
        for node in _outside_main(tree):
            called = ast.unparse(node.func) if isinstance(node, ast.Call) else ""
            if called in _EXITS:
                yield Problem(
                    path=path,
                    line=getattr(node, "lineno", None),
                    field=called,
                    expected="an exception, or an InferenceResponse with an error",
                    got=f"{called}()",
                    fix="raise pb_utils.TritonModelException instead",
                )


def _outside_main(tree: ast.Module) -> Iterator[ast.AST]:
    """Walk a source without what only runs when it is started as a program."""
    for statement in tree.body:
        if not (isinstance(statement, ast.If) and "__main__" in ast.unparse(statement.test)):
            yield from ast.walk(statement)


def not_there_yet(subject: Subject) -> Iterator[Problem]:
    """auto_complete_config uses what exists in a running model only."""
    for path, tree in subject.trees():
        completions = (
            node
            for node in ast.walk(tree)
            if isinstance(node, ast.FunctionDef) and node.name == _COMPLETION
        )
        for function in completions:
            for node in ast.walk(function):
                if isinstance(node, ast.Attribute) and node.attr in _RUNTIME_ONLY:
                    yield Problem(
                        path=path,
                        line=node.lineno,
                        field=_COMPLETION,
                        expected="what sets the configuration",
                        got=ast.unparse(node),
                        fix="use it in initialize or execute",
                    )

"""Typed Python wrappers: one module for each model, each a program as well."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import PurePath

from modelport.codegen import python_module, python_names
from modelport.codegen.python_module import MARK, Naming
from modelport.errors import InterfaceError
from modelport.repository.interface import Interface

_DIGEST = re.compile(r"^# (interface|tensors): sha256:([0-9a-f]{64})$", re.MULTILINE)


def modules(interfaces: Sequence[Interface], folder: str) -> dict[str, str]:
    """Write a module for each model.

    Args:
        interfaces: of the models.
        folder: in which the modules will lie, as people call them from where they are.

    Returns:
        File name to content.

    Raises:
        InterfaceError: a model cannot have a wrapper.
    """
    return {
        f"{naming.module}.py": python_module.render(one, naming)
        for one, naming in zip(interfaces, namings(interfaces, folder=folder), strict=True)
    }


def namings(
    interfaces: Sequence[Interface], *, folder: str = "", package: str = "", command: str = ""
) -> list[Naming]:
    """Choose the names of modules and classes; no two are alike.

    Args:
        interfaces: of the models, in whose order names are given.
        folder: that holds the modules, for programs.
        package: that holds them, for imports.
        command: of a package, which runs them by their names.
    """
    found: list[Naming] = []
    for one in interfaces:
        if not (one.inputs and one.outputs):
            raise InterfaceError(f"{one.model!r} has no inputs or no outputs", model=one.model)
        module = python_names.module_name(one.model, {name.module for name in found})
        cls = _class_name(one.model, found)
        imported = f"{package}.{module}" if package else module
        path = (PurePath(folder) / f"{module}.py").as_posix()
        program = f"{command} {module}" if command else f"python {path}"
        offered = python_module.offered(one, cls)
        found.append(Naming(module, cls, imported, program, offered))
    return found


def _class_name(model: str, others: Sequence[Naming]) -> str:
    """Name a class so that all that its module has beside it is free in a package of all."""
    taken = set().union(*(_classes(other.cls) for other in others))
    refused: set[str] = set()
    while _classes(found := python_names.class_name(model, refused)) & taken:
        refused.add(found)
    return found


def _classes(cls: str) -> set[str]:
    """List the names that the classes of a module take in a package."""
    suffixes = ("", "Result", "Input", "Sequence")
    return {f"{way}{cls}{suffix}" for way in ("", "Async") for suffix in suffixes}


def is_generated(content: str) -> bool:
    """Tell whether a file was generated here once."""
    return content.startswith(MARK)


def comparison(interfaces: Sequence[Interface]) -> Callable[[str, str], bool]:
    """Make the function that tells whether a module on disk is as it would be generated now.

    Of a model that was never built here nobody says what its tensors mean. A module that was made
    where it was known stands, if it is of the same tensors.
    """
    wordless = {one.digest for one in interfaces if not one.described}

    def same(there: str, now: str) -> bool:
        ours, theirs = (dict(_DIGEST.findall(content)) for content in (now, there))
        if ours.get("interface") in wordless:
            return bool(theirs.get("tensors") == ours["tensors"])
        return there == now

    return same

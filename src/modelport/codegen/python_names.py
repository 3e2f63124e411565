"""Python names for what models and tensors are called, which may be anything."""

from __future__ import annotations

import builtins
import keyword
import re
import sys
import unicodedata
from collections.abc import Collection, Iterable

# Names that the generated code itself uses: a field called so would hide them.
_USED = {
    "np", "npt", "typed", "Any", "Final", "Literal", "TypeAlias", "Path", "Sequence", "Iterator",
    "AsyncIterator", "dataclass", "sys", "annotations", "main", "MODEL", "PROGRAM", "isinstance",
    "dict", "list", "tuple", "str", "int", "float", "bool", "bytes", "object",
}  # fmt: skip
# What methods take besides, and call their own variables.
_ARGUMENTS = {"self", "timeout_s", "end", "items", "asked", "rows", "sent"}
# A wrapper's own folder is the first place where a program that lies in it looks for modules.
_MODULES = {"numpy", "modelport", "tritonclient", "grpc", "google", "geventhttpclient", "gevent"}


def field(name: str, taken: Collection[str] = ()) -> str:
    """Give the name of a field for a tensor.

    Args:
        name: of the tensor.
        taken: names that are in use already.
    """
    # Python reads identifiers in this form, so that two of them may be one.
    found = re.sub(r"\W", "_", unicodedata.normalize("NFKC", name)).lstrip("_") or "value"
    if not found.isidentifier():
        found = f"value_{found}"
    if not found.isidentifier():  # a sign that counts as part of words, but not of names
        found = re.sub(r"[^A-Za-z0-9_]", "_", found)
    if keyword.iskeyword(found) or found in _USED:
        found += "_"
    return free(found, taken)


def fields(names: Iterable[str]) -> dict[str, str]:
    """Give a field for each output, no two alike."""
    found: dict[str, str] = {}
    for name in names:
        found[name] = field(name, set(found.values()))
    return found


def parameters(names: Iterable[str]) -> dict[str, str]:
    """Give a parameter for each input, no two alike and none that methods have anyway."""
    found: dict[str, str] = {}
    for name in names:
        chosen = field(name)
        chosen = f"{chosen}_" if chosen in _ARGUMENTS else chosen
        found[name] = free(chosen, set(found.values()))
    return found


def class_name(name: str, taken: Collection[str] = ()) -> str:
    """Give the name of a class for a model, or of a type for a tensor."""
    words = re.findall(r"[A-Za-z0-9]+", unicodedata.normalize("NFKD", name))
    found = "".join(word[:1].upper() + word[1:] for word in words) or "Model"
    if found[0].isdecimal():
        found = f"Model{found}"
    if keyword.iskeyword(found) or found in _USED or hasattr(builtins, found):
        found += "Model"
    return free(found, taken)


def module_name(name: str, taken: Collection[str] = ()) -> str:
    """Give the name of the module for a model: importable, and hiding no other module."""
    words = re.findall(r"[A-Za-z0-9]+", unicodedata.normalize("NFKD", name))
    found = "_".join(words).lower() or "model"
    if found[0].isdecimal():
        found = f"model_{found}"
    if keyword.iskeyword(found) or found in sys.stdlib_module_names | _MODULES:
        found += "_model"
    return free(found, taken)


def constants(names: Iterable[str]) -> dict[str, str]:
    """Give the name of a constant for the labels of each output, no two alike."""
    found: dict[str, str] = {}
    for name in names:
        found[name] = free(f"{field(name).upper()}_LABELS", set(found.values()))
    return found


def free(name: str, taken: Collection[str]) -> str:
    """Give a name as it is, or with the first number that makes it another than those taken."""
    found, number = name, 2
    while found in taken:
        found, number = f"{name.rstrip('_')}_{number}", number + 1
    return found

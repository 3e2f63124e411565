"""What tritonserver was started with, as far as this backend reads it.

Triton hands ``--backend-config=onnxruntime,KEY=VALUE`` to C++ backends only; a
python-based backend gets the model configuration and nothing else. The stub is
a child of tritonserver, so the options can be read from its parent's command
line. Where that is not possible (the server was embedded in another program),
the documented defaults hold.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

_BACKEND = "onnxruntime"
_OPTION = "--backend-config"


def parent_command_line() -> list[str]:
    """Return the arguments of the parent process; empty where they cannot be read."""
    try:
        raw = Path(f"/proc/{os.getppid()}/cmdline").read_bytes()
    except OSError:
        return []
    return raw.decode("utf-8", errors="replace").rstrip("\0").split("\0")


def backend_options(arguments: Sequence[str]) -> Mapping[str, str]:
    """Return the ``KEY=VALUE`` pairs of ``--backend-config=onnxruntime,…`` in ``arguments``."""
    options: dict[str, str] = {}
    for text in _values(arguments):
        backend, _, setting = text.partition(",")
        key, equals, value = setting.partition("=")
        if backend == _BACKEND and equals:
            options[key.strip()] = value.strip()
    return options


def _values(arguments: Sequence[str]) -> Iterator[str]:
    for index, argument in enumerate(arguments):
        if argument.startswith(_OPTION + "="):
            yield argument[len(_OPTION) + 1 :]
        elif argument == _OPTION and index + 1 < len(arguments):
            yield arguments[index + 1]

"""The TensorRT library that is installed: full TensorRT first, then TensorRT-RTX."""

from __future__ import annotations

import functools
import importlib
from collections import deque
from dataclasses import dataclass
from typing import Any

from modelport.errors import MissingExtraError

FULL, RTX = "tensorrt", "tensorrt_rtx"
# What a builder says last is what matters of a failure.
_REMEMBERED = 40


@dataclass(frozen=True)
class Library:
    """A TensorRT library.

    Args:
        module: the Python module; what differs between the libraries is asked of it by name.
        name: ``tensorrt`` or ``tensorrt_rtx``.
        version: its version, such as ``10.13.2.6``.
    """

    module: Any
    name: str
    version: str

    @property
    def makes_plans(self) -> bool:
        """Whether Triton's ``tensorrt`` backend loads its engines."""
        return self.name == FULL

    def flag(self, enum: str, name: str) -> int:
        """Give the bit of a flag, and nothing where this library has no such flag.

        The numbers of flags differ between the libraries, and some are gone.
        """
        member = getattr(getattr(self.module, enum, None), name, None)
        return 0 if member is None else 1 << int(member)


def library(only: str | None = None) -> Library:
    """Find TensorRT.

    Args:
        only: ``tensorrt`` or ``tensorrt_rtx``, where the other will not do.

    Raises:
        MissingExtraError: there is none, or it does not load; the message says what to do.
    """
    reasons = []
    for name in (FULL, RTX) if only is None else (only,):
        module = _imported(name)
        if not isinstance(module, str):
            return Library(module, name, module.__version__)
        reasons.append(module)
    wanted = "TensorRT" if only != RTX else "TensorRT-RTX"
    raise MissingExtraError(
        f"{wanted} is not installed here ({'; '.join(reasons)})",
        cause="it is no part of the other extras: it needs NVIDIA's package index, and an NVIDIA"
        " GPU to build plans on",
        next_step="pip install 'modelport[tensorrt]' where that index is reached; anywhere else"
        " run the same command in the serving image on the target GPU: see docker/README.md"
        if only != RTX
        else "pip install 'modelport[dev]', on Linux and x86-64",
    )


def _imported(name: str) -> Any:
    """Import a module, or give the reason why it cannot be."""
    try:
        return importlib.import_module(name)
    except (ImportError, OSError) as error:  # one that is there may lack libraries of its own
        return f"{name}: {error}"


class Log:
    """What a library's builder says; kept, not shown.

    A process has one: TensorRT stays with the first logger that it is given.
    """

    def __init__(self) -> None:
        self.lines: deque[str] = deque(maxlen=_REMEMBERED)

    def clear(self) -> None:
        """Forget what was said."""
        self.lines.clear()

    def errors(self) -> list[str]:
        """Give what went wrong, or else the warnings."""
        kinds = ("error", "warning")
        by_kind = {
            k: [line[len(k) + 2 :] for line in self.lines if line.startswith(k)] for k in kinds
        }
        return by_kind["error"] or by_kind["warning"]


@functools.cache
def logger(found: Library) -> tuple[Log, Any]:
    """Give what a library's builder says, and the logger to hand to it."""
    log, severity = Log(), found.module.ILogger.Severity
    kinds = {severity.INTERNAL_ERROR: "error", severity.ERROR: "error", severity.WARNING: "warning"}

    class Remembering(found.module.ILogger):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            found.module.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if kind := kinds.get(severity):
                log.lines.append(f"{kind}: {message.strip()}")

    return log, Remembering()

"""Bytecode beside the code of Python models, written before Triton looks at the folder.

A stub that imports ``model.py`` leaves its bytecode in the version folder. Triton then finds the
folder changed when it loads an ensemble over the model, and loads the model a second time.
"""

from __future__ import annotations

import importlib.util
import py_compile
import struct
from contextlib import suppress
from pathlib import Path

from modelport.runtime.plan import Model


def write(model: Model) -> None:
    """Compile the code of a Python model's served versions, where that was not done yet.

    What cannot be written, or does not parse, is left for the stub to find.
    """
    if model.config is None or model.config.backend != "python":
        return
    for version in model.folder.served_versions():
        write_beside(model.folder.version_dir(version) / model.code_file)


def write_beside(code: Path) -> None:
    """Compile one file, as :func:`write` does those of a model."""
    with suppress(OSError):
        if not _is_fresh(code):
            py_compile.compile(str(code), quiet=2)


def _is_fresh(code: Path) -> bool:
    """Say whether Python would take the bytecode that is there; it begins as PEP 552 says."""
    compiled = Path(importlib.util.cache_from_source(str(code)))
    if not compiled.is_file():
        return False
    source = code.stat()
    fields = (0, int(source.st_mtime) & 0xFFFFFFFF, source.st_size & 0xFFFFFFFF)
    expected = importlib.util.MAGIC_NUMBER + struct.pack("<3I", *fields)
    with compiled.open("rb") as file:
        return file.read(len(expected)) == expected

"""The manifest of a version that looks proven, made in no time."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from modelport.repository.manifest import (
    FILE_NAME,
    BuilderEntry,
    FileEntry,
    Manifest,
    ParityEntry,
    Proof,
    ToleranceEntry,
)

CREATED = datetime(2026, 1, 1, tzinfo=timezone.utc)


def parity(reference: str = "test", **fields: Any) -> ParityEntry:
    """One request, with no difference at all."""
    exact = {"requests": 1, "batch_sizes": [1], "worst_absolute": 0.0, "worst_relative": 0.0}
    return ParityEntry(**{"reference": reference, **exact, **fields})


def proof(absolute: float = 1e-6, relative: float = 0.0, **fields: Any) -> Proof:
    """A proof through a server, which found no difference."""
    tolerance = ToleranceEntry(absolute=absolute, relative=relative)
    given = {"tolerance": tolerance, "through_server": parity(), "server": "test"}
    return Proof(**{**given, **fields})


def manifest(folder: Path, model: str, version: int = 1, **fields: Any) -> Manifest:
    """Make the manifest of what lies in a version's folder, to be written there.

    Args:
        folder: the version.
        model: its model.
        version: its number.
        fields: of the manifest, in place of the usual ones.
    """
    paths = sorted(p for p in folder.rglob("*") if p.is_file() and p.name != FILE_NAME)
    usual = {
        "kind": "onnx",
        "public": True,
        "created": CREATED,
        "builder": BuilderEntry(path="builders/test.py", sha256="0" * 64),
        "build_key": "0" * 64,
        "dependencies": {},
        "proof": proof(),
        "files": [FileEntry.of(path, folder) for path in paths],
    }
    return Manifest(**{"model": model, "version": version, **usual, **fields})

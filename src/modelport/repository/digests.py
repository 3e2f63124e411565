"""SHA-256 digests of files and of structured values."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

_CHUNK_BYTES = 1 << 20


def of_file(path: Path) -> str:
    """Digest a file's content, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def of_path(path: Path) -> str:
    """Digest a file's content, or the names and contents of all files of a folder."""
    if path.is_file():
        return of_file(path)
    files = sorted(file for file in path.rglob("*") if file.is_file())
    return of_value({file.relative_to(path).as_posix(): of_file(file) for file in files})


def of_value(value: object) -> str:
    """Digest a value that JSON can hold; the order of mapping keys does not matter."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()

"""Timings of earlier builds, in a file: the second build of a network takes a part of the time."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any


@contextlib.contextmanager
def cached_timings(config: Any, path: Path | None) -> Iterator[None]:
    """Give a builder the timings that a file holds, and keep those that it has afterwards.

    A file that the library does not know, or of another GPU or version, counts as empty.

    Args:
        config: an ``IBuilderConfig``.
        path: the file; ``None`` to keep nothing.
    """
    if path is None:
        yield
        return
    held = path.read_bytes() if path.is_file() else b""
    if not config.set_timing_cache(config.create_timing_cache(held), False):
        config.set_timing_cache(config.create_timing_cache(b""), False)
    yield
    cache = config.get_timing_cache()
    if cache is not None:
        _write(path, bytes(cache.serialize()))


def _write(path: Path, content: bytes) -> None:
    """Replace a file at once: builds run side by side, and one may be stopped."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise

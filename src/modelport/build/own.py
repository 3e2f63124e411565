"""What ``--data`` names, for builder files whose very declaration depends on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path


@dataclass
class _Given:
    path: Path | None = None
    asked: bool = False


_given = _Given()


def own_data() -> Path | None:
    """Give what the user named with ``--data`` while the builder file is loaded.

    A builder that asks puts it into its sources itself. For all others it takes the place of
    their first source. ``None`` when the builder's own data are meant.
    """
    _given.asked = True
    return _given.path


@contextmanager
def given(path: Path | None) -> Iterator[_Given]:
    """Let a builder file that is loaded meanwhile ask for ``path``; says whether it did."""
    global _given
    before, _given = _given, _Given(path)
    try:
        yield _given
    finally:
        _given = before

"""The user's cache folder, and the locks that make it safe for several processes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from modelport.errors import ToolchainError

VARIABLE = "MODELPORT_CACHE"


def folder(*parts: str) -> Path:
    """Give a folder of the user's cache, made when missing.

    ``MODELPORT_CACHE`` overrides the place, which is otherwise the platform's own
    (``~/.cache/modelport`` on Linux, or below ``XDG_CACHE_HOME``).

    Raises:
        ToolchainError: the folder cannot be made.
    """
    path = root().joinpath(*parts)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ToolchainError(
            f"{path}: the cache folder cannot be made ({error.strerror})",
            next_step=f"set {VARIABLE} to a folder that you may write to",
            path=path,
        ) from error
    return path


def root() -> Path:
    """Say where the cache is, whether it exists or not."""
    if chosen := os.environ.get(VARIABLE):
        return Path(chosen).expanduser().absolute()
    from platformdirs import user_cache_path

    return user_cache_path("modelport", appauthor=False)


@contextmanager
def lock(name: str, *, on_wait: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold the machine-wide lock ``name``; ``on_wait`` is called once if another process has it.

    The lock belongs to the process: it is free again when its holder dies.
    """
    # Imported late: a warm start needs no lock, and every millisecond of it counts.
    from filelock import FileLock, Timeout

    guard = FileLock(folder("locks") / f"{name}.lock")
    try:
        guard.acquire(timeout=0)
    except Timeout:
        if on_wait is not None:
            on_wait()
        guard.acquire()
    try:
        yield
    finally:
        guard.release()

"""Work on a store: many transfers side by side, their progress, and what came of them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Literal

JOBS = 8

What = Literal["version", "files", "signature", "configuration", "log", "removed"]
OnProgress = Callable[[int, int], None]


@dataclass(frozen=True)
class Change:
    """One thing that changed, or would with ``--dry-run``.

    Attributes:
        model: None for the log of promotions, which speaks of all.
        version: None for what lies beside the versions.
        what: ``version``: a whole one; ``files``: some that its store had lost.
    """

    model: str | None
    version: int | None
    what: What
    files: int
    size_bytes: int


@dataclass(frozen=True)
class Outcome:
    """What a push, pull or sync did.

    Attributes:
        store: its URL.
        models: how many were compared.
        changes: in the order in which they became visible.
        notes: what people should know of what was left alone.
        traffic: requests, files and bytes, see :class:`modelport.repository.stores.store.Traffic`.
        dry_run: nothing was done.
    """

    store: str
    models: int
    changes: tuple[Change, ...]
    notes: tuple[str, ...]
    traffic: dict[str, int]
    dry_run: bool


class Stopped(Exception):
    """Work was called off."""


class Crew:
    """Runs jobs side by side; the first that fails stops the others, and is raised.

    Args:
        total_bytes: what all jobs together will move.
        on_progress: hears bytes done and total; called from several threads, one at a time.
        jobs: how many run at once.
    """

    def __init__(self, total_bytes: int, on_progress: OnProgress | None, jobs: int) -> None:
        self._total, self._on_progress, self._jobs = total_bytes, on_progress, jobs
        self._done = 0
        self._lock = threading.Lock()
        self._stop = threading.Event()

    def advance(self, size_bytes: int) -> None:
        """Note that bytes were moved; raises :class:`Stopped` when the work was called off."""
        if self._stop.is_set():
            raise Stopped
        with self._lock:
            self._done += size_bytes
            if self._on_progress is not None:
                self._on_progress(self._done, self._total)

    def run(self, jobs: Iterable[Callable[[], None]]) -> None:
        """Run all jobs to their end."""
        with ThreadPoolExecutor(self._jobs) as pool:
            futures = [pool.submit(job) for job in jobs]
            try:
                done, _ = wait(futures, return_when=FIRST_EXCEPTION)
                _raise_first([error for future in done if (error := future.exception())])
            except BaseException:
                self._stop.set()
                for future in futures:
                    future.cancel()
                raise


def _raise_first(errors: list[BaseException]) -> None:
    """Raise what went wrong, not that others were stopped because of it."""
    for error in sorted(errors, key=lambda error: isinstance(error, Stopped)):
        raise error

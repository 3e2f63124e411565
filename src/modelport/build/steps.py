"""Steps of a build, kept by the content of what went into them."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelport.errors import BuildError
from modelport.repository import digests
from modelport.repository.manifest import JudgementEntry
from modelport.runtime import cache


@dataclass(frozen=True)
class Report:
    """One finished step: what people see of it.

    Attributes:
        model: name of the model.
        step: such as ``train``.
        outcome: what came of it, in words.
        duration_s: how long it took; ``None`` when it was not done again.
    """

    model: str
    step: str
    outcome: str
    duration_s: float | None


@dataclass(frozen=True)
class Progress:
    """Where a step that takes long stands: ``done`` of ``total``."""

    model: str
    step: str
    text: str
    done: int
    total: int


@dataclass(frozen=True)
class Built:
    """One model of a build.

    Attributes:
        version: that has the builder's state.
        new: whether this build published it.
        judgement: of its variants, where these were judged.
    """

    model: str
    version: int
    new: bool
    judgement: JudgementEntry | None = None


Listener = Callable[["Report | Progress"], None]


@dataclass(frozen=True)
class Done:
    """A step's folder and its key, which later steps put into theirs."""

    folder: Path
    key: str
    cached: bool
    duration_s: float

    def facts(self) -> dict[str, Any]:
        """Read what the step noted beside its files."""
        facts: dict[str, Any] = json.loads((self.folder / "facts.json").read_text(encoding="utf-8"))
        return facts


_own_folder: Path | None = None


@contextmanager
def kept_in(folder: Path) -> Iterator[None]:
    """Keep the steps that are done meanwhile in a folder; what the cache holds does not count."""
    global _own_folder
    before, _own_folder = _own_folder, folder
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        _own_folder = before


def run(
    name: str, inputs: Mapping[str, object], work: Callable[[Path], Mapping[str, object]]
) -> Done:
    """Do a step once for each content of its inputs.

    Args:
        name: of the step.
        inputs: everything that the result depends on; digested into the key.
        work: writes its files into the folder it is given, and returns facts.

    Raises:
        BuildError: the cache cannot be written.
    """
    key = digests.of_value({"step": name, **inputs})
    folder = (_own_folder or cache.folder("steps")) / f"{name}-{key[:24]}"
    start = time.monotonic()
    if folder.is_dir():
        os.utime(folder)
        return Done(folder, key, cached=True, duration_s=0.0)
    partial = folder.with_name(f"{folder.name}.partial-{os.getpid()}")
    try:
        _remove_abandoned(folder)
        partial.mkdir()
        facts = json.dumps(work(partial), indent=1)
        (partial / "facts.json").write_text(facts + "\n", encoding="utf-8")
        _complete(partial, folder)
    except OSError as error:
        raise BuildError(
            f"{error.filename or partial}: the step {name!r} cannot be kept: {error.strerror}",
            cause="the disk is full, or the cache folder is not yours",
            next_step="free some space, or set MODELPORT_CACHE to a folder on another disk",
            path=partial,
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return Done(folder, key, cached=False, duration_s=time.monotonic() - start)


def _remove_abandoned(folder: Path) -> None:
    """Remove what processes left behind that were killed while they did this step."""
    for partial in folder.parent.glob(f"{folder.name}.partial-*"):
        pid = partial.name.rpartition("-")[2]
        if pid == str(os.getpid()) or not Path("/proc", pid).exists():
            shutil.rmtree(partial, ignore_errors=True)


def _complete(partial: Path, folder: Path) -> None:
    """Give the step its name; another process that was faster has made the same."""
    try:
        partial.rename(folder)
    except OSError:
        if not folder.is_dir():
            raise

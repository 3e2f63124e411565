"""What `push`, `pull` and `sync` share: options, progress, and what they say of their work."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from modelport.cli.output import Output

if TYPE_CHECKING:
    from modelport.repository.stores import Store
    from modelport.repository.stores.work import Change, Outcome
    from modelport.runtime.servers import RunningServer

_Command = TypeVar("_Command", bound=Callable[..., Any])

_DONE = {
    "version": "version",
    "files": "lost files",
    "log": "log of promotions",
    "removed": "removed",
}


def options(direction: str) -> Callable[[_Command], _Command]:
    """Add the options that all have; ``direction`` is ``--to`` or ``--from``."""

    def add(command: _Command) -> _Command:
        for option in reversed(_options(direction)):
            command = option(command)
        return command

    return add


def _options(direction: str) -> list[Callable[[_Command], _Command]]:
    return [
        click.option(
            direction,
            "url",
            required=True,
            metavar="URL",
            help="A folder, or s3://bucket/prefix; credentials from the usual AWS settings.",
        ),
        click.option(
            "--overwrite",
            is_flag=True,
            help="Replace what serves and labels, whoever changed them; never a version.",
        ),
        click.option("--dry-run", is_flag=True, help="Only say what would be done."),
        click.option(
            "--jobs", type=click.IntRange(1, 32), default=8, show_default=True, help="At once."
        ),
    ]


@contextmanager
def opened(url: str) -> Iterator[Store]:
    """Open a store for as long as it is needed."""
    from modelport.repository.stores import open_store

    store = open_store(url)
    try:
        yield store
    finally:
        store.close()


def local(out: Output, place: str) -> Path:
    """Give the folder of a repository; what serves in S3 is fetched into the cache first.

    Without the store, what was fetched last is served, with a warning.

    Raises:
        StoreError: the store failed, and nothing was fetched from it before.
        IntegrityError: the store has something else than its manifests say.
    """
    from modelport.repository.stores import address

    if not address.is_s3(place):
        return Path(place)
    from modelport.errors import StoreUnreachableError
    from modelport.repository import digests
    from modelport.repository.layout import Repository
    from modelport.repository.stores.pull import pull
    from modelport.runtime import cache

    with opened(place) as store:
        folder = cache.folder("stores", digests.of_value(store.identity)[:16])
        repository = folder / "model_repository"
        try:
            outcome = pull(
                repository,
                store,
                served=True,
                delete=True,
                overwrite=True,
                on_progress=Bar(out, "fetch"),
            )
        except StoreUnreachableError as error:
            if not repository.is_dir() or not Repository(repository).models():
                raise
            out.note(f"warning: {error.what}: serving what was fetched last")
            return repository
    out.end_bar()
    traffic = outcome.traffic
    out.note(
        f"{place}: received {traffic['files_received']} files,"
        f" {_size(traffic['bytes_received'])}, into {repository}"
    )
    return repository


def align(out: Output, repository: Path) -> None:
    """Have servers that run here on the repository serve what its config.pbtxt files say.

    Also what an earlier pull was killed before.

    Raises:
        LoadError: a server refused; the old version goes on serving.
    """
    from modelport.repository.layout import Repository
    from modelport.rollout import switch
    from modelport.rollout.serving import served_by
    from modelport.runtime import servers

    models = Repository(repository)
    for server in servers.running(repository):
        with _unless_gone(out, server):
            behind = [
                name
                for name, versions in served_by(server).items()
                if models.folder(name).path.is_dir()
                and models.folder(name).served_versions() != versions
            ]
            if behind:
                switch.align(server, models, behind)
                out.note(f"{server.endpoints.http}: switched {', '.join(behind)}")


@contextmanager
def _unless_gone(out: Output, server: RunningServer) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        out.note(f"warning: {server.endpoints.http} does not answer: {error}")


class Bar:
    """Shows how many bytes are done; from threads, one at a time."""

    def __init__(self, out: Output, name: str) -> None:
        self._out, self._name = out, name

    def __call__(self, done: int, total: int) -> None:
        """Show it."""
        words = f"{done / 1e6:.1f} of {total / 1e6:.1f} MB"
        self._out.bar(self._name, words, done, max(total, 1))


def show(out: Output, outcome: Outcome, direction: str, *, as_json: bool) -> None:
    """Say what was done, or would be."""
    out.end_bar()
    for note in outcome.notes:
        out.note(note)
    if as_json:
        out.json(asdict(outcome))
        return
    if outcome.changes:
        rows = [_row(change) for change in outcome.changes]
        out.table("", ("model", "version", "what", "files", "size"), rows)
    out.text(_summary(outcome, direction))


def _row(change: Change) -> tuple[object, ...]:
    size = _size(change.size_bytes) if change.files else None
    what = _DONE.get(change.what, change.what)
    return change.model, change.version, what, change.files or None, size


def _summary(outcome: Outcome, direction: str) -> str:
    place = f"{direction} {outcome.store}"
    models = _count(outcome.models, "model")
    if not outcome.changes:
        return f"{models}, nothing new {place}"
    versions = _count(sum(change.what == "version" for change in outcome.changes), "new version")
    if outcome.dry_run:
        size = _size(sum(change.size_bytes for change in outcome.changes))
        return f"{models}, {versions}, {size} {place}: not done"
    traffic = outcome.traffic
    moved = "sent" if direction == "to" else "received"
    files, size = _count(traffic[f"files_{moved}"], "file"), _size(traffic[f"bytes_{moved}"])
    requests = f", with {_count(traffic['requests'], 'request')}" if traffic["requests"] else ""
    return f"{models}, {versions}; {moved} {files}, {size} {place}{requests}"


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}" if number == 1 else f"{number} {thing}s"


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.1f} MB" if size_bytes >= 100_000 else f"{size_bytes / 1e3:.1f} kB"

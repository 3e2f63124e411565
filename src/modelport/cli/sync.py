"""``modelport sync``: a repository that follows a store, once or again and again."""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import Any

import click

from modelport.cli import options, transfers
from modelport.cli.output import Output, pass_output
from modelport.errors import ModelportError


@click.command("sync")
@transfers.options("--from")
@click.option("--served", is_flag=True, help="Only the versions that serve.")
@click.option("--delete", is_flag=True, help="Remove what came from the store and is gone there.")
@click.option(
    "--every", type=click.FloatRange(min=0.1), metavar="SECONDS", help="Go on until Ctrl-C."
)
@options.PUBLIC_KEYS
@options.REPOSITORY
@options.AS_JSON
@pass_output
def command(out: Output, /, every: float | None, as_json: bool, **given: Any) -> None:
    """Keep a repository equal to a store: its versions, and which of them serve.

    What was changed here since the last time stays, and is named, unless --overwrite is given.
    A server that runs here on the repository is told. With --every, an error is shown and the
    next round tries again.
    """
    if every is None:
        _once(out, as_json=as_json, **given)
        return
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    while not ended.is_set():
        try:
            _once(out, as_json=as_json, quiet=True, **given)
        except ModelportError as error:
            out.error(error)
            if as_json:
                out.json({"error": type(error).__name__, "what": error.what})
        ended.wait(every)


def _once(out: Output, *, as_json: bool, quiet: bool = False, **given: Any) -> None:
    """Follow the store once; in a loop, say only what is new."""
    from modelport.repository.stores.pull import pull

    with transfers.opened(given["url"]) as store:
        outcome = pull(
            Path(given["repository"]),
            store,
            served=given["served"],
            delete=given["delete"],
            overwrite=given["overwrite"],
            trusted=given["trusted"],
            dry_run=given["dry_run"],
            jobs=given["jobs"],
            on_progress=transfers.Bar(out, "sync"),
        )
    if as_json or outcome.changes or not quiet:
        transfers.show(out, outcome, "from", as_json=as_json)
    if not outcome.dry_run:
        transfers.align(out, Path(given["repository"]))

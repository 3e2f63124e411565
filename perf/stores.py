"""What a push to S3 and a pull from it cost: requests, files, bytes and seconds.

    python perf/stores.py                  the built models, to a SeaweedFS of its own
    python perf/stores.py --small 100      100 models with 10 versions of 4 small files each

SeaweedFS (`modelport[dev]`) runs on loopback in a temporary folder, so the seconds are those of the
program and this machine, not of a network; requests and bytes are the same everywhere. What was
pulled is compared with what was pushed, byte by byte.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from modelport.repository.layout import Repository
from modelport.repository.stores import open_store
from modelport.repository.stores.pull import pull
from modelport.repository.stores.push import push
from modelport.repository.stores.work import Outcome

ROOT = Path(__file__).resolve().parents[1]
# Who starts SeaweedFS for the tests, and makes small models.
_HELPERS = ("server/stores", "unit/repository/stores")


@dataclass(frozen=True)
class Step:
    """One push or pull."""

    name: str
    requests: int
    files_sent: int
    bytes_sent: int
    files_received: int
    bytes_received: int
    seconds: float


def measured(name: str, work: Callable[[], Outcome]) -> Step:
    """Run it once."""
    start = time.perf_counter()
    traffic = work().traffic
    took = time.perf_counter() - start
    return Step(name, **traffic, seconds=took)


def of_tests(name: str) -> Any:
    """Import a module that the tests use."""
    sys.path[:0] = [str(ROOT / "tests" / folder) for folder in _HELPERS]
    return importlib.import_module(name)


def way(repository: Path, work: Path, url: str) -> list[Step]:
    """Push, pull, and both again with nothing new and with one new version."""
    away = work / "away"

    def there() -> Outcome:
        return push(repository, open_store(url))

    def back() -> Outcome:
        return pull(away, open_store(url))

    steps = [
        measured("push all", there),
        measured("push again", there),
        measured("pull all", back),
        measured("pull again", back),
    ]
    model = add_version(repository)
    steps += [
        measured(f"push one new version ({model})", there),
        measured("pull it", back),
        measured("pull only what serves, elsewhere", lambda: served(work, url)),
    ]
    versions = of_tests("proven").versions
    if versions(away) != versions(repository):
        raise SystemExit("what was pulled is not what was pushed")
    return steps


def served(work: Path, url: str) -> Outcome:
    """Pull what a serving machine needs."""
    return pull(work / "serving", open_store(url), served=True)


def add_version(repository: Path) -> str:
    """Publish the newest version of one model once more; gives its name."""
    folders = [f for f in Repository(repository).models() if f.name == "digits_cnn"]
    folder = (folders or Repository(repository).models())[0]
    newest = folder.proven_versions()[-1]
    made = folder.version_dir(newest + 1)
    shutil.copytree(folder.version_dir(newest), made, ignore=shutil.ignore_patterns("*.sig"))
    now = datetime.now(timezone.utc).replace(microsecond=0)
    folder.manifest(newest).model_copy(update={"version": newest + 1, "created": now}).write(made)
    return folder.name


def proven_copy(source: Path, target: Path) -> Path:
    """Copy the built models, as pushing leaves a note in a repository."""
    for folder in Repository(source).models():
        if folder.proven_versions():
            shutil.copytree(
                folder.path, target / folder.name, ignore=shutil.ignore_patterns("__pycache__")
            )
    if not target.is_dir():
        raise SystemExit(f"{source}: nothing is built yet: modelport build all")
    return target


def small(target: Path, models: int) -> Path:
    """Make models of 10 versions, of 4 small files each."""
    shelf = of_tests("proven").Shelf(target)
    for number in range(models):
        for _ in range(10):
            shelf.publish(f"model{number:04}", labels=("a", "b"), size_bytes=1000)
    return target


def show(steps: list[Step]) -> None:
    """Print a table."""
    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)
    load = Path("/proc/loadavg").read_text().split()[0]
    table = Table(title=f"S3 (SeaweedFS on loopback), load at the end {load}", title_justify="left")
    for column in ("step", "requests", "files sent", "MB", "files received", "MB", "s"):
        table.add_column(column, justify="left" if column == "step" else "right")
    for s in steps:
        sizes = (f"{size / 1e6:.3f}" for size in (s.bytes_sent, s.bytes_received))
        counts = map(str, (s.files_sent, s.files_received))
        moved = [cell for pair in zip(counts, sizes, strict=True) for cell in pair]
        table.add_row(s.name, str(s.requests), *moved, f"{s.seconds:.2f}")
    console.print(table)


@click.command(help=__doc__.split("\n")[0])
@click.option("--repository", type=click.Path(path_type=Path), default=ROOT / "model_repository")
@click.option("--small", "models", type=int, help="So many models with 10 small versions each.")
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON.")
def main(repository: Path, models: int | None, as_json: bool) -> None:
    """Measure and show."""
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder)
        home = small(work / "home", models) if models else proven_copy(repository, work / "home")
        (work / "seaweed").mkdir()
        with of_tests("seaweed").running(work / "seaweed") as server:
            os.environ.update(server.environment())
            steps = way(home, work, server.url("all"))
    if as_json:
        click.echo(json.dumps([vars(step) for step in steps]))
        return
    show(steps)


if __name__ == "__main__":
    main()

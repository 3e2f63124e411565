"""How the programs beside this one say what they measured, and on which machine."""

from __future__ import annotations

import json
import os
import platform
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from modelport.errors import ModelportError

PACKAGES = ("modelport", "onnxruntime", "tritonclient", "numpy")


def machine() -> dict[str, Any]:
    """Say what the figures hold for."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "cpu": names[0] if names else platform.machine(),
        "cpus": len(os.sched_getaffinity(0)),
        "load_before": round(os.getloadavg()[0], 2),
        "python": platform.python_version(),
        **{name: version(name) for name in PACKAGES},
    }


def in_words(described: Mapping[str, Any]) -> str:
    """Write a machine in a line."""
    return ", ".join(f"{name} {value}" for name, value in described.items())


def console(width: int) -> Console:
    """Make what tables are printed on, so wide where it is no terminal."""
    return Console(width=None if sys.stdout.isatty() else width, highlight=False)


def table(
    title: str, columns: Mapping[str, str], rows: Iterable[Mapping[str, Any]], *, words: int = 1
) -> Table:
    """Make a table of rows that have their cells by name.

    Args:
        title: what is measured.
        columns: headings by the names of the cells.
        rows: a cell that a row lacks, or that is ``None``, stays empty.
        words: how many of the first columns hold words, and no numbers.
    """
    made = Table(title=title, title_justify="left")
    for place, heading in enumerate(columns.values()):
        made.add_column(heading, justify="left" if place < words else "right")
    for row in rows:
        made.add_row(*("" if row.get(name) is None else str(row[name]) for name in columns))
    return made


@contextmanager
def failures() -> Iterator[None]:
    """End the program with what went wrong, and the exit status of it."""
    try:
        yield
    except ModelportError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(error.exit_code)


def give(result: dict[str, Any], show: Callable[[dict[str, Any]], None], *, as_json: bool) -> None:
    """Print one line of JSON, or show the result."""
    if as_json:
        click.echo(json.dumps(result, ensure_ascii=False))
    else:
        show(result)

"""The one object that prints: results to stdout, progress and errors to stderr."""

from __future__ import annotations

import json
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.console import Console, RenderableType
    from rich.live import Live

    from modelport.errors import ModelportError

# Long work prints a line at least this often where there is no terminal.
_QUIET_S = 10.0


class Output:
    """Prints for people and for machines; rich is imported when first needed.

    Colour appears on a terminal only, and never with ``NO_COLOR`` set.
    """

    def __init__(self, *, verbose: bool = False) -> None:
        self.verbose = verbose
        self._consoles: dict[bool, Console] = {}
        self._bar = False
        self._live: Live | None = None
        self._last_line = time.monotonic()

    def console(self, *, stderr: bool = True) -> Console:
        """Give the rich console of one stream."""
        if self._live is not None and sys.stdout.isatty():
            stderr = True  # the one that knows of the lines that are drawn over
        if stderr not in self._consoles:
            from rich.console import Console

            # A pipe has no width: tables must not be squeezed to 80 columns there.
            stream = sys.stderr if stderr else sys.stdout
            width = None if stream.isatty() else 140
            self._consoles[stderr] = Console(stderr=stderr, highlight=False, width=width)
        return self._consoles[stderr]

    def text(self, text: str = "") -> None:
        """Print a line of the result to stdout."""
        self._echo(text, stderr=False)

    def json(self, value: object) -> None:
        """Print ``value`` as one line of JSON to stdout."""
        click.echo(json.dumps(value, ensure_ascii=False, default=str))

    def note(self, text: str) -> None:
        """Print a line about the work, not its result, to stderr."""
        self._last_line = time.monotonic()
        self._echo(text, stderr=True)

    def _echo(self, text: str, *, stderr: bool) -> None:
        if self._live is not None and (stderr or sys.stdout.isatty()):
            self.console().print(text, markup=False, soft_wrap=True)
        else:
            click.echo(text, err=stderr)

    @contextmanager
    def live(self, renderable: Callable[[], RenderableType]) -> Iterator[bool]:
        """Keep some lines below all others, drawn anew; yields whether there is a terminal for it.

        Args:
            renderable: gives the lines as they are at the moment.
        """
        if not sys.stderr.isatty():
            yield False
            return
        from rich.live import Live

        shown = Live(
            console=self.console(),
            get_renderable=renderable,
            refresh_per_second=4,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        with shown:
            self._live = shown
            try:
                yield True
            finally:
                self._live = None

    def table(
        self,
        title: str,
        columns: Sequence[str],
        rows: Sequence[Sequence[object]],
        *,
        stderr: bool = False,
        whole: Sequence[str] = (),
    ) -> None:
        """Print a table; cells are shown with ``str``, ``None`` as a dash.

        Args:
            title: above it; may be empty.
            columns: their heads.
            rows: cells.
            stderr: print it there.
            whole: columns whose cells are not broken where the table is too wide.
        """
        from rich import box
        from rich.markup import escape
        from rich.table import Table

        table = Table(
            title=title or None, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False
        )
        for column in columns:
            table.add_column(column, overflow="fold", no_wrap=column in whole)
        for row in rows:
            table.add_row(*("–" if cell is None else escape(str(cell)) for cell in row))
        self.console(stderr=stderr).print(table)

    def step(self, name: str, outcome: str, duration_s: float | None = None) -> None:
        """Print one finished step of long work to stderr, with how long it took."""
        took = "" if duration_s is None else f" · {duration_s:.2f} s"
        self.note(f"  {name:<34} {outcome}{took}")

    def bar(self, name: str, words: str, done: int, total: int) -> None:
        """Show how far a step has come: on a terminal in one line that is drawn over.

        Elsewhere it prints a line now and then, so that a log shows life.
        """
        if not sys.stderr.isatty():
            if time.monotonic() - self._last_line > _QUIET_S:
                self.note(f"  {name:<34} {words} ({done} of {total})")
            return
        filled = round(20 * done / max(total, 1))
        click.echo(f"\r\x1b[K  {name:<34} {'━' * filled:<20} {words}", err=True, nl=False)
        self._bar = True

    def end_bar(self) -> None:
        """Take the line of :meth:`bar` away, if there is one."""
        if self._bar:
            click.echo("\r\x1b[K", err=True, nl=False)
            self._bar = False

    @contextmanager
    def progress(self, description: str) -> Iterator[None]:
        """Show that work is under way: a spinner on a terminal, two lines elsewhere."""
        start = time.monotonic()
        if self.console().is_terminal:
            with self.console().status(description):
                yield
        else:
            self.note(f"{description} …")
            yield
        self.note(f"{description}: {time.monotonic() - start:.1f} s")

    def error(self, error: ModelportError) -> None:
        """Show an error as its three parts, to stderr; a traceback only with ``--verbose``."""
        self.end_bar()
        if self.verbose:
            traceback.print_exception(error, file=sys.stderr)
        click.echo(click.style("error: ", fg="red", bold=True) + str(error), err=True)


pass_output = click.make_pass_decorator(Output)

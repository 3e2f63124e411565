"""What people see of builds: the steps of one file, or a line for each of several."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from modelport.build.steps import Progress, Report
from modelport.cli.output import Output

if TYPE_CHECKING:
    from rich.table import Table

    from modelport.build.workers import Outcome

_BAR_CELLS = 16


class StepPrinter:
    """Shows the steps of a build as they are done, and a bar for those that take long."""

    def __init__(self, out: Output) -> None:
        self._out = out

    def __call__(self, event: Report | Progress) -> None:
        """Show one event."""
        if isinstance(event, Progress):
            self._out.bar(f"{event.model}: {event.step}", event.text, event.done, event.total)
            return
        self._out.end_bar()
        outcome = event.outcome if event.duration_s is not None else f"{event.outcome} · kept"
        self._out.step(f"{event.model}: {event.step}", outcome, event.duration_s)


class Board:
    """Shows several builder files that are built at once, each in a line of its own.

    On a terminal the lines are drawn over, and what is finished stands above them. Elsewhere
    every step is a line, and so is now and then how far one has come.

    Args:
        out: prints.
        builders: all files that are to be built.
    """

    def __init__(self, out: Output, builders: Sequence[Path]) -> None:
        self._out = out
        self._waiting = [builder.stem for builder in builders]
        self._running: dict[str, tuple[float, Report | Progress]] = {}
        self._figures: dict[str, list[str]] = {}
        self._lock = threading.Lock()
        self._drawn = False
        self._print = StepPrinter(out)
        self._width = max(map(len, self._waiting), default=0)

    @contextmanager
    def shown(self) -> Iterator[None]:
        """Show the lines until the end of the block."""
        with self._out.live(self._lines) as self._drawn:
            yield

    def heard(self, builder: Path, event: Report | Progress) -> None:
        """Take one event of one file's build; may be called from any thread."""
        name = builder.stem
        with self._lock:
            if name in self._waiting:
                self._waiting.remove(name)
            begin, _ = self._running.get(name, (time.monotonic(), event))
            self._running[name] = begin, event
            if isinstance(event, Report) and event.step == "evaluate":
                self._figures.setdefault(name, []).append(event.outcome)
            if not self._drawn:
                self._print(event)

    def ended(self, outcome: Outcome) -> None:
        """Take the end of one file's build."""
        name = outcome.builder.stem
        with self._lock:
            self._running.pop(name, None)
            if name in self._waiting:
                self._waiting.remove(name)
        if outcome.error is not None:
            first = str(outcome.error).partition("\n")[0]
            self._out.note(f"✗ {name:<{self._width}}  {first}")
            return
        new = sum(built.new for built in outcome.built)
        many = "" if len(outcome.built) == 1 else "s"
        told = [f"{len(outcome.built)} model{many}, {new} published", *self._figures.get(name, [])]
        took = _clock(outcome.duration_s)
        self._out.note(f"✓ {name:<{self._width}}  {'; '.join(told)} · {took}")

    def _lines(self) -> Table:
        from rich.table import Table
        from rich.text import Text

        table = Table.grid(padding=(0, 2))
        with self._lock:
            for name, (begin, event) in self._running.items():
                table.add_row(
                    Text(name, style="bold"),
                    Text(f"{event.model}: {event.step}", no_wrap=True),
                    Text(f"{_bar(event):<{_BAR_CELLS}}", style="green"),
                    Text(_words(event), no_wrap=True, overflow="ellipsis"),
                    Text(_clock(time.monotonic() - begin), style="dim"),
                )
            if self._waiting:
                table.add_row(Text("waiting", style="dim"), Text(", ".join(self._waiting)))
        return table


def _bar(event: Report | Progress) -> str:
    if isinstance(event, Report) or not event.total:
        return ""
    return "━" * round(_BAR_CELLS * event.done / event.total)


def _words(event: Report | Progress) -> str:
    return event.text if isinstance(event, Progress) else event.outcome


def _clock(seconds: float) -> str:
    minutes, rest = divmod(seconds, 60)
    return f"{int(minutes)} min {rest:.0f} s" if minutes else f"{rest:.1f} s"

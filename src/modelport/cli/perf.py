"""``modelport perf``: load tests, their reports, and comparisons."""

from __future__ import annotations

import click

from modelport.cli import perf_compare, perf_report, perf_run


@click.group(name="perf")
def command() -> None:
    """Put models under load, and tell what they can take.

    The load is made by perf_analyzer, which is fetched where there is none. The content of every
    reply is checked; one wrong reply fails a test, however fast the others were.
    """


command.add_command(perf_run.run)
command.add_command(perf_report.report)
command.add_command(perf_compare.compare)

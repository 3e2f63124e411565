"""How a result of a load test looks in the terminal."""

from __future__ import annotations

from modelport.cli.output import Output
from modelport.perf.report import rows
from modelport.perf.result import Result


def show(out: Output, result: Result) -> None:
    """Show the levels, the objectives, what to bear in mind, and the verdict."""
    version = result.versions.get(result.model)
    out.text(result.model + (f" {version}" if version else ""))
    if result.levels:
        out.table("", *_without_empty(rows.LEVEL_COLUMNS, rows.levels(result)), whole=("level",))
    if result.objectives:
        out.table("", rows.OBJECTIVE_COLUMNS, rows.objectives(result.objectives))
    for caution in rows.cautions(result):
        out.note(caution)
    out.text(f"verdict: {result.verdict}")
    for reason in result.reasons:
        out.text(f"  {reason}")


def _without_empty(
    columns: tuple[str, ...], lines: list[rows.Row]
) -> tuple[list[str], list[list[object]]]:
    """Leave out the columns that no row has a figure for."""
    kept = [place for place in range(len(columns)) if any(x[place] is not None for x in lines)]
    return [columns[place] for place in kept], [[line[place] for place in kept] for line in lines]

"""`modelport doctor`: what is wrong in a model repository, with file, field and remedy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from modelport.cli import options
from modelport.cli.output import Output, pass_output
from modelport.errors import UnhealthyRepositoryError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelport.repository.doctor import Finding, Report
    from modelport.repository.doctor.mending import Plan

_SERVER_OPTIONS = click.option(
    "--server-options",
    metavar="TEXT|@FILE",
    help="Examine how tritonserver is started too: its options, or a file that holds them "
    "(a compose file, a Kubernetes manifest, a script).",
)


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME…]")
@options.REPOSITORY
@click.option("--fix", is_flag=True, help="Mend what has one right answer.")
@click.option("--dry-run", is_flag=True, help="With --fix: show what would change.")
@_SERVER_OPTIONS
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "sarif"]),
    default="text",
    show_default=True,
    help="How to print the findings; sarif is SARIF 2.1.0.",
)
@options.AS_JSON
@pass_output
def command(out: Output, /, names: tuple[str, ...], repository: Path, **given: Any) -> None:
    """Look for what would keep models from loading or answering rightly.

    A first argument that is a folder is taken for the repository. Ends with
    exit code 1 when an error was found; warnings alone end with 0. A comment
    `# modelport: ignore RULE reason` in config.pbtxt or model.py takes a finding
    away.
    """
    from modelport.repository import doctor, publish
    from modelport.repository.doctor import server_options

    if given["dry_run"] and not given["fix"]:
        raise click.UsageError("--dry-run goes with --fix")
    if names and _is_repository(names[0], repository):
        repository, names = Path(names[0]), names[1:]
    if (repository / publish.JOURNAL).is_file():
        out.note(
            "warning: a publication was cut short;"
            " the next command that changes the repository, or serve, finishes it"
        )
    started = given["server_options"]
    how = server_options.read(started) if started is not None else None
    form = "json" if given["as_json"] else given["form"]

    def examine() -> Report:
        return doctor.examine(repository, names=names or None, options=how)

    report = examine()
    plan = None
    if given["fix"]:
        plan = _mend(out, repository, report, dry_run=given["dry_run"], show=form == "text")
        report = report if given["dry_run"] or not plan.changes else examine()
    _print(out, form, report, plan)
    _raise_on_errors(repository, report.findings)


def _is_repository(argument: str, repository: Path) -> bool:
    """Tell a path from a model's name, which never holds a slash."""
    is_model = (repository / argument).is_dir()
    return "/" in argument or (Path(argument).is_dir() and not is_model)


def _mend(out: Output, repository: Path, report: Report, *, dry_run: bool, show: bool) -> Plan:
    from modelport.repository.doctor import mending

    plan = mending.plan(report.findings)
    if not dry_run and plan.changes:
        mending.carry_out(repository, plan.changes)
    if show:
        for change in plan.changes:
            out.text(change.diff.rstrip("\n"))
        word = "would change" if dry_run else "changed"
        out.note(f"{word} {_counted(len(plan.changes), 'file')}")
    for finding, reason in plan.left:
        out.note(f"{finding.rule} {finding.model}: not mended: {reason}")
    return plan


def _print(out: Output, form: str, report: Report, plan: Plan | None) -> None:
    if form == "sarif":
        from modelport.repository.doctor import sarif

        out.json(sarif.log(report, base=Path.cwd()))
    elif form == "json":
        out.json(
            {
                "models": report.models,
                "findings": [finding.as_json() for finding in report.findings],
                "ignored": [ignored.as_json() for ignored in report.ignored],
                **({"changes": [c.as_json() for c in plan.changes]} if plan else {}),
            }
        )
    else:
        _show(out, report)


def _show(out: Output, report: Report) -> None:
    for finding in report.findings:
        # One row would fold paths and field names; a block keeps each on its line.
        of = f"{finding.model}: " if finding.model else ""
        out.text(f"{finding.rule} {finding.severity}: {of}{finding.where}")
        for name in ("field", "expected", "got", "why", "fix"):
            if value := getattr(finding, name):
                out.text(f"    {name:<9} {value}")
    if not report.findings:
        out.text(f"{_counted(report.models, 'model')}, no problems")
    if report.ignored:
        out.note(f"{_counted(len(report.ignored), 'finding')} ignored, each with a reason")
    if any(finding.repairs for finding in report.findings):
        out.note("some of these can be mended: modelport doctor --fix --dry-run shows how")


def _counted(count: int, noun: str) -> str:
    return f"1 {noun}" if count == 1 else f"{count} {noun}s"


def _raise_on_errors(repository: Path, findings: Sequence[Finding]) -> None:
    errors = [finding for finding in findings if finding.severity == "error"]
    if not errors:
        return
    affected = sorted({finding.model or "the repository as a whole" for finding in errors})
    raise UnhealthyRepositoryError(
        f"{repository}: {_counted(len(errors), 'error')} in {', '.join(affected)}",
        next_step=f"mend them and run modelport doctor --repository {repository} again",
        path=repository,
        findings=findings,
    )

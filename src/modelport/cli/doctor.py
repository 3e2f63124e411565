"""`modelport doctor`: what is wrong in a model repository, with file, field and remedy."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from modelport.cli import options
from modelport.cli.output import Output, pass_output
from modelport.errors import UnhealthyRepositoryError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelport.repository.doctor import Finding


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME…]")
@options.REPOSITORY
@options.AS_JSON
@pass_output
def command(out: Output, names: tuple[str, ...], repository: Path, as_json: bool) -> None:
    """Look for what would keep models from loading or answering rightly.

    A first argument that is a folder is taken for the repository. Ends with
    exit code 1 when an error was found; warnings alone end with 0.
    """
    from modelport.repository import doctor, publish

    if names and _is_repository(names[0], repository):
        repository, names = Path(names[0]), names[1:]
    if (repository / publish.JOURNAL).is_file():
        out.note("warning: a publication was cut short; the next build or serve finishes it")
    findings = doctor.check(repository, names=names or None)
    count = len(set(names)) if names else len(doctor.models(repository))
    if as_json:
        out.json({"models": count, "findings": [finding.as_json() for finding in findings]})
    else:
        _show(out, count, findings)
    _raise_on_errors(repository, findings)


def _is_repository(argument: str, repository: Path) -> bool:
    """Tell a path from a model's name, which never holds a slash."""
    is_model = (repository / argument).is_dir()
    return "/" in argument or (Path(argument).is_dir() and not is_model)


def _show(out: Output, count: int, findings: Sequence[Finding]) -> None:
    if not findings:
        out.text(f"{count} {'model' if count == 1 else 'models'}, no problems")
    for finding in findings:
        # One row would fold paths and field names; a block keeps each on its line.
        out.text(f"{finding.rule} {finding.severity}: {finding.model}: {finding.where}")
        for name in ("field", "expected", "got", "why", "fix"):
            if value := getattr(finding, name):
                out.text(f"    {name:<9} {value}")


def _raise_on_errors(repository: Path, findings: Sequence[Finding]) -> None:
    errors = [finding for finding in findings if finding.severity == "error"]
    if not errors:
        return
    affected = sorted({finding.model for finding in errors})
    problems = "1 error" if len(errors) == 1 else f"{len(errors)} errors"
    raise UnhealthyRepositoryError(
        f"{repository}: {problems} in {', '.join(affected)}",
        next_step=f"mend them and run modelport doctor --repository {repository} again",
        path=repository,
        findings=findings,
    )

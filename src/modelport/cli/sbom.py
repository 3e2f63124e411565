"""``modelport sbom``: what a version is made of, for programs that look for licences and flaws."""

from __future__ import annotations

import json
from pathlib import Path

import click

from modelport.cli import options
from modelport.cli.output import Output, pass_output
from modelport.errors import PublishError
from modelport.repository import sbom
from modelport.repository.layout import Repository


@click.command(name="sbom")
@click.argument("name")
@click.argument("version", type=click.IntRange(1))
@options.REPOSITORY
@click.option(
    "--output", type=click.Path(dir_okay=False, path_type=Path), help="A file, in place of stdout."
)
@options.AS_JSON
@pass_output
def command(
    out: Output, name: str, version: int, repository: Path, output: Path | None, as_json: bool
) -> None:
    """Write the bill of materials of a version, as CycloneDX 1.6 JSON.

    It names the version's files, the models that it runs, its data with their licences, the
    builder file, the git commit, and the packages that were installed at the build. With --json
    it is one line.
    """
    found = sbom.bill(Repository(repository).model(name), version)
    if output is None:
        out.json(found) if as_json else out.text(json.dumps(found, indent=2, ensure_ascii=False))
        return
    try:
        output.write_text(json.dumps(found, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise PublishError(
            f"{output}: the bill cannot be written ({error.strerror})",
            next_step="--output with a file that you may write",
            path=output,
        ) from error
    if as_json:
        out.json({"path": str(output), "components": len(found["components"])})
    else:
        out.note(f"{len(found['components'])} components written to {output}")

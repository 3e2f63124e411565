"""``modelport codegen openapi`` and ``typescript``: what applications of the web work with."""

from __future__ import annotations

from pathlib import Path

import click

from modelport.cli import generated, interfaces, options
from modelport.cli.output import Output, pass_output

_STDOUT = Path("-")


@click.command(name="openapi")
@interfaces.NAMES
@options.REPOSITORY
@interfaces.BUILDERS
@click.option(
    "--out",
    "target",
    type=click.Path(path_type=Path, dir_okay=False, allow_dash=True),
    default=_STDOUT,
    show_default=True,
    help="A file; - for stdout.",
)
@interfaces.CHECK
@options.AS_JSON
@pass_output
def openapi(
    out: Output,
    /,
    names: tuple[str, ...],
    repository: Path,
    builders: Path | None,
    target: Path,
    check: bool,
    as_json: bool,
) -> None:
    """Describe HTTP endpoints as OpenAPI.

    Of all public models, or of those named: what tritonserver really answers, tensors with their
    ranges and labels, and the statuses and content types of errors, as OpenAPI 3.1 in JSON. With
    --json it is one line.
    """
    from modelport.codegen import openapi as generator

    found = interfaces.chosen(repository, names, builders)
    if target == _STDOUT:
        if check:
            raise click.UsageError("--check compares a file: give it with --out")
        out.json(generator.document(found)) if as_json else out.text(generator.text(found)[:-1])
        return
    content = {target.name: generator.text(found)}
    if check:
        again = generated.again("openapi", names, repository, builders, target)
        generated.check(out, target.parent, content, again, as_json=as_json)
    else:
        generated.write(out, target.parent, content, as_json=as_json)


@click.command(name="typescript")
@interfaces.NAMES
@options.REPOSITORY
@interfaces.BUILDERS
@click.option(
    "--out",
    "target",
    type=click.Path(path_type=Path, file_okay=False),
    required=True,
    help="Where the package lies.",
)
@click.option("--name", default="models", show_default=True, help="Of the npm package.")
@interfaces.CHECK
@options.AS_JSON
@pass_output
def typescript(
    out: Output,
    /,
    names: tuple[str, ...],
    repository: Path,
    builders: Path | None,
    target: Path,
    name: str,
    check: bool,
    as_json: bool,
) -> None:
    """Write a client for browsers and node.

    A TypeScript package that calls all public models, or those named, over fetch. It depends on
    nothing; `npm install && npx tsc` in its folder makes JavaScript and declarations of it.
    """
    from modelport.codegen import typescript as generator

    found = interfaces.chosen(repository, names, builders)
    content = generator.package(found, name=name)
    if check:
        again = generated.again("typescript", names, repository, builders, target, "--name", name)
        generated.check(out, target, content, again, as_json=as_json)
    else:
        generated.write(out, target, content, as_json=as_json)
    for model, why in generator.left_out(found).items():
        out.note(f"{model} is left out: {why}")

"""``modelport codegen openapi`` and ``typescript``: what applications of the web work with."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path

import click

from modelport.cli import interfaces, options
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
    again = _again("openapi", names, repository, builders, target)
    content = {target.name: generator.text(found)}
    _write(out, target.parent, content, again, check=check, as_json=as_json)


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
    again = _again("typescript", names, repository, builders, target, "--name", name)
    _write(out, target, content, again, check=check, as_json=as_json)
    for model, why in generator.left_out(found).items():
        out.note(f"{model} is left out: {why}")


def _write(
    out: Output,
    folder: Path,
    content: Mapping[str, str],
    again: str,
    *,
    check: bool,
    as_json: bool,
) -> None:
    """Write files, or compare them, and say so."""
    from modelport.codegen import files

    if check:
        differences = files.differences(folder, content)
        if as_json:
            out.json([one._asdict() for one in differences])
        files.refuse(folder, differences, again)
        if not as_json:
            are = "file is" if len(content) == 1 else "files are"
            out.text(f"{folder}: {len(content)} {are} what would be generated now")
        return
    written = files.write(folder, content)
    if as_json:
        out.json({"folder": str(folder), "files": sorted(content), "written": written})
        return
    for path in written:
        out.text(f"{folder / path}")
    same = len(content) - len(written)
    noun = "file" if len(written) == 1 else "files"
    out.note(f"{len(written)} {noun} written" + (f", {same} as they were" if same else ""))


def _again(
    what: str,
    names: tuple[str, ...],
    repository: Path,
    builders: Path | None,
    target: Path,
    *more: str,
) -> str:
    """Give the command that writes what was checked."""
    source = ["--builders", str(builders)] if builders else ["--repository", str(repository)]
    words = ["modelport", "codegen", what, *names, *source, "--out", str(target), *more]
    return shlex.join(words)

"""``modelport codegen``: typed clients and documents, generated from the repository."""

from __future__ import annotations

from pathlib import Path

import click

from modelport.cli import codegen_web, generated, interfaces, options
from modelport.cli.output import Output, pass_output


@click.group(name="codegen")
def command() -> None:
    """Generate what applications call models with, from what the repository says of them."""


command.add_command(codegen_web.openapi)
command.add_command(codegen_web.typescript)


@command.command(name="python")
@interfaces.NAMES
@options.REPOSITORY
@interfaces.BUILDERS
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("clients"),
    show_default=True,
    help="Where the files lie.",
)
@click.option("--package", metavar="NAME", help="Write a pip-installable package of this name.")
@click.option(
    "--version", default="0.1.0", show_default=True, help="Of the package (see --package)."
)
@interfaces.CHECK
@options.AS_JSON
@pass_output
def python(
    out: Output,
    /,
    names: tuple[str, ...],
    repository: Path,
    builders: Path | None,
    package: str | None,
    version: str,
    check: bool,
    as_json: bool,
    **where: Path,
) -> None:
    """Write a typed wrapper for each model.

    All public models have one, or those that are named; each is a program too.

    What is generated follows from the interface alone, so that a new version of a model with the
    same tensors changes nothing. A checkout without built models has no words on what tensors
    mean: --check then compares the tensors; --builders asks the builder files instead.
    """
    from modelport.codegen import python, python_package

    folder = where["out"]
    found = interfaces.chosen(repository, names, builders)
    if package is not None:
        content = python_package.files(found, package, version)
    else:
        content = python.modules(found, folder.as_posix())
    same = python.comparison(found)
    if not check:
        generated.write(out, folder, content, as_json=as_json, same=same)
        return
    more = ["--package", package, "--version", version] if package else []
    generated.check(
        out,
        folder,
        content,
        generated.again("python", names, repository, builders, folder, *more),
        as_json=as_json,
        same=same,
        ours=None if names else python.is_generated,
        pattern="src/*/*.py" if package else "*.py",
    )
    unbuilt = [one.model for one in found if not one.described]
    if unbuilt and not as_json:
        out.note(f"not built here, so only tensors were compared: {', '.join(unbuilt)}")

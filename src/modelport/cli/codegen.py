"""``modelport codegen``: typed clients and documents, generated from the repository."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

import click

from modelport.cli import codegen_web, interfaces, options
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
    from modelport.codegen import files, python, python_package

    folder = where["out"]
    found = interfaces.chosen(repository, names, builders)
    if package is not None:
        content = python_package.files(found, package, version)
    else:
        content = python.modules(found, folder.as_posix())
    if not check:
        written = files.write(folder, content, same=python.comparison(found))
        _tell(out, folder, content, written, as_json=as_json)
        return
    differences = files.differences(
        folder,
        content,
        same=python.comparison(found),
        ours=None if names else python.is_generated,
        pattern="src/*/*.py" if package else "*.py",
    )
    if as_json:
        out.json([one._asdict() for one in differences])
    files.refuse(folder, differences, _mend(folder, names, repository, builders, package, version))
    if not as_json:
        out.text(f"{folder}: {len(content)} files are what would be generated now")
        unbuilt = [one.model for one in found if not one.described]
        if unbuilt:
            out.note(f"not built here, so only tensors were compared: {', '.join(unbuilt)}")


def _tell(
    out: Output, folder: Path, content: dict[str, str], written: list[str], *, as_json: bool
) -> None:
    if as_json:
        out.json({"folder": str(folder), "files": sorted(content), "written": written})
        return
    for name in written:
        out.text(f"{folder / name}")
    same = len(content) - len(written)
    out.note(f"{len(written)} files written" + (f", {same} as they were" if same else ""))


def _mend(
    folder: Path,
    names: Sequence[str],
    repository: Path,
    builders: Path | None,
    package: str | None,
    version: str,
) -> str:
    """Give the command that writes what was checked."""
    words = ["modelport", "codegen", "python", *names]
    words += ["--builders", str(builders)] if builders else ["--repository", str(repository)]
    words += ["--out", str(folder)]
    words += ["--package", package, "--version", version] if package else []
    return shlex.join(words)

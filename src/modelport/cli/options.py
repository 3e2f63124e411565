"""Options that several commands share, each defined once."""

from __future__ import annotations

from pathlib import Path

import click

REPOSITORY = click.option(
    "--repository",
    type=click.Path(path_type=Path),
    default=Path("model_repository"),
    show_default=True,
    help="The model repository: a folder of model folders.",
)
REPOSITORY_OR_STORE = click.option(
    "--repository",
    default="model_repository",
    show_default=True,
    help="The model repository, or s3://bucket/prefix.",
)
BUILDERS = click.option(
    "--builders",
    type=click.Path(path_type=Path),
    default=Path("builders"),
    show_default=True,
    help="Folder of builder files, or one of them.",
)
DRY_RUN = click.option("--dry-run", is_flag=True, help="Say what would change; change nothing.")


def complete_model(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Complete the name of a model for the shell; needs no more than the folder's names."""
    repository = ctx.params.get("repository") or Path("model_repository")
    try:
        folders = sorted(entry.name for entry in repository.iterdir() if entry.is_dir())
    except OSError:
        return []
    return [name for name in folders if name.startswith(incomplete) and name[0] != "."]


MODEL = click.argument("model", metavar="NAME", shell_complete=complete_model)
HOST = click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")

AS_JSON = click.option("--json", "as_json", is_flag=True, help="Print one line of JSON.")

PUBLIC_KEYS = click.option(
    "--key",
    "trusted",
    multiple=True,
    type=click.Path(path_type=Path),
    help="A public key that demands signatures, whatever modelport.toml says; may be repeated.",
)

JOBS = click.option(
    "--jobs",
    type=click.IntRange(1),
    help="Builder files built at once; default: one per core, as memory allows.",
)

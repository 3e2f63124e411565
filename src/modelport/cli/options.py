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
BUILDERS = click.option(
    "--builders",
    type=click.Path(path_type=Path),
    default=Path("builders"),
    show_default=True,
    help="Folder of builder files, or one of them.",
)
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

"""``modelport codegen``: typed clients and documents, generated from the repository."""

from __future__ import annotations

import click


@click.group(name="codegen")
def command() -> None:
    """Generate what applications call models with, from what the repository says of them."""

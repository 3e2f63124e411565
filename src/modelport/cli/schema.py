"""``modelport schema``: what callers rely on, and whether a change breaks them."""

from __future__ import annotations

import click


@click.group(name="schema")
def command() -> None:
    """Show the interfaces of models, and whether a change breaks those who call them."""

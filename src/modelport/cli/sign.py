"""``modelport sign``: put a signature beside the manifest of versions."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from modelport.cli import options, versions_named
from modelport.cli.keys import passphrase_of
from modelport.cli.output import Output, pass_output
from modelport.repository import keys, signing
from modelport.repository.layout import Repository


@click.command(name="sign")
@versions_named.NAME
@versions_named.VERSION
@options.REPOSITORY
@click.option(
    "--key",
    "private_key",
    required=True,
    type=click.Path(path_type=Path),
    help="The private key, from `modelport keys new`.",
)
@click.option("--dry-run", is_flag=True, help="Say what would be signed.")
@options.AS_JSON
@pass_output
def command(
    out: Output,
    name: str | None,
    version: int | None,
    repository: Path,
    private_key: Path,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Sign versions: one, all of a model, or all there are.

    A signature covers the manifest and every file that it lists. What this key signed before
    stays as it is; a version that is not what its manifest says is not signed, and nothing else
    then either. Versions of an older Modelport, which hold no config.pbtxt, are left out.
    """
    chosen = versions_named.named(Repository(repository), name, version)
    passphrase = passphrase_of(private_key)
    signed = signing.sign(
        repository,
        chosen,
        private_key,
        passphrase,
        dry_run=dry_run,
        leave_out=version is None,
    )
    if as_json:
        out.json([asdict(one) for one in signed])
        return
    words = {"signed": "would be signed" if dry_run else "signed", "unchanged": "signed before"}
    rows = [
        (one.model, one.version, words.get(one.state, one.state), one.reason or None)
        for one in signed
    ]
    out.table("", ("model", "version", "", "why"), rows)
    if not dry_run:
        out.note(f"next: modelport verify --key {keys.public_path(private_key)}")

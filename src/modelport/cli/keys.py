"""``modelport keys``: key pairs that versions are signed with."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from modelport.cli import options
from modelport.cli.output import Output, pass_output
from modelport.errors import SigningKeyError
from modelport.repository import keys


@click.group(name="keys")
def command() -> None:
    """Make key pairs to sign versions with."""


@command.command(name="new")
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--passphrase", is_flag=True, help="Ask for a passphrase that protects the key.")
@options.REPOSITORY
@options.AS_JSON
@pass_output
def new(out: Output, path: Path, passphrase: bool, repository: Path, as_json: bool) -> None:
    """Write a private key to PATH, for you alone, and its public key to PATH.pub.

    The passphrase is that of MODELPORT_KEY_PASSPHRASE, where it is set. Nothing is overwritten.
    """
    if path.resolve().is_relative_to(repository.resolve()):
        raise SigningKeyError(
            f"{path} lies in the repository, which is copied to where it serves",
            next_step="keep private keys elsewhere; only the .pub file may go there",
            path=path,
        )
    secret = os.environ.get(keys.PASSPHRASE_VARIABLE) or None
    if passphrase and not secret:
        secret = click.prompt("Passphrase", hide_input=True, confirmation_prompt=True, err=True)
    made = keys.generate(path, secret)
    if as_json:
        out.json(
            {
                "private": str(path),
                "public": str(made.path),
                "fingerprint": made.fingerprint,
                "encrypted": secret is not None,
            }
        )
        return
    protected = "its passphrase opens it" if secret else "whoever has the file can sign"
    out.text(f"private key: {path} ({protected})")
    out.text(f"public key:  {made.path} (give it to whoever checks)")
    out.text(f"fingerprint: {made.fingerprint}")
    out.note(f"next: modelport sign --key {path}")


def passphrase_of(path: Path) -> str | None:
    """Give the passphrase of a private key: from the environment, or from whoever sits there."""
    if not keys.is_encrypted(path):
        return None
    if secret := os.environ.get(keys.PASSPHRASE_VARIABLE):
        return secret
    if not sys.stdin.isatty():
        return None  # the library says what is missing
    asked: str = click.prompt(f"Passphrase of {path}", hide_input=True, err=True)
    return asked

"""Signing versions: what the manifest lists, and the manifest, with a private key, offline."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from modelport.errors import IntegrityError, RepositoryError, SigningKeyError
from modelport.repository import keys, publish, signature, trust
from modelport.repository.keys import PublicKey
from modelport.repository.layout import CONFIG, ModelFolder
from modelport.repository.manifest import FILE_NAME as MANIFEST
from modelport.repository.publish import Move
from modelport.repository.signature import FILE_NAME as SIGNATURE

if TYPE_CHECKING:
    from model_signing import signing


@dataclass(frozen=True)
class Signed:
    """What became of one version.

    Attributes:
        state: ``signed`` now; ``unchanged``: this key has signed it before; ``left out``: it does
            not hold what a signature must cover.
        reason: why it is signed, or left out.
    """

    model: str
    version: int
    state: Literal["signed", "unchanged", "left out"]
    reason: str = ""


def sign(
    repository: Path,
    versions: Sequence[tuple[ModelFolder, int]],
    private_key: Path,
    passphrase: str | None = None,
    *,
    dry_run: bool = False,
    leave_out: bool = False,
) -> list[Signed]:
    """Sign versions, all of them or none; those that this key has signed already stay as they are.

    Args:
        repository: that they lie in.
        versions: models with version numbers.
        private_key: PEM file; its content goes to the signer and nowhere else.
        passphrase: of the key.
        dry_run: say what would be signed.
        leave_out: pass over versions of before Modelport kept configurations in them.

    Raises:
        IntegrityError: a file of a version is not what its manifest says; nothing is signed.
        RepositoryError: a version does not hold what decides how it is run; nothing is signed.
        SigningKeyError: the key cannot be used.
        PublishError: the disk stands in the way.
        MissingExtraError: the packages for signing are not installed.
    """
    keys.need_library()
    _refuse_inside(repository, private_key)
    with publish.explained(repository, "sign"), tempfile.TemporaryDirectory() as folder:
        public = keys.public_half(private_key, passphrase, Path(folder))
        found = [_decided(model, version, public) for model, version in versions]
    if not leave_out:
        for one in found:
            _refuse_left_out(repository, one)
    new = [pair for pair, one in zip(versions, found, strict=True) if one.state == "signed"]
    if new and not dry_run:
        _sign_all(repository, new, private_key, passphrase)
    return found


def _refuse_inside(repository: Path, private_key: Path) -> None:
    """A repository is copied to servers and stores, and its private key would go along."""
    if private_key.resolve().is_relative_to(repository.resolve()):
        raise SigningKeyError(
            f"{private_key} lies in the repository, which is copied to where it serves",
            next_step="move the private key out of it, and take it for known to whoever had a copy",
            path=private_key,
        )


def _decided(folder: ModelFolder, version: int, public: PublicKey) -> Signed:
    """Say what is to become of a version.

    Raises:
        IntegrityError: it is not what was proven, or not what was signed before.
    """
    found = trust.examine(folder, version, (public,), live=False)
    if found.state in {"altered", "unproven"}:
        trust.check(folder, version, (public,), live=False)
    if found.state == "ok":
        return Signed(folder.name, version, "unchanged")
    held = {entry.path for entry in folder.manifest(version).files}
    if folder.config_path.is_file() and CONFIG not in held:
        problem = f"it holds no {CONFIG}, so a signature would not say how it is run"
        return Signed(folder.name, version, "left out", problem)
    return Signed(folder.name, version, "signed", found.problem)


def _refuse_left_out(repository: Path, one: Signed) -> None:
    if one.state == "left out":
        raise RepositoryError(
            f"{repository / one.model / str(one.version)}: {one.reason}",
            cause="an older Modelport published it",
            next_step=f"modelport build {one.model}, which publishes it anew",
            model=one.model,
            version=one.version,
        )


def _sign_all(
    repository: Path,
    versions: Sequence[tuple[ModelFolder, int]],
    private_key: Path,
    passphrase: str | None,
) -> None:
    from model_signing import signing

    # The library passes it on to what wants bytes, though it says text.
    secret: str | None = passphrase.encode() if passphrase else None  # type: ignore[assignment]
    if secret is not None and not keys.is_encrypted(private_key):
        secret = None
    config = signing.Config()  # type: ignore[no-untyped-call]
    config.use_elliptic_key_signer(private_key=private_key, password=secret)
    stage = publish.new_stage(repository, "sign")
    try:
        moves = []
        with publish.explained(repository, "sign"):
            for folder, version in versions:
                made = _sign_one(stage, folder, version, config)
                moves.append(Move(made, folder.version_dir(version) / SIGNATURE))
        with publish.locked(repository):
            # A version that was removed meanwhile must not come back as a lone signature.
            moves = [move for move in moves if (move.published.parent / MANIFEST).is_file()]
            publish.apply(repository, moves)
    finally:
        publish.discard(repository, stage)


def _sign_one(stage: Path, folder: ModelFolder, version: int, config: signing.Config) -> Path:
    """Sign links to the files, so that the folder holds nothing else; gives the signature."""
    manifest = folder.manifest(version)
    target = stage / f"{folder.name}.{version}.sig"
    files = stage / folder.name / str(version)
    for path in (MANIFEST, *(entry.path for entry in manifest.files)):
        _link(folder.version_dir(version) / path, files / path)
    try:
        made = signature.write(files, target, config)
    finally:
        shutil.rmtree(files)
    listed = {entry.path: entry.sha256 for entry in manifest.files}
    if {path: d for path, d in made.digests.items() if path != MANIFEST} != listed:
        raise IntegrityError(
            f"{folder.version_dir(version)} changed while it was signed",
            next_step=f"modelport verify {folder.name} {version} says what",
            path=folder.version_dir(version),
        )
    return target


def _link(file: Path, link: Path) -> None:
    link.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(file, link)
    except OSError:  # some file systems have no hard links, or forbid those to others' files
        shutil.copyfile(file, link)

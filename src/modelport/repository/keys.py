"""Key pairs that versions are signed with: elliptic curve P-256, in PEM files.

The private key is written for its owner alone and read by nothing but the signer; no function
here gives it away, and no message shows more of it than the path.
"""

from __future__ import annotations

import errno
import hashlib
import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from modelport.errors import MissingExtraError, SigningKeyError
from modelport.repository.publish import likely_cause

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import (
        EllipticCurvePrivateKey,
        EllipticCurvePublicKey,
    )

PASSPHRASE_VARIABLE = "MODELPORT_KEY_PASSPHRASE"  # noqa: S105 - the name, not the secret
_PUBLIC_SUFFIX = ".pub"
# Those that model-signing takes; ours are of the first.
_CURVES = ("secp256r1", "secp384r1", "secp521r1")


@dataclass(frozen=True)
class PublicKey:
    """A key that signatures are checked with.

    Attributes:
        path: its file.
        fingerprint: SHA-256 of its PEM text, by which a signature names the key that made it.
    """

    path: Path
    fingerprint: str


def public_path(private: Path) -> Path:
    """Say where the public half of a key lies."""
    return private.with_name(private.name + _PUBLIC_SUFFIX)


def generate(path: Path, passphrase: str | None = None) -> PublicKey:
    """Make a key pair: the private key in ``path`` with mode 0600, the public one in ``path.pub``.

    Args:
        path: where the private key goes; its folder exists.
        passphrase: encrypts the private key; None leaves it readable by whoever has the file.

    Raises:
        SigningKeyError: a file is there already, or cannot be written.
        MissingExtraError: the packages for signing are not installed.
    """
    _need_library()
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    for taken in (path, public_path(path)):
        if taken.exists():
            raise _taken(taken)
    private = ec.generate_private_key(ec.SECP256R1())
    encryption = (
        serialization.BestAvailableEncryption(passphrase.encode())
        if passphrase
        else serialization.NoEncryption()
    )
    content = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption
    )
    _write(path, content, 0o600)
    try:
        _write(public_path(path), _pem(private.public_key()), 0o644)
    except SigningKeyError:
        path.unlink()
        raise
    return PublicKey(public_path(path), _fingerprint(private.public_key()))


def read_public(path: Path) -> PublicKey:
    """Read a public key.

    Raises:
        SigningKeyError: it is missing, or no public key of an elliptic curve.
        MissingExtraError: the packages for signing are not installed.
    """
    _need_library()
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    content = _read(path)
    if b"PRIVATE KEY" in content:
        raise SigningKeyError(
            f"{path} holds a private key, and signatures are checked with the public one",
            next_step=f"give {public_path(path)}, and keep the private key where only signers are",
            path=path,
        )
    try:
        key = load_pem_public_key(content)
    except ValueError as error:
        raise _unusable(path, "is no public key in PEM") from error
    if not isinstance(key, ec.EllipticCurvePublicKey) or key.curve.name not in _CURVES:
        raise _unusable(path, "is no key of an elliptic curve that signatures may have")
    return PublicKey(path, _fingerprint(key))


def is_encrypted(path: Path) -> bool:
    """Say whether a private key needs its passphrase; raises :class:`SigningKeyError`."""
    return b"ENCRYPTED" in _read(path)


def public_half(private: Path, passphrase: str | None, folder: Path) -> PublicKey:
    """Write the public half of a private key into a folder.

    Raises:
        SigningKeyError: the key is missing, another passphrase opens it, or it is none to sign
            with.
        MissingExtraError: the packages for signing are not installed.
    """
    _need_library()
    key = _open_private(private, passphrase).public_key()
    path = public_path(folder / private.name)
    _write(path, _pem(key), 0o644)
    return PublicKey(path, _fingerprint(key))


def _open_private(path: Path, passphrase: str | None) -> EllipticCurvePrivateKey:
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    encrypted = is_encrypted(path)
    if encrypted and not passphrase:
        raise SigningKeyError(
            f"{path} is protected by a passphrase",
            next_step=f"set {PASSPHRASE_VARIABLE}, or run this in a terminal, which asks for it",
            path=path,
        )
    try:
        secret = passphrase.encode() if encrypted and passphrase else None
        key = load_pem_private_key(_read(path), secret)
    except (TypeError, ValueError) as error:
        if encrypted:
            raise SigningKeyError(
                f"{path}: the passphrase does not open it",
                cause=f"{PASSPHRASE_VARIABLE} is that of another key, or was mistyped",
                next_step="try again with the passphrase of this key",
                path=path,
            ) from None  # the chain would hold the passphrase's neighbours
        raise _unusable(path, "is no private key in PEM") from error
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.curve.name not in _CURVES:
        raise _unusable(path, "is no key of an elliptic curve that can sign")
    return key


def need_library() -> None:
    """Import what signs and checks; raises :class:`MissingExtraError` where it is not there."""
    _need_library()
    try:
        import model_signing.signing
        import model_signing.verifying  # noqa: F401 - the callers import what they use
    except ModuleNotFoundError as error:
        raise _missing(error) from error


def _need_library() -> None:
    try:
        import cryptography  # noqa: F401 - the callers import what they use
    except ModuleNotFoundError as error:
        raise _missing(error) from error


def _missing(error: ModuleNotFoundError) -> MissingExtraError:
    return MissingExtraError(
        f"signatures need the package {error.name!r}, which is not installed",
        cause="signing and checking signatures is an extra",
        next_step="pip install 'modelport[sign]'",
        package=error.name,
    )


def _pem(key: EllipticCurvePublicKey) -> bytes:
    from cryptography.hazmat.primitives import serialization

    return key.public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )


def _fingerprint(key: EllipticCurvePublicKey) -> str:
    return hashlib.sha256(_pem(key)).hexdigest()


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise SigningKeyError(
            f"{path}: the key cannot be read ({error.strerror})",
            next_step="modelport keys new PATH makes one, or give the path of yours",
            path=path,
        ) from error


def _write(path: Path, content: bytes, mode: int) -> None:
    """Write a new file that never has wider permissions than ``mode``, and never another's."""
    made = False
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        made = True
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        if made:
            with suppress(OSError):
                path.unlink()
        if error.errno == errno.EEXIST:
            raise _taken(path) from error
        raise SigningKeyError(
            f"{path}: the key cannot be written ({error.strerror})",
            cause=likely_cause(error),
            next_step="choose a folder that is there and that you may write to",
            path=path,
        ) from error


def _taken(path: Path) -> SigningKeyError:
    return SigningKeyError(
        f"{path} is there already, and no key is overwritten",
        cause="whatever it signed could be checked no more",
        next_step="choose another name",
        path=path,
    )


def _unusable(path: Path, problem: str) -> SigningKeyError:
    return SigningKeyError(
        f"{path} {problem}",
        next_step="modelport keys new PATH makes a pair that can be used",
        path=path,
    )

"""Private keys are for their owner alone, and what cannot be used is said before it is used."""

from __future__ import annotations

import stat
import traceback
from pathlib import Path

import pytest
import small_versions
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from modelport.errors import SigningKeyError
from modelport.repository import keys, signing

SECRET = "correct horse battery staple"


def test_only_the_owner_may_read_the_private_key(tmp_path: Path) -> None:
    keys.generate(tmp_path / "team")
    assert stat.S_IMODE((tmp_path / "team").stat().st_mode) == 0o600
    assert b"PRIVATE" not in (tmp_path / "team.pub").read_bytes()


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    keys.generate(tmp_path / "team")
    before = (tmp_path / "team").read_bytes()
    with pytest.raises(SigningKeyError, match="no key is overwritten"):
        keys.generate(tmp_path / "team")
    (tmp_path / "other.pub").write_text("somebody's")
    with pytest.raises(SigningKeyError, match=r"other\.pub is there already"):
        keys.generate(tmp_path / "other")
    assert not (tmp_path / "other").exists()
    assert (tmp_path / "team").read_bytes() == before


def test_a_passphrase_protects_the_key(tmp_path: Path) -> None:
    made = keys.generate(tmp_path / "team", SECRET)
    assert keys.is_encrypted(tmp_path / "team")
    half = keys.public_half(tmp_path / "team", SECRET, tmp_path / "..")
    half.path.unlink()
    assert half.fingerprint == made.fingerprint
    with pytest.raises(SigningKeyError, match="protected by a passphrase"):
        keys.public_half(tmp_path / "team", None, tmp_path)


def test_a_wrong_passphrase_is_not_shown(tmp_path: Path) -> None:
    keys.generate(tmp_path / "team", SECRET)
    mistyped = SECRET[:-1]
    with pytest.raises(SigningKeyError, match="does not open it") as caught:
        keys.public_half(tmp_path / "team", mistyped, tmp_path)
    assert mistyped not in "".join(traceback.format_exception(caught.value))


def test_an_encrypted_key_signs(tmp_path: Path) -> None:
    made = keys.generate(tmp_path / "team", SECRET)
    small_versions.publish(tmp_path / "repository", "net")
    net = small_versions.model(tmp_path / "repository", "net")
    signing.sign(tmp_path / "repository", [(net, 1)], tmp_path / "team", SECRET)
    assert made.fingerprint in (net.path / "1" / "model.sig").read_text()


def test_a_private_key_in_the_repository_is_refused(tmp_path: Path) -> None:
    """The repository is copied to every server."""
    small_versions.publish(tmp_path / "repository", "net")
    net = small_versions.model(tmp_path / "repository", "net")
    keys.generate(tmp_path / "repository" / "team")
    with pytest.raises(SigningKeyError, match="lies in the repository"):
        signing.sign(tmp_path / "repository", [(net, 1)], tmp_path / "repository" / "team")


def test_keys_that_cannot_be_used_are_named(tmp_path: Path) -> None:
    keys.generate(tmp_path / "team")
    with pytest.raises(SigningKeyError, match="holds a private key"):
        keys.read_public(tmp_path / "team")
    with pytest.raises(SigningKeyError, match="is no private key"):
        keys.public_half(tmp_path / "team.pub", None, tmp_path)
    with pytest.raises(SigningKeyError, match="cannot be read"):
        keys.read_public(tmp_path / "absent.pub")
    (tmp_path / "text.pub").write_text("hello")
    with pytest.raises(SigningKeyError, match="is no public key"):
        keys.read_public(tmp_path / "text.pub")
    other = rsa.generate_private_key(public_exponent=65537, key_size=2048).public_key()
    pem, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    (tmp_path / "rsa.pub").write_bytes(other.public_bytes(pem, form))
    with pytest.raises(SigningKeyError, match="elliptic curve"):
        keys.read_public(tmp_path / "rsa.pub")

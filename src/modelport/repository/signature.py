"""The signature of a version: a file beside its manifest, made and read by ``model-signing``.

``model.sig`` is a Sigstore bundle over an in-toto statement that names every file with its
SHA-256 (OpenSSF Model Signing 1.0), so that ``model_signing verify key`` reads it too. What is
signed is the manifest and every file that it lists.

The library reads a bundle generously: spaces, the order of fields and fields that it does not
know are all the same to it. Here a bundle has one spelling, so that no byte of it can change
without being noticed.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelport.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from model_signing import signing

FILE_NAME = "model.sig"


@dataclass(frozen=True)
class Signature:
    """What a signature file says, whether it is true or not.

    Attributes:
        path: the file.
        key: fingerprint of the key that is said to have made it.
        digests: SHA-256 of every file that it speaks of.
    """

    path: Path
    key: str
    digests: Mapping[str, str]

    @classmethod
    def read(cls, path: Path) -> Signature:
        """Read a signature file; :meth:`prove` says whether to believe it.

        Raises:
            IntegrityError: it is not one as they are written here.
        """
        try:
            text = path.read_text(encoding="utf-8")
            bundle = json.loads(text)
            envelope = bundle["dsseEnvelope"]
            statement = json.loads(base64.b64decode(envelope["payload"], validate=True))
            resources = statement["predicate"]["resources"]
            key = bundle["verificationMaterial"]["publicKey"]["hint"]
            expected = _bundle(key, envelope["payload"], envelope["signatures"][0]["sig"])
            digests = {entry["name"]: entry["digest"] for entry in resources}
            plain = all(entry["algorithm"] == "sha256" for entry in resources)
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise _altered(path, "it is no signature, or was cut short") from error
        if text != spelled(expected) or not plain:
            raise _altered(path, "it is not spelled as it was written")
        return cls(path, key, digests)

    def prove(self, public_key: Path) -> None:
        """Check it with a key, against the files in its folder.

        Raises:
            IntegrityError: the key did not make it, or a file is not what was signed.
        """
        from cryptography.exceptions import InvalidSignature
        from model_signing import verifying

        config = verifying.Config()  # type: ignore[no-untyped-call]
        config.use_elliptic_key_verifier(public_key=public_key)
        # Others are found by whoever knows what belongs there.
        config.set_ignore_unsigned_files(True)
        try:
            config.verify(self.path.parent, self.path)
        except (InvalidSignature, ValueError, LookupError, TypeError, OSError) as error:
            raise _altered(self.path, str(error) or "its key did not make it") from error


def write(files: Path, target: Path, config: signing.Config) -> Signature:
    """Sign all files of a folder.

    Args:
        files: the folder, which holds what is signed and nothing else.
        target: the signature file.
        config: the signer, with its key.
    """
    from model_signing import hashing

    everything = hashing.Config()  # type: ignore[no-untyped-call]
    everything.set_ignored_paths(paths=(), ignore_git_paths=False)
    try:
        config.set_hashing_config(everything).sign(files, target)
    except ValueError as error:  # a link, whose target nobody could vouch for
        raise IntegrityError(f"{files}: cannot be signed: {error}", path=files) from error
    target.write_text(spelled(json.loads(target.read_bytes())), encoding="utf-8")
    return Signature.read(target)


def spelled(bundle: object) -> str:
    """Write a bundle in the one way that is taken for a signature."""
    return json.dumps(bundle, indent=1, sort_keys=True) + "\n"


def _bundle(key: str, payload: str, signature: str) -> dict[str, Any]:
    """Give the bundle that has these parts, in their own one spelling, and nothing else."""
    return {
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {"publicKey": {"hint": key}, "tlogEntries": []},
        "dsseEnvelope": {
            "payload": _base64(payload),
            "payloadType": "application/vnd.in-toto+json",
            "signatures": [{"sig": _base64(signature), "keyid": ""}],
        },
    }


def _base64(text: str) -> str:
    # The last character carries bits that mean nothing; encoding again sets them to zero.
    return base64.b64encode(base64.b64decode(text, validate=True)).decode("ascii")


def _altered(path: Path, problem: str) -> IntegrityError:
    return IntegrityError(
        f"{path}: {problem}",
        cause="the file was changed after it was signed, or is of another version",
        next_step="restore the version, or sign it again: modelport sign",
        path=path,
    )

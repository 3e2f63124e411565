"""Whether versions are what was proven, and signed by somebody who is trusted.

``[trust]`` in ``modelport.toml`` demands signatures; a key given on the command line demands
them whatever that file says, for whoever may write the repository may write the file too.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from modelport.errors import IntegrityError, RepositoryError
from modelport.repository import beside, digests, keys, settings
from modelport.repository.keys import PublicKey
from modelport.repository.layout import ModelFolder
from modelport.repository.manifest import FILE_NAME as MANIFEST
from modelport.repository.manifest import Manifest
from modelport.repository.settings import Settings
from modelport.repository.signature import FILE_NAME as SIGNATURE
from modelport.repository.signature import Signature

State = Literal["ok", "unsigned", "unchecked", "altered", "wrong key", "unproven"]

BYTECODE = "__pycache__"


@dataclass(frozen=True)
class Verdict:
    """What was found of one version.

    Attributes:
        state: ``ok``; ``unsigned``; ``unchecked``: signed, but no key was given to check with;
            ``altered``: a file is not what was proven or signed; ``wrong key``: none of the
            keys signed it; ``unproven``: it has no manifest.
        serves: by the version policy.
        file: that is altered.
        problem: what is wrong, in words.
    """

    model: str
    version: int
    state: State
    serves: bool
    file: str | None = None
    problem: str = ""

    def is_wrong(self, *, demanded: bool) -> bool:
        """Say whether it is not to be served; without a signature only where one is demanded."""
        return self.state != "ok" if demanded else self.state in {"altered", "unproven"}


def known_keys(repository: Path, given: Sequence[Path] = ()) -> tuple[PublicKey, ...]:
    """Read the keys that are given, or those that the repository's settings name.

    Raises:
        SigningKeyError: a key cannot be read.
        RepositoryError: the settings cannot be read.
    """
    named = given or [repository / name for name in Settings.read(repository).trust.keys]
    return tuple(keys.read_public(path) for path in named)


def demanded(repository: Path, given: Sequence[Path] = ()) -> tuple[PublicKey, ...]:
    """Give the keys of which one must have signed what is served; empty where none is demanded.

    Args:
        repository: whose ``[trust]`` says so.
        given: keys that demand signatures whatever the repository says.

    Raises:
        SigningKeyError: a key cannot be read.
        RepositoryError: signatures are demanded, but no key is named.
    """
    if not given and not Settings.read(repository).trust.require:
        return ()
    if known := known_keys(repository, given):
        return known
    raise RepositoryError(
        f"{repository / settings.FILE_NAME}: [trust] demands signatures and names no key",
        next_step='name one: keys = ["team.pub"]',
        path=repository / settings.FILE_NAME,
    )


def check(
    folder: ModelFolder, version: int, trusted: Sequence[PublicKey], *, live: bool = True
) -> None:
    """Refuse a version that none of the keys signed, or that is not what was signed.

    Args:
        folder: the model.
        version: which one.
        trusted: the keys, see :func:`demanded`; without any, files are compared with the
            manifest alone.
        live: compare config.pbtxt and label files beside the version too, as they are now;
            False for a version that is about to bring its own.

    Raises:
        IntegrityError: it is unsigned, altered, not proven, or signed with another key.
        MissingExtraError: the packages for signatures are not installed.
    """
    found = examine(folder, version, trusted, live=live)
    if not found.is_wrong(demanded=bool(trusted)):
        return
    path = folder.version_dir(version)
    what = f"altered {found.file}: {found.problem}" if found.file else found.problem
    raise IntegrityError(
        f"{path}: {what}",
        cause=_CAUSES[found.state],
        next_step=_NEXT[found.state].format(model=folder.name, version=version),
        path=path,
        model=folder.name,
        version=version,
        state=found.state,
    )


_CAUSES: dict[State, str] = {
    "altered": "somebody changed it after it was published, or the disk or a copy lost a byte",
    "unsigned": "the repository demands signatures, and nobody has signed this version",
    "wrong key": "somebody signed it whose key is not trusted here",
    "unproven": "it was copied in by hand, or its build never finished",
}
_NEXT: dict[State, str] = {
    "altered": "restore {model} version {version} from a copy that `modelport verify` finds ok",
    "unsigned": "modelport sign {model} {version} --key PRIVATE",
    "wrong key": "add the signer's public key to [trust] in modelport.toml, or sign it again",
    "unproven": "modelport build {model}; a model without a builder: modelport publish {model}",
}


def examine(
    folder: ModelFolder, version: int, trusted: Sequence[PublicKey] = (), *, live: bool
) -> Verdict:
    """Look at one version: its files against the manifest, that against the signature.

    Args:
        folder: the model.
        version: which one.
        trusted: keys, of which one is enough.
        live: compare what lies beside the version too, if it is signed.

    Raises:
        MissingExtraError: the packages for signatures are not installed.
    """
    version_dir = folder.version_dir(version)
    manifest, state, file, problem = _manifest(folder, version)
    if manifest is not None:
        file, problem = _first(_wrong_at_a_glance(version_dir, manifest))
        state = "altered" if file else "ok"
    if manifest is not None and not file:
        state, file, problem = _signed(version_dir, manifest, trusted)
    if manifest is not None and state == "ok" and live:
        file, problem = _first(beside.differences(folder, manifest))
        state, file = ("altered", f"../{file}") if file else ("ok", None)
    return Verdict(folder.name, version, state, live, file, problem)


def _manifest(folder: ModelFolder, version: int) -> tuple[Manifest | None, State, str | None, str]:
    """Read the manifest; where it says nothing of this version, why not."""
    version_dir = folder.version_dir(version)
    if not (version_dir / MANIFEST).is_file():
        return None, "unproven", None, "there is no manifest"
    try:
        manifest = Manifest.read(version_dir)
    except IntegrityError as error:
        return None, "altered", MANIFEST, error.what.partition(": ")[2]
    if (manifest.model, manifest.version) != (folder.name, version):
        is_of = f"it is that of {manifest.model} version {manifest.version}"
        return None, "altered", MANIFEST, is_of
    return manifest, "ok", None, ""


def _wrong_at_a_glance(version_dir: Path, manifest: Manifest) -> dict[str, str]:
    """Find files that are missing, of another size, or of nobody; contents come later."""
    found = dict.fromkeys(strangers(version_dir, manifest), "not in the manifest")
    return found | manifest.changed_files(version_dir, content=False)


def _first(wrong: Mapping[str, str]) -> tuple[str | None, str]:
    return min(wrong.items()) if wrong else (None, "")


def _signed(
    version_dir: Path, manifest: Manifest, trusted: Sequence[PublicKey]
) -> tuple[State, str | None, str]:
    """Check the content of every file, by way of the signature where that can be."""
    path = version_dir / SIGNATURE
    if path.exists() and trusted:
        keys.need_library()
        state, file, problem = _by_signature(path, manifest, trusted)
        if state == "ok":
            return state, file, problem
    elif path.exists():
        state, file, problem = "unchecked", None, "signed, but there is no key to check with"
    else:
        state, file, problem = "unsigned", None, "nobody has signed it"
    # The manifest names the file that changed; a signature speaks of all of them.
    changed, how = _first(manifest.changed_files(version_dir))
    return ("altered", changed, how) if changed else (state, file, problem)


def _by_signature(
    path: Path, manifest: Manifest, trusted: Sequence[PublicKey]
) -> tuple[State, str | None, str]:
    try:
        signature = Signature.read(path)
        key = next((key for key in trusted if key.fingerprint == signature.key), None)
        if key is not None:
            signature.prove(key.path)
    except IntegrityError as error:
        return "altered", _guilty(error), error.what.partition(": ")[2]
    # The manifest lists every file but itself.
    listed = {entry.path: entry.sha256 for entry in manifest.files}
    if signature.digests.keys() - listed.keys() != {MANIFEST} or not (
        listed.items() <= signature.digests.items()
    ):
        return "altered", SIGNATURE, "it was made for other files than the manifest lists"
    if key is not None:
        return "ok", None, ""
    if signature.digests[MANIFEST] != digests.of_file(path.parent / MANIFEST):
        return "altered", MANIFEST, "it is not the one that was signed"
    return "wrong key", None, f"signed with the key {signature.key[:12]}…"


def _guilty(error: IntegrityError) -> str:
    """Name the file that the signature does not fit, where no other is to blame."""
    return MANIFEST if MANIFEST in error.what else SIGNATURE


def strangers(version_dir: Path, manifest: Manifest) -> Iterator[str]:
    """List files of a version that its manifest does not know: a stub could import them.

    Bytecode, which Python writes by itself, and hidden files are passed over.
    """
    known = {MANIFEST, SIGNATURE, *(entry.path for entry in manifest.files)}
    for folder, folders, files in os.walk(version_dir):
        links = [name for name in folders if Path(folder, name).is_symlink()]
        folders[:] = [name for name in folders if name != BYTECODE]
        for name in (*files, *links):
            path = Path(folder, name).relative_to(version_dir).as_posix()
            if path not in known and not path.startswith("."):
                yield path

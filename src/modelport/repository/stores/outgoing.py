"""What a push has to bring: compared with the store before a byte is sent."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from modelport.errors import (
    ConfigError,
    IntegrityError,
    StoreConflictError,
)
from modelport.repository.layout import CONFIG, ModelFolder, Repository
from modelport.repository.manifest import FILE_NAME as MANIFEST
from modelport.repository.signature import FILE_NAME as SIGNATURE
from modelport.repository.stores import face
from modelport.repository.stores.contents import StoredModel, claim_key
from modelport.repository.stores.face import Face
from modelport.repository.stores.ledger import Ledger, Side, who_changed
from modelport.repository.stores.store import Fingerprint, Store, holds
from modelport.repository.stores.work import Change


@dataclass(frozen=True)
class Upload:
    """Files of one version that the store lacks; ``fresh`` when it lacks the version itself."""

    model: str
    version: int
    folder: Path
    manifest: bytes
    files: list[dict[str, Any]]
    fresh: bool

    def key(self, path: str) -> str:
        """Say where a file of it goes."""
        return f"{self.model}/{self.version}/{path}"

    @property
    def size_bytes(self) -> int:
        """Size of the files that the store lacks."""
        return sum(entry["size_bytes"] for entry in self.files)

    def change(self) -> Change:
        """Say what changes in the store."""
        whole = self.fresh
        files = len(self.files) + whole
        size = self.size_bytes + len(self.manifest) * whole
        return Change(self.model, self.version, "version" if whole else "files", files, size)


@dataclass
class Outgoing:
    """What is to be done for one model.

    Attributes:
        side: whose configuration holds.
        obsolete: files of the store that only the old configuration referred to.
        forced: somebody else changed what serves there, and it is overwritten.
    """

    folder: ModelFolder
    stored: StoredModel
    face: Face
    side: Side
    obsolete: set[str]
    forced: bool = False
    uploads: list[Upload] = field(default_factory=list)
    signatures: dict[int, bytes] = field(default_factory=dict)

    @property
    def versions(self) -> set[int]:
        """All that are pushed or lie there already."""
        return set(self.folder.proven_versions())

    def claims_left(self) -> list[int]:
        """Versions that lie there whole, and whose push was ended before it gave up its claim."""
        fresh = {upload.version for upload in self.uploads if upload.fresh}
        return sorted((self.stored.claims & self.versions) - fresh)


def chosen(repository: Repository, names: Sequence[str]) -> tuple[list[ModelFolder], list[str]]:
    """Choose the models, parts before those that run them; give notes on those left out."""
    folders = {folder.name: folder for folder in repository.models()}
    for name in names:
        if name not in folders:
            repository.model(name)  # raises, naming the nearest ones
    ordered: dict[str, ModelFolder] = {}
    notes: list[str] = []

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in ordered or name not in folders or name in path:
            return
        folder = folders[name]
        if folder.config_path.is_file():
            for part in sorted(folder.config().runs):
                visit(part, (*path, name))
        ordered[name] = folder

    for name in names or folders:
        visit(name, ())
    return [f for f in ordered.values() if _is_proven(f, named=bool(names), notes=notes)], notes


def _is_proven(folder: ModelFolder, *, named: bool, notes: list[str]) -> bool:
    proven = folder.proven_versions()
    if unproven := [v for v in folder.versions() if v not in proven]:
        notes.append(
            f"{folder.name}: left out, for want of a manifest: version"
            f" {', '.join(map(str, unproven))}"
        )
    if not proven:
        if named:
            raise IntegrityError(
                f"{folder.path}: no version of it was proven, so there is nothing to push",
                cause="it was made by hand, or not built yet",
                next_step=f"modelport build {folder.name}, or modelport import FILE.onnx"
                f" --name {folder.name}",
                model=folder.name,
            )
        if not unproven:
            notes.append(f"{folder.name}: left out: not built yet")
    return bool(proven)


def plan(
    folder: ModelFolder,
    there: dict[str, StoredModel],
    store: Store,
    ledger: Ledger,
    overwrite: bool,
    notes: list[str],
) -> Outgoing:
    """Compare one model with the store; arguments are those of a push.

    Raises:
        StoreConflictError: a version or what serves is another one there.
        IntegrityError, ConfigError: what is here is not what was proven.
    """
    stored = there.get(folder.name, StoredModel(folder.name))
    mine, obsolete, forced = _face(folder), set[str](), False
    if face.lies_there(mine, store, stored):
        side: Side = "same"
    else:
        theirs = face.of_store(store, stored)
        base = ledger.face(folder.name)
        changed = who_changed(base, mine.digests, theirs.digests if theirs else None)
        side = _decided(folder, mine, theirs, changed, store, overwrite, notes)
        forced = side != changed
        obsolete = theirs.files.keys() - mine.files.keys() if theirs else set()
    plan = Outgoing(folder, stored, mine, side, obsolete, forced)
    for version in folder.proven_versions():
        if upload := _upload(folder, version, stored, store):
            plan.uploads.append(upload)
        plan.signatures |= _signature(folder, version, stored, store, overwrite, notes)
    return plan


def _face(folder: ModelFolder) -> Face:
    """Give the model's face, and refuse one that names or shows what was not proven."""
    proven = folder.proven_versions()
    mine = face.of_folder(folder, folder.versions())
    if mine is None:
        raise ConfigError(
            f"{folder.config_path}: missing, so nothing says how the model is run",
            next_step=f"modelport build {folder.name}",
            path=folder.config_path,
        )
    if unproven := [v for v in mine.serves() if v not in proven]:
        raise IntegrityError(
            f"{folder.config_path}: version {', '.join(map(str, unproven))} serves by it, and has"
            " no manifest",
            cause="it was made by hand, or removed",
            next_step="build the model, or name proven versions in version_policy",
            model=folder.name,
        )
    if not mine.serves():
        raise ConfigError(
            f"{folder.config_path}: no version serves by it",
            next_step="mend its version_policy",
            path=folder.config_path,
        )
    manifests = [folder.manifest(version) for version in mine.serves()]
    own = (_own_config(folder, manifest.version) for manifest in manifests)
    if complaint := face.problem(mine, manifests, own):
        raise ConfigError(
            f"{folder.path}: {complaint}",
            cause="it was edited since that version was published, so nothing proves it",
            next_step="modelport build --keep-config publishes a version with the edit, or take"
            " it back",
            path=folder.config_path,
        )
    return mine


def _own_config(folder: ModelFolder, version: int) -> bytes | None:
    path = folder.version_dir(version) / CONFIG
    return path.read_bytes() if path.is_file() else None


def _decided(
    folder: ModelFolder,
    mine: Face,
    theirs: Face | None,
    side: Side,
    store: Store,
    overwrite: bool,
    notes: list[str],
) -> Side:
    """Settle who wins where both are there and differ."""
    if theirs is None or overwrite or side == "ours":
        return "ours"
    if side == "theirs":
        notes.append(
            f"{folder.name}: the store serves {_words(theirs.serves())} since somebody else's"
            f" push, and keeps that; modelport pull {folder.name} takes it over"
        )
        return side
    raise _conflict(folder.name, store, mine, theirs)


def _conflict(model: str, store: Store, mine: Face, theirs: Face) -> StoreConflictError:
    about = f"version {_words(theirs.serves())} serves there, {_words(mine.serves())} here"
    if mine.serves() == theirs.serves():
        about = "its config.pbtxt or labels differ"
    return StoreConflictError(
        f"{store.url}/{model}: changed there and here since both were last in step: {about}",
        cause="somebody else pushed, or this repository never was in step with the store",
        next_step=f"modelport pull {model} --from {store.url} --overwrite takes theirs;"
        f" modelport push {model} --to {store.url} --overwrite takes yours",
        model=model,
    )


def _words(versions: Iterable[int]) -> str:
    return ", ".join(map(str, versions)) or "none"


def _upload(folder: ModelFolder, version: int, stored: StoredModel, store: Store) -> Upload | None:
    """Compare a version with the store; give what is to be sent, if anything.

    Raises:
        StoreConflictError: the store has another version under this number.
    """
    version_dir = folder.version_dir(version)
    manifest = (version_dir / MANIFEST).read_bytes()
    item = stored.item(version, MANIFEST)
    if item is None:
        files = folder.manifest(version).model_dump()["files"]
        return Upload(folder.name, version, version_dir, manifest, files, fresh=True)
    if not holds(store, item, manifest):
        there = Fingerprint.of(store.read(item.key)).sha256
        raise other_content(folder.name, version, store, manifest, there)
    lost = [
        entry
        for entry in json.loads(manifest)["files"]
        if (found := stored.item(version, entry["path"])) is None
        or found.size_bytes != entry["size_bytes"]
    ]
    if not lost:
        return None
    return Upload(folder.name, version, version_dir, manifest, lost, fresh=False)


def other_content(
    model: str, version: int, store: Store, manifest: bytes, there: str, *, claimed: str = ""
) -> StoreConflictError:
    """Make the error for a number that stands for another version in the store.

    Args:
        model: its name.
        version: the number.
        store: which has it.
        manifest: of the version here.
        there: sha256 of the manifest in the store.
        claimed: when another push began, if that has not come to its end.
    """
    here = Fingerprint.of(manifest).sha256
    place = f"{store.url}/{model}/{version}"
    return StoreConflictError(
        f"{place}: there is another version under this number: its manifest has sha256 {there},"
        f" the one here {here}" + (f" (being pushed since {claimed})" if claimed else ""),
        cause="two machines built a version each, and both counted up from the same one",
        next_step=f"publish yours under a higher number: modelport pull {model}, then build again"
        + (
            f"; if that push will never end, remove {claim_key(model, version)} from the store"
            if claimed
            else ""
        ),
        model=model,
        version=version,
        here=here,
        there=there,
    )


def _signature(
    folder: ModelFolder,
    version: int,
    stored: StoredModel,
    store: Store,
    overwrite: bool,
    notes: list[str],
) -> dict[int, bytes]:
    """Give the signature of a version that the store lacks; another one there is left alone."""
    path = folder.version_dir(version) / SIGNATURE
    if not path.is_file():
        return {}
    content, item = path.read_bytes(), stored.item(version, SIGNATURE)
    if item is not None and holds(store, item, content):
        return {}
    if item is None or overwrite:
        return {version: content}
    notes.append(
        f"{folder.name}: version {version} has another {SIGNATURE} in the store; --overwrite"
        " replaces it"
    )
    return {}


def changes(plan: Outgoing) -> Iterable[Change]:
    """Say what changes in the store, in the order in which it does."""
    yield from (upload.change() for upload in plan.uploads)
    for version, content in plan.signatures.items():
        yield Change(plan.folder.name, version, "signature", 1, len(content))
    if plan.side == "ours":
        size = sum(map(len, plan.face.files.values()))
        yield Change(plan.folder.name, None, "configuration", len(plan.face.files), size)

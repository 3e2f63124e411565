"""What a pull has to bring: compared with the repository before a version is fetched."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from modelport.errors import (
    ConfigError,
    IntegrityError,
    StoreConflictError,
    StoreError,
)
from modelport.repository.layout import CONFIG, ModelFolder
from modelport.repository.manifest import FILE_NAME as MANIFEST
from modelport.repository.manifest import Manifest
from modelport.repository.promotions import FILE_NAME as LOG
from modelport.repository.signature import FILE_NAME as SIGNATURE
from modelport.repository.stores import contents, face
from modelport.repository.stores.contents import Listing, StoredModel
from modelport.repository.stores.face import Face
from modelport.repository.stores.ledger import Ledger, Side, who_changed
from modelport.repository.stores.store import Fingerprint, Store, holds
from modelport.repository.stores.work import Change


@dataclass(frozen=True)
class New:
    """A version that is not here yet."""

    version: int
    text: bytes
    manifest: Manifest

    @property
    def size_bytes(self) -> int:
        """Size of its files, the manifest left out."""
        return sum(entry.size_bytes for entry in self.manifest.files)


@dataclass
class Incoming:
    """What is to be done for one model."""

    folder: ModelFolder
    stored: StoredModel
    wanted: list[int]
    side: Side = "same"
    theirs: Face | None = None
    before: Face | None = None
    new: list[New] = field(default_factory=list)
    signatures: dict[int, bytes] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    @property
    def obsolete(self) -> list[Path]:
        """Files that only the old config.pbtxt referred to."""
        if self.side != "theirs" or self.before is None or self.theirs is None:
            return []
        return [self.folder.path / p for p in self.before.files.keys() - self.theirs.files.keys()]

    def changes(self) -> Iterator[Change]:
        """Say what changes here."""
        for new in self.new:
            size = new.size_bytes + len(new.text)
            yield Change(
                self.folder.name, new.version, "version", len(new.manifest.files) + 1, size
            )
        for version, content in self.signatures.items():
            yield Change(self.folder.name, version, "signature", 1, len(content))
        if self.side == "theirs" and self.theirs is not None:
            files = self.theirs.files
            size = sum(map(len, files.values()))
            yield Change(self.folder.name, None, "configuration", len(files), size)


def listed(store: Store, names: Sequence[str], *, allow_empty: bool = False) -> Listing:
    """List what was asked for, with the parts of ensembles.

    Raises:
        StoreError: there is no such model, or none at all where that is not allowed.
    """
    if not names:
        everything = contents.listing(store)
        if everything.models or allow_empty:
            return everything
        raise StoreError(
            f"{store.url}: there is no model in it",
            cause="the address or the prefix is wrong, or nothing was pushed yet",
            next_step=f"modelport push --to {store.url}",
            url=store.url,
        )
    found, waiting = dict[str, StoredModel](), list(names)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        model = contents.read(store, [name]).get(name)
        if model is not None:
            found[name] = model
            known = face.of_store(store, model)
            waiting += sorted(known.config().runs) if known else []
        elif name in names:
            raise _no_such_model(store, name)
    return Listing({name: found[name] for name in sorted(found)}, store.find(LOG))


def _no_such_model(store: Store, name: str) -> StoreError:
    near = difflib.get_close_matches(name, contents.read(store), n=3)
    return StoreError(
        f"{store.url}: there is no model {name!r}",
        cause=f"did you mean {' or '.join(near)}?" if near else None,
        next_step=f"modelport pull --from {store.url} --dry-run lists what there is",
        model=name,
    )


def plan(
    repository: Path,
    stored: StoredModel,
    store: Store,
    ledger: Ledger,
    served: bool,
    overwrite: bool,
) -> Incoming:
    """Compare one model of a store with the repository; arguments are those of a pull.

    Raises:
        IntegrityError: the store contradicts itself.
        StoreConflictError: a version or what serves is another one here.
    """
    folder, notes = ModelFolder(repository / stored.name), list[str]()
    complete = stored.complete_versions()
    if waiting := sorted(stored.versions.keys() - set(complete)):
        notes.append(
            f"{stored.name}: version {', '.join(map(str, waiting))} has no manifest in the store:"
            " still being pushed, or made by hand; left out"
        )
    here = folder.proven_versions() if folder.path.is_dir() else []
    before = face.of_folder(folder, here)
    theirs = None
    after = before and face.of_folder(folder, sorted({*here, *complete}))
    if served or after is None or not face.lies_there(after, store, stored):
        theirs = face.of_store(store, stored)
    named = theirs or after
    wanted = [v for v in complete if v in named.serves()] if served and named else complete
    if served:
        after = before and face.of_folder(folder, sorted({*here, *wanted}))
    plan = Incoming(folder, stored, wanted, theirs=theirs, before=before, notes=notes)
    if theirs is not None:
        _check_named(store, stored, theirs)
        plan.side = _side(plan, after, ledger, store, overwrite, notes)
    for version in wanted:
        _compare(plan, version, store)
        _signature(plan, version, store, overwrite, notes)
    _check_face(plan, store)
    return plan


def _check_named(store: Store, stored: StoredModel, theirs: Face) -> None:
    absent = [v for v in theirs.serves() if v not in stored.complete_versions()]
    if absent or not theirs.serves():
        problem = f"names version {', '.join(map(str, absent))}, which is not in the store"
        raise IntegrityError(
            f"{store.url}/{stored.name}/{CONFIG}: it "
            + (problem if absent else "does not name the versions that serve"),
            cause="it was not written by modelport push, or a version was removed by hand",
            next_step=f"modelport push {stored.name}, from a repository that has all of it",
            model=stored.name,
        )


def _side(
    plan: Incoming,
    after: Face | None,
    ledger: Ledger,
    store: Store,
    overwrite: bool,
    notes: list[str],
) -> Side:
    """Say whose face holds, and complain where both were changed."""
    theirs, before = plan.theirs, plan.before
    assert theirs is not None
    if after is not None and after.digests == theirs.digests:
        return "same"
    name = plan.folder.name
    base = ledger.face(name)
    side = who_changed(base, before.digests if before else None, theirs.digests)
    if side == "same" or overwrite or before is None:
        # The same as before, but more versions would serve by it now.
        return "theirs"
    if not plan.folder.proven_versions() and before.same_but_for_versions(theirs):
        return "theirs"  # a checkout, in which nothing ever served
    if side == "ours":
        notes.append(
            f"{name}: {_words(before)} here, {_words(theirs)} in the store: changed here, so it"
            " stays; --overwrite takes the store's"
        )
    if side != "conflict":
        return side
    raise StoreConflictError(
        f"{plan.folder.path}: changed here and in {store.url} since both were last in step:"
        f" {_words(before)} here, {_words(theirs)} there",
        cause="somebody else pushed, or this repository never was in step with the store",
        next_step=f"modelport pull {name} --from {store.url} --overwrite takes theirs;"
        f" modelport push {name} --to {store.url} --overwrite takes yours",
        model=name,
    )


def _words(known: Face) -> str:
    return f"version {', '.join(map(str, known.serves())) or 'none'} serves"


def _compare(plan: Incoming, version: int, store: Store) -> None:
    """Note a version that is not here; refuse one that is another here.

    Raises:
        StoreConflictError: another version lies here under this number.
        IntegrityError: what lies here has no manifest, or the store's is damaged.
    """
    item = plan.stored.versions[version].files[MANIFEST]
    version_dir = plan.folder.version_dir(version)
    path = version_dir / MANIFEST
    if path.is_file():
        mine = path.read_bytes()
        if not holds(store, item, mine):
            raise _other_content(plan, version, store, mine, store.read(item.key))
        return
    if version_dir.exists():
        raise IntegrityError(
            f"{version_dir}: it has no manifest, and {store.url} has a version of this number",
            cause="it was made by hand, or something removed its manifest",
            next_step=f"move {version_dir} away",
            path=version_dir,
        )
    text = store.read(item.key)
    where = f"{store.url}/{item.key}"
    manifest = contents.manifest(text, plan.folder.name, version, where)
    plan.new.append(New(version, text, manifest))


def _other_content(
    plan: Incoming, version: int, store: Store, mine: bytes, theirs: bytes
) -> StoreConflictError:
    here, there = Fingerprint.of(mine).sha256, Fingerprint.of(theirs).sha256
    path = plan.folder.version_dir(version)
    return StoreConflictError(
        f"{path}: {store.url} has another version under this number: its manifest has sha256"
        f" {there}, the one here {here}",
        cause="two machines built a version each, and both counted up from the same one",
        next_step=f"move {path} away, pull, and build yours again: it gets the next number",
        model=plan.folder.name,
        version=version,
        here=here,
        there=there,
    )


def _signature(
    plan: Incoming, version: int, store: Store, overwrite: bool, notes: list[str]
) -> None:
    """Fetch a signature that is not here; another one here is left alone."""
    item = plan.stored.versions[version].signature
    mine = plan.folder.version_dir(version) / SIGNATURE
    if item is None or (mine.is_file() and holds(store, item, mine.read_bytes())):
        return
    if not mine.is_file() or overwrite:
        plan.signatures[version] = store.read(item.key)
        return
    notes.append(
        f"{plan.folder.name}: version {version} has another {SIGNATURE} in the store;"
        " --overwrite takes it"
    )


def _check_face(plan: Incoming, store: Store) -> None:
    """Refuse a config.pbtxt or label file that no version it names was proven with.

    Raises:
        IntegrityError: it is not what was proven.
    """
    if plan.side != "theirs" or plan.theirs is None:
        return
    new = {one.version: one.manifest for one in plan.new}
    manifests = [
        new[version] if version in new else plan.folder.manifest(version)
        for version in plan.theirs.serves()
    ]
    own = (_own_config(plan, manifest, store) for manifest in manifests)
    try:
        complaint = face.problem(plan.theirs, manifests, own)
    except ConfigError as error:
        complaint = f"a version's own config.pbtxt does not parse: {error.what}"
    if complaint:
        raise IntegrityError(
            f"{store.url}/{plan.folder.name}: {complaint}",
            cause="somebody changed it in the store, or a push is between its labels and its"
            " config.pbtxt, or was ended there",
            next_step=f"modelport push {plan.folder.name}, from a repository that is right",
            model=plan.folder.name,
        )


def _own_config(plan: Incoming, manifest: Manifest, store: Store) -> bytes | None:
    entry = next((entry for entry in manifest.files if entry.path == CONFIG), None)
    if entry is None:
        return None
    path = plan.folder.version_dir(manifest.version) / CONFIG
    if path.is_file():
        return path.read_bytes()
    item = plan.stored.item(manifest.version, CONFIG)
    content = store.read(item.key) if item else b""
    got = Fingerprint.of(content).sha256
    if got != entry.sha256:
        raise IntegrityError(
            f"{store.url}/{plan.folder.name}/{manifest.version}/{CONFIG}: sha256 {got} instead of"
            f" {entry.sha256}, as the manifest has it",
            cause="the store damaged or lost it, or somebody changed it",
            model=plan.folder.name,
        )
    return content

"""From a repository to a store: versions first, then the log of promotions and what names them.

A killed push leaves versions without a manifest, which nothing names and nobody takes for
versions; the next one goes on from there. Numbers are claimed before the first byte is sent,
so two pushes of different content under one number never mix: the second is refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from functools import partial
from pathlib import Path
from typing import Any

from modelport.errors import (
    IntegrityError,
    RepositoryError,
    StoreConflictError,
    StoreError,
)
from modelport.repository import publish
from modelport.repository.layout import CONFIG, Repository
from modelport.repository.manifest import FILE_NAME as MANIFEST
from modelport.repository.promotions import FILE_NAME as LOG
from modelport.repository.signature import FILE_NAME as SIGNATURE
from modelport.repository.stores import contents, outgoing, promoted
from modelport.repository.stores.contents import claim_key
from modelport.repository.stores.ledger import Ledger
from modelport.repository.stores.outgoing import Outgoing, Upload, other_content
from modelport.repository.stores.store import Fingerprint, Item, Store, Taken, holds
from modelport.repository.stores.work import JOBS, Crew, OnProgress, Outcome


def push(
    repository: Path,
    store: Store,
    names: Sequence[str] = (),
    *,
    overwrite: bool = False,
    dry_run: bool = False,
    jobs: int = JOBS,
    on_progress: OnProgress | None = None,
) -> Outcome:
    """Bring a store all proven versions of some models, and what names those that serve.

    Args:
        repository: where they are.
        store: where they go.
        names: models, the parts of ensembles come along; empty for all.
        overwrite: replace configurations and signatures in the store, whoever changed them.
            Versions are never replaced.
        dry_run: only say what would be done.
        jobs: transfers at once.
        on_progress: hears bytes done and total.

    Raises:
        StoreConflictError: a version in the store is another one under the same number, or
            which versions serve was changed there too, or something was promoted there.
        IntegrityError: a file is not what its manifest says; or a model that was named has no
            proven version.
        ConfigError: what config.pbtxt says is not what the versions were proven with.
        StoreError: the store failed.
    """
    publish.finish(repository)
    ledger = Ledger(repository, store.identity)
    folders, notes = outgoing.chosen(Repository(repository), names)
    if not dry_run:
        store.prepare()
    pushed = [folder.name for folder in folders]
    listing = contents.listing(store, pushed if names else None)
    there = listing.models
    # First of all: what to do about two histories is not what to do about two configurations.
    logs = promoted.compare(repository, store, listing.log)
    promoted.refuse_fork(logs, store)
    plans = [outgoing.plan(folder, there, store, ledger, overwrite, notes) for folder in folders]
    changes = [change for plan in plans for change in outgoing.changes(plan)]
    forced = any(plan.forced for plan in plans)
    log = promoted.to_send(logs, pushed, store, forced=forced, notes=notes)
    changes += [promoted.change(log)] if log is not None else []
    if not dry_run:
        _send_versions(store, plans, jobs, on_progress)
        if log is not None:
            _write(store, LOG, log, listing.log)
        for plan in plans:  # parts come before those that run them
            if plan.side == "ours":
                _send_face(store, plan)
        _note_in_ledger(repository, ledger, plans)
    return Outcome(
        store.url, len(plans), tuple(changes), tuple(notes), store.traffic.as_json(), dry_run
    )


def _send_versions(
    store: Store, plans: Sequence[Outgoing], jobs: int, on_progress: OnProgress | None
) -> None:
    """Bring all versions; what names them is written after all of them are there."""
    _claim(store, plans, jobs)
    uploads = [(plan, upload) for plan in plans for upload in plan.uploads]
    crew = Crew(sum(upload.size_bytes for _, upload in uploads), on_progress, jobs)
    crew.run([partial(_send_version, store, *one, crew) for one in uploads])
    for plan in plans:
        fresh = {upload.version for upload in plan.uploads if upload.fresh}
        _send_signatures(store, plan, sorted(plan.signatures.keys() - fresh))
    for plan in plans:
        for version in plan.claims_left():
            store.delete(claim_key(plan.folder.name, version))


def _send_version(store: Store, plan: Outgoing, upload: Upload, crew: Crew) -> None:
    # The largest first: they are what takes time, and config.pbtxt is among the smallest.
    for entry in sorted(upload.files, key=lambda entry: -int(entry["size_bytes"])):
        key, file = upload.key(entry["path"]), upload.folder / entry["path"]
        known = _as_proven(file, entry)
        item = plan.stored.item(upload.version, entry["path"])
        if item and item.size_bytes == known.size_bytes and _is_there(store, key, known):
            crew.advance(known.size_bytes)
            continue
        store.upload(file, key, known, crew.advance)
    if upload.fresh:
        _send_signatures(store, plan, [upload.version])
        _complete(store, upload)


def _is_there(store: Store, key: str, known: Fingerprint) -> bool:
    return store.stated_sha256(key) == known.sha256


def _as_proven(file: Path, entry: dict[str, Any]) -> Fingerprint:
    try:
        known = Fingerprint.of(file)
    except FileNotFoundError:
        known = Fingerprint(0, "(missing)", "")
    except OSError as error:
        raise RepositoryError(f"{file}: cannot be read: {error.strerror}", path=file) from error
    if known.sha256 == entry["sha256"]:
        return known
    raise IntegrityError(
        f"{file}: sha256 is {known.sha256} instead of {entry['sha256']}, as the manifest has it",
        cause="the file was changed or damaged after it was published",
        next_step="build the model again, or pull the version from a store that has it",
        path=file,
    )


def _claim(store: Store, plans: Sequence[Outgoing], jobs: int) -> None:
    """Claim the numbers of all new versions, or of none.

    Each model's in ascending order: of two pushes that differ, one gets all of them.

    Raises:
        StoreConflictError: another push has claimed or completed one with other content.
    """
    made: list[str] = []
    try:
        Crew(0, None, jobs).run([partial(_claim_model, store, plan, made) for plan in plans])
    except StoreConflictError:
        for key in made:
            store.delete(key)
        raise


def _claim_model(store: Store, plan: Outgoing, made: list[str]) -> None:
    ascending = sorted(plan.uploads, key=lambda upload: upload.version)
    plan.uploads[:] = [u for u in ascending if not u.fresh or _claimed(store, u, made)]


def _claimed(store: Store, upload: Upload, made: list[str]) -> bool:
    """Claim one number; False when another push of the same has completed it meanwhile."""
    key = claim_key(upload.model, upload.version)
    mine = Fingerprint.of(upload.manifest).sha256
    since = datetime.now(timezone.utc).isoformat(timespec="seconds")
    try:
        store.write(key, json.dumps({"manifest": mine, "since": since}).encode(), replaces=None)
        made.append(key)
    except Taken:
        _check_claim(store, upload, key, mine)
    # Between the listing and the claim another push may have come to its end.
    if store.find(upload.key(MANIFEST)) is None:
        return True
    there = store.read(upload.key(MANIFEST))
    if there != upload.manifest:
        digest = Fingerprint.of(there).sha256
        raise other_content(upload.model, upload.version, store, upload.manifest, digest)
    store.delete(key)
    return False


def _check_claim(store: Store, upload: Upload, key: str, mine: str) -> None:
    """Go on with a claim on the same content: it is ours from before, or as good as ours."""
    try:
        claim = json.loads(store.read(key))
        theirs, since = str(claim["manifest"]), str(claim["since"])
    except FileNotFoundError:
        return  # its push has just ended: the manifest tells
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(
            f"{store.url}/{key}: not a claim of a push",
            next_step="remove it from the store",
            key=key,
        ) from error
    if theirs != mine:
        raise other_content(
            upload.model, upload.version, store, upload.manifest, theirs, claimed=since
        )


def _complete(store: Store, upload: Upload) -> None:
    key = upload.key(MANIFEST)
    try:
        store.write(key, upload.manifest, replaces=None)
    except Taken:
        there = store.read(key)
        if there != upload.manifest:
            digest = Fingerprint.of(there).sha256
            raise other_content(
                upload.model, upload.version, store, upload.manifest, digest
            ) from None
    store.delete(claim_key(upload.model, upload.version))


def _send_signatures(store: Store, plan: Outgoing, versions: Iterable[int]) -> None:
    for version in versions:
        if version in plan.signatures:
            key = f"{plan.folder.name}/{version}/{SIGNATURE}"
            item = plan.stored.item(version, SIGNATURE)
            _write(store, key, plan.signatures[version], item)


def _write(store: Store, key: str, content: bytes, replaces: Item | None) -> None:
    """Write a small file; fine if another push wrote the same meanwhile."""
    try:
        store.write(key, content, replaces=replaces)
    except Taken:
        item = store.find(key)
        if item is None or not holds(store, item, content):
            raise StoreConflictError(
                f"{store.url}/{key}: another push has written it meanwhile",
                next_step="run the same command again",
                key=key,
            ) from None


def _send_face(store: Store, plan: Outgoing) -> None:
    """Write labels, then config.pbtxt; then remove what nothing refers to any more."""
    name, files = plan.folder.name, plan.face.files
    for path in [*sorted(files.keys() - {CONFIG}), CONFIG]:
        item = plan.stored.beside.get(path)
        if item is None or not holds(store, item, files[path]):
            _write(store, f"{name}/{path}", files[path], item)
    for path in sorted(plan.obsolete):
        store.delete(f"{name}/{path}")


def _note_in_ledger(repository: Path, ledger: Ledger, plans: Sequence[Outgoing]) -> None:
    for plan in plans:
        common = plan.face.digests if plan.side in {"same", "ours"} else None
        known = ledger.versions(plan.folder.name) | plan.versions
        ledger.record(plan.folder.name, face=common, versions=known)
    with publish.locked(repository), publish.explained(repository, "note what was pushed"):
        ledger.save()

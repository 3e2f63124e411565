"""From a store to a repository: all that was asked for becomes visible together, or nothing.

Files are fetched beside the repository and digested there. Versions are then renamed into it
by the journal of :mod:`modelport.repository.publish`, before the config.pbtxt that names them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from modelport.errors import (
    StoreConflictError,
)
from modelport.repository import publish, trust
from modelport.repository.layout import CONFIG
from modelport.repository.manifest import FILE_NAME as MANIFEST
from modelport.repository.promotions import FILE_NAME as LOG
from modelport.repository.publish import Move
from modelport.repository.signature import FILE_NAME as SIGNATURE
from modelport.repository.stores import face, fetch, incoming, promoted, removal, signed
from modelport.repository.stores.contents import StoredModel
from modelport.repository.stores.fetch import Wanted
from modelport.repository.stores.incoming import Incoming
from modelport.repository.stores.ledger import Ledger
from modelport.repository.stores.promoted import Logs
from modelport.repository.stores.store import Store
from modelport.repository.stores.work import JOBS, Crew, OnProgress, Outcome


def pull(
    repository: Path,
    store: Store,
    names: Sequence[str] = (),
    *,
    served: bool = False,
    delete: bool = False,
    overwrite: bool = False,
    trusted: Sequence[Path] = (),
    allow_empty: bool = False,
    dry_run: bool = False,
    jobs: int = JOBS,
    on_progress: OnProgress | None = None,
) -> Outcome:
    """Bring a repository what a store has of some models, and let serve what serves there.

    Args:
        repository: where it goes; made when missing.
        store: where it comes from.
        names: models, their parts come along; empty for all.
        served: only versions that serve by the store's config.pbtxt.
        delete: remove what once lay in both and is in the store no more; pinned versions and
            those that serve stay. With ``served``, also versions that serve no more.
        overwrite: take the store's config.pbtxt, labels, signatures and log of promotions,
            whoever changed them. Versions are never replaced.
        trusted: public keys, of which one must have signed what will serve; without any,
            those that the repository's own modelport.toml demands.
        allow_empty: a store without any model is no error.
        dry_run: only say what would be done.
        jobs: transfers at once.
        on_progress: hears bytes done and total.

    Raises:
        IntegrityError: the store has something else than its manifests say, or a version that
            would serve is not signed as it must be.
        StoreConflictError: a version here is another one under the same number, or which
            versions serve was changed here and there, or something was promoted in both.
        PublishError: the disk refused.
        StoreError: the store failed, or has no such model.
    """
    publish.finish(repository)
    ledger = Ledger(repository, store.identity)
    listing = incoming.listed(store, names, allow_empty=allow_empty)

    def plan(model: StoredModel) -> Incoming:
        return incoming.plan(repository, model, store, ledger, served, overwrite)

    notes: list[str] = []
    logs = promoted.compare(repository, store, listing.log)
    log = promoted.to_take(
        logs, list(listing.models), store, repository, overwrite=overwrite, notes=notes
    )
    with ThreadPoolExecutor(jobs) as pool:
        plans = list(pool.map(plan, listing.models.values()))
    notes += [note for one in plans for note in one.notes]
    gone = removal.plan(repository, plans, ledger, notes) if delete and not names else []
    changes = [change for plan in plans for change in plan.changes()]
    changes += [promoted.change(log)] if log is not None else []
    if not dry_run:
        taken = logs if log is not None else None
        _carry_out(repository, store, plans, ledger, gone, taken, trusted, jobs, on_progress)
    changes += [change for one in gone for change in one.changes()]
    return Outcome(
        store.url, len(plans), tuple(changes), tuple(notes), store.traffic.as_json(), dry_run
    )


def _carry_out(
    repository: Path,
    store: Store,
    plans: Sequence[Incoming],
    ledger: Ledger,
    gone: Sequence[removal.Removal],
    logs: Logs | None,
    trusted: Sequence[Path],
    jobs: int,
    on_progress: OnProgress | None,
) -> None:
    """Fetch, stage, publish; then remove what is gone. ``logs``: None where the log stays."""
    busy = [plan for plan in plans if any(True for _ in plan.changes())]
    with publish.explained(repository, "make it"):
        repository.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        needed = busy or gone or logs or fetch.left_behind(repository)
        stage = stack.enter_context(fetch.staging(repository)) if needed else repository
        moves = _stage(repository, store, stage, busy, jobs, on_progress)
        moves += _stage_log(repository, stage, logs) if logs else []
        signed.refuse_others(trust.demanded(repository, trusted), stage, busy, store)
        with publish.locked(repository):
            _refuse_changed(busy)
            if logs:
                _refuse_promoted(repository, logs)
            if moves := [move for move in moves if not _published(move)]:
                publish.apply(repository, moves)
            with publish.explained(repository, "remove what is gone"):
                for plan in busy:
                    for path in plan.obsolete:
                        path.unlink(missing_ok=True)
                for one in gone:
                    one.carry_out(stage)
                _note_in_ledger(ledger, plans, gone)


def _stage(
    repository: Path,
    store: Store,
    stage: Path,
    plans: Sequence[Incoming],
    jobs: int,
    on_progress: OnProgress | None,
) -> list[Move]:
    """Fetch all files, and lay out what is to be published; versions come before their names."""
    wanted = {w.entry.sha256: w for plan in plans for w in _files(plan)}
    crew = Crew(sum(w.entry.size_bytes for w in wanted.values()), on_progress, jobs)
    with publish.explained(repository, "fetch from the store"):
        fetch.check_space(repository, sum(w.entry.size_bytes for w in wanted.values()))
        crew.run([partial(fetch.fetch, store, one, stage, crew) for one in wanted.values()])
        versions = [move for plan in plans for move in _stage_versions(stage, plan)]
        beside = [move for plan in plans for move in _stage_face(stage, plan)]
    return versions + beside


def _files(plan: Incoming) -> Iterator[Wanted]:
    local: dict[str, list[Path]] = {}
    if plan.new and plan.folder.path.is_dir():
        for version in plan.folder.proven_versions():
            version_dir = plan.folder.version_dir(version)
            for entry in plan.folder.manifest(version).files:
                local.setdefault(entry.sha256, []).append(version_dir / entry.path)
    for new in plan.new:
        for entry in new.manifest.files:
            key = f"{plan.folder.name}/{new.version}/{entry.path}"
            yield Wanted(entry, key, tuple(local.get(entry.sha256, ())))


def _stage_versions(stage: Path, plan: Incoming) -> Iterator[Move]:
    staged = stage / plan.folder.name
    fresh = set()
    for new in plan.new:
        version_dir = staged / str(new.version)
        for entry in new.manifest.files:
            fetch.place(stage, entry, version_dir / entry.path)
        version_dir.mkdir(parents=True, exist_ok=True)
        (version_dir / MANIFEST).write_bytes(new.text)
        fresh.add(new.version)
        yield Move(version_dir, plan.folder.version_dir(new.version))
    for version, content in plan.signatures.items():
        target = staged / (str(version) if version in fresh else f"{version}.signature") / SIGNATURE
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        if version not in fresh:
            yield Move(target, plan.folder.version_dir(version) / SIGNATURE)


def _stage_face(stage: Path, plan: Incoming) -> Iterator[Move]:
    if plan.side != "theirs" or plan.theirs is None:
        return
    files = plan.theirs.files
    for path in [*sorted(files.keys() - {CONFIG}), CONFIG]:
        target = stage / plan.folder.name / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(files[path])
        yield Move(target, plan.folder.path / path)


def _stage_log(repository: Path, stage: Path, logs: Logs) -> Iterator[Move]:
    """Stage the store's log; one here that holds other promotions is kept under another name."""
    contents = {LOG: logs.there}
    if logs.only_here:
        contents[promoted.kept_as(logs)] = logs.here
    with publish.explained(repository, "stage"):
        for name, content in contents.items():
            (stage / name).write_bytes(content)
            yield Move(stage / name, repository / name)


def _published(move: Move) -> bool:
    """Say whether another pull has published the same version meanwhile.

    Raises:
        StoreConflictError: it is another one.
    """
    if not move.staged.is_dir() or not move.published.exists():
        return False
    mine, theirs = move.staged / MANIFEST, move.published / MANIFEST
    if theirs.is_file() and mine.read_bytes() == theirs.read_bytes():
        return True
    raise StoreConflictError(
        f"{move.published}: another version was published under this number meanwhile",
        next_step="run the same command again",
        path=move.published,
    )


def _refuse_changed(plans: Sequence[Incoming]) -> None:
    """Refuse to overwrite a config.pbtxt that somebody changed while files were fetched."""
    for plan in plans:
        if plan.side != "theirs" or plan.theirs is None:
            continue
        path = plan.folder.config_path
        now = path.read_bytes() if path.is_file() else None
        then = plan.before.source if plan.before else None
        # Another pull may have written just this.
        if now not in {then, plan.theirs.files[CONFIG]}:
            raise StoreConflictError(
                f"{path}: it was changed while versions were fetched",
                next_step="run the same command again",
                path=path,
            )


def _refuse_promoted(repository: Path, logs: Logs) -> None:
    """Refuse to overwrite a log that somebody wrote while files were fetched."""
    path = repository / LOG
    now = path.read_bytes() if path.is_file() else b""
    if now not in {logs.here, logs.there}:
        raise StoreConflictError(
            f"{path}: something was promoted here while versions were fetched",
            next_step="run the same command again",
            path=path,
        )


def _note_in_ledger(
    ledger: Ledger, plans: Sequence[Incoming], gone: Sequence[removal.Removal]
) -> None:
    for plan in plans:
        known = ledger.versions(plan.folder.name) | set(plan.wanted)
        common = None
        if plan.side == "theirs" and plan.theirs is not None:
            common = plan.theirs.digests
        elif plan.side == "same":
            after = plan.theirs or face.of_folder(plan.folder, plan.folder.proven_versions())
            common = after.digests if after else None
        ledger.record(plan.folder.name, face=common, versions=known)
    for one in gone:
        one.note(ledger)
    ledger.save()

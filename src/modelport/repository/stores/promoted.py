"""The log of promotions travels with what serves, and only ever grows.

It needs no ledger: of two logs where one continues the other, the longer is the newer. Where
neither does, both sides have promoted something since they were last in step, and no one can
say what serves: that is a conflict. A push writes the log before the first ``config.pbtxt``,
on the condition that nobody has written it meanwhile; so of two promotions at once one is
refused before it has changed anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from modelport.errors import StoreConflictError
from modelport.repository.promotions import FILE_NAME, Entry, parse
from modelport.repository.stores.ledger import Side
from modelport.repository.stores.store import Item, Store, holds
from modelport.repository.stores.work import Change


@dataclass(frozen=True)
class Logs:
    """The log here and the one in a store.

    Attributes:
        side: which of them continues the other.
        here: content of the one, empty where there is none.
        there: content of the other.
        only_here: entries that the other lacks.
        only_there: entries that the one here lacks.
    """

    side: Side
    here: bytes = b""
    there: bytes = b""
    only_here: tuple[Entry, ...] = ()
    only_there: tuple[Entry, ...] = ()

    def concern(self, but: Sequence[str]) -> list[str]:
        """Name models, but for these, that entries speak of which only one side has."""
        entries = (*self.only_here, *self.only_there)
        return sorted({model for entry in entries for model in entry.changes} - set(but))


def compare(repository: Path, store: Store, item: Item | None) -> Logs:
    """Compare two logs, and hold both against their digests.

    Args:
        repository: has the one.
        store: has the other.
        item: of the store's listing; None where it has none.

    Raises:
        IntegrityError: one was tampered with.
    """
    path = repository / FILE_NAME
    here = path.read_bytes() if path.is_file() else b""
    if (not here and item is None) or (item is not None and holds(store, item, here)):
        return Logs("same", here, here)
    there = store.read(item.key) if item else b""
    mine, theirs = parse(here, str(path)), parse(there, f"{store.url}/{FILE_NAME}")
    common = _common(mine, theirs)
    if len(mine) == len(theirs) == common:
        side: Side = "same"
    elif common == len(theirs):
        side = "ours"
    else:
        side = "theirs" if common == len(mine) else "conflict"
    return Logs(side, here, there, tuple(mine[common:]), tuple(theirs[common:]))


def _common(mine: Sequence[Entry], theirs: Sequence[Entry]) -> int:
    """Count the entries with which both begin; a digest stands for all before it."""
    pairs = zip(mine, theirs, strict=False)
    return next(
        (place for place, (one, other) in enumerate(pairs) if one.digest != other.digest),
        min(len(mine), len(theirs)),
    )


def refuse_fork(logs: Logs, store: Store) -> None:
    """Refuse to push beside promotions that the log here does not know.

    Raises:
        StoreConflictError: both logs hold promotions that the other one does not.
    """
    if logs.side == "conflict":
        raise _behind(logs, store)


def _behind(logs: Logs, store: Store) -> StoreConflictError:
    return StoreConflictError(
        f"{store.url}/{FILE_NAME}: it holds promotions that the log here does not:"
        f" {_words(logs.only_there)}",
        cause="somebody else promoted and pushed since both were last in step; the log of a"
        " store only grows, with --overwrite too",
        next_step=f"modelport pull --from {store.url} --overwrite takes what serves there;"
        " then promote again what shall serve, and push",
    )


def to_send(
    logs: Logs, pushed: Sequence[str], store: Store, *, forced: bool, notes: list[str]
) -> bytes | None:
    """Give the log that a push brings; None for nothing.

    Args:
        logs: as they compare.
        pushed: models that the push brings.
        store: where to.
        forced: what serves in the store is replaced, though somebody else changed it.
        notes: hear why it stays.

    Raises:
        StoreConflictError: what serves would be forced upon a store whose log is ahead.
    """
    if logs.side == "theirs" and forced:
        raise _behind(logs, store)
    if logs.side != "ours":
        return None
    if others := logs.concern(pushed):
        notes.append(
            f"{FILE_NAME} stays here: it speaks of {', '.join(others)} too; a push without names"
            " takes it along"
        )
        return None
    return logs.here


def to_take(
    logs: Logs,
    pulled: Sequence[str],
    store: Store,
    repository: Path,
    *,
    overwrite: bool,
    notes: list[str],
) -> bytes | None:
    """Give the log that a pull brings; None where the one here stays.

    Args:
        logs: as they compare.
        pulled: models that the pull brings; others that the log speaks of may lie here.
        store: where from.
        repository: where to.
        overwrite: take the store's, even if the one here holds other promotions.
        notes: hear why it stays, or where the one that was here is.

    Raises:
        StoreConflictError: the one here holds a promotion that the store's does not, nor the
            other way round.
    """
    if logs.side == "conflict" and not overwrite:
        raise StoreConflictError(
            f"{repository / FILE_NAME}: promotions here and others in {store.url} since both were"
            f" last in step: here {_words(logs.only_here)}; there {_words(logs.only_there)}",
            cause="somebody else promoted and pushed, or the log was cut here or there",
            next_step=f"modelport pull --from {store.url} --overwrite takes the store's log and"
            f" what serves there, and keeps the one here as {kept_as(logs)}",
        )
    if logs.side == "same" or (logs.side == "ours" and not (overwrite and logs.there)):
        return None
    others = [name for name in logs.concern(pulled) if (repository / name).is_dir()]
    if others:
        notes.append(
            f"{FILE_NAME} stays as it is: the store's speaks of {', '.join(others)} too; a pull"
            " without names takes it along"
        )
        return None
    if logs.side != "theirs":
        notes.append(f"{FILE_NAME}: the store's is taken; the one that was here: {kept_as(logs)}")
    return logs.there


def kept_as(logs: Logs) -> str:
    """Name the file that keeps a log whose promotions another one does not hold."""
    return f"{FILE_NAME}.{logs.only_here[-1].digest[:12]}"


def _words(entries: Sequence[Entry]) -> str:
    first = entries[0]
    more = f" and {len(entries) - 1} more" if len(entries) > 1 else ""
    return f"{first.action} {first.model} {first.version} by {first.who}{more}"


def change(content: bytes) -> Change:
    """Say what changes."""
    return Change(None, None, "log", 1, len(content))

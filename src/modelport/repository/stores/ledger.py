"""When a repository and a store were last in step, model by model.

Without it a difference would not say who changed: a promotion here must not be undone by
a pull, nor one in the store by a push. ``.modelport.stores.json`` at the top of the
repository holds, for each store and model, digests of what both had beside the versions, and
which versions.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

FILE_NAME = ".modelport.stores.json"

Side = Literal["same", "ours", "theirs", "conflict"]


class Ledger:
    """What a repository knows of one store.

    Args:
        repository: whose ledger it is.
        identity: of the store.
    """

    def __init__(self, repository: Path, identity: str) -> None:
        self._path = repository / FILE_NAME
        self._identity = identity
        self._models = self._read().get(identity, {})

    def face(self, model: str) -> dict[str, str] | None:
        """Digests of the face that both had, by path; None if they were never in step."""
        face: dict[str, str] | None = self._models.get(model, {}).get("face")
        return face

    def versions(self, model: str) -> set[int]:
        """Versions that once lay in both."""
        return set(self._models.get(model, {}).get("versions", ()))

    def models(self) -> list[str]:
        """Models that once lay in both."""
        return sorted(self._models)

    def record(self, model: str, *, face: Mapping[str, str] | None, versions: set[int]) -> None:
        """Note what both have now; ``face`` None leaves what was noted of it."""
        known = self._models.setdefault(model, {})
        if face is not None:
            known["face"] = dict(face)
        known["versions"] = sorted(versions)

    def forget(self, model: str) -> None:
        """Note that a model is in neither any more."""
        self._models.pop(model, None)

    def save(self) -> None:
        """Write it in one step; the caller holds the repository's lock. Raises OSError."""
        stores = self._read()
        if stores.get(self._identity, {}) == self._models:
            return
        stores[self._identity] = self._models
        partial = self._path.with_name(f"{FILE_NAME}.{os.getpid()}")
        partial.write_text(json.dumps(stores, indent=1, sort_keys=True) + "\n", encoding="utf-8")
        partial.replace(self._path)

    def _read(self) -> dict[str, Any]:
        try:
            stores = json.loads(self._path.read_bytes())
        except (FileNotFoundError, ValueError):
            # Damaged is as good as lost: differences are then conflicts, and nothing is undone.
            return {}
        return stores if isinstance(stores, dict) else {}


def who_changed(
    base: Mapping[str, str] | None,
    here: Mapping[str, str] | None,
    there: Mapping[str, str] | None,
) -> Side:
    """Compare digests by path with the last common state; None where there is no face at all.

    A push that was ended between two files leaves some old and some new ones: nobody else
    changed anything then.
    """
    if here == there:
        return "same"
    if there is None or (here is not None and _only_from(there, base, here)):
        return "ours"
    if here is None or _only_from(here, base, there):
        return "theirs"
    return "conflict"


def _only_from(
    face: Mapping[str, str], base: Mapping[str, str] | None, other: Mapping[str, str]
) -> bool:
    """Say whether each file is as it was, or as the other side has it."""
    if base is None:
        return False
    return all(digest in {base.get(path), other.get(path)} for path, digest in face.items())

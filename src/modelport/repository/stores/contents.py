"""What lies in a store, read from its listing: models, versions, and what is beside them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from pydantic import ValidationError

from modelport.errors import IntegrityError
from modelport.repository.layout import CONFIG
from modelport.repository.manifest import FILE_NAME as MANIFEST
from modelport.repository.manifest import Manifest, first_problem
from modelport.repository.promotions import FILE_NAME as LOG
from modelport.repository.signature import FILE_NAME as SIGNATURE
from modelport.repository.stores.store import Item, Store

_CLAIM = re.compile(r"\.(\d+)\.push")
_VERSION = re.compile(r"[1-9]\d*")


@dataclass
class StoredVersion:
    """A version folder: path inside it to the file in the store."""

    files: dict[str, Item] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Say whether its push came to its end: the manifest is written last."""
        return MANIFEST in self.files

    @property
    def signature(self) -> Item | None:
        """The detached signature, which no manifest lists; None where nobody has signed."""
        return self.files.get(SIGNATURE)


@dataclass
class StoredModel:
    """A model: what lies beside its versions, these, and the numbers that pushes have claimed."""

    name: str
    beside: dict[str, Item] = field(default_factory=dict)
    versions: dict[int, StoredVersion] = field(default_factory=dict)
    claims: set[int] = field(default_factory=set)

    def complete_versions(self) -> list[int]:
        """Versions whose push came to its end, ascending."""
        return sorted(number for number, version in self.versions.items() if version.complete)

    def item(self, version: int, path: str) -> Item | None:
        """Give a file of a version; None if there is none."""
        found = self.versions.get(version)
        return found.files.get(path) if found else None


def claim_key(model: str, version: int) -> str:
    """Name the file by which a push claims the number of a version.

    Triton takes folders for versions only, and hidden files for nothing.
    """
    return f"{model}/.{version}.push"


@dataclass(frozen=True)
class Listing:
    """What lies in a store: models by name, and the log of promotions where there is one."""

    models: dict[str, StoredModel]
    log: Item | None


def listing(store: Store, names: Iterable[str] | None = None) -> Listing:
    """List a store, or some models of it with the log.

    Raises:
        IntegrityError: a key is no path below its folder.
        StoreError: the store cannot be listed.
    """
    models: dict[str, StoredModel] = {}
    log = None if names is None else store.find(LOG)
    for prefix in [""] if names is None else [f"{name}/" for name in names]:
        for item in store.list(prefix):
            if item.key == LOG:
                log = item
            _file(models, item, store)
    # Without a configuration or a version it is somebody else's folder.
    found = {
        name: model
        for name, model in sorted(models.items())
        if CONFIG in model.beside or any(v.complete for v in model.versions.values())
    }
    return Listing(found, log)


def read(store: Store, names: Iterable[str] | None = None) -> dict[str, StoredModel]:
    """List the models of a store, or some of them; raises as :func:`listing`."""
    return listing(store, names).models


def _file(models: dict[str, StoredModel], item: Item, store: Store) -> None:
    parts = item.key.split("/")
    if any(part in {"", ".", ".."} or "\\" in part or "\0" in part for part in parts):
        raise IntegrityError(
            f"{store.url}: the key {item.key!r} is no path inside a model",
            cause="another program wrote it, or somebody wants to write outside the repository",
            next_step="remove it from the store",
            key=item.key,
        )
    hidden = any(part.startswith(".") or part == "__pycache__" for part in parts)
    claim = _CLAIM.fullmatch(parts[1]) if len(parts) == 2 else None
    if len(parts) == 1 or parts[0].startswith(".") or (hidden and not claim):
        return
    model = models.setdefault(parts[0], StoredModel(parts[0]))
    if claim:
        model.claims.add(int(claim[1]))
        return
    if len(parts) > 2 and _VERSION.fullmatch(parts[1]):
        version = model.versions.setdefault(int(parts[1]), StoredVersion())
        version.files["/".join(parts[2:])] = item
    else:
        model.beside["/".join(parts[1:])] = item


def manifest(content: bytes, model: str, version: int, where: str) -> Manifest:
    """Read a manifest that came from a store, and refuse one that speaks of something else.

    Raises:
        IntegrityError: it is not what the schema says, names another model or version, or a
            path outside the version folder.
    """
    try:
        found = Manifest.model_validate_json(content)
    except ValidationError as error:
        field, problem = first_problem(error)
        raise IntegrityError(
            f"{where}: field {field}: {problem}",
            cause="it was damaged, or a newer Modelport wrote it",
            next_step="push it again, or update Modelport",
            key=where,
        ) from error
    if (found.model, found.version) != (model, version):
        raise IntegrityError(
            f"{where}: the manifest is that of {found.model} version {found.version}",
            cause="somebody copied or renamed a folder in the store",
            next_step="remove that folder from the store, and push the version",
            key=where,
        )
    for entry in found.files:
        parts = entry.path.split("/")
        if entry.path == MANIFEST or any(p in {"", ".", ".."} or "\\" in p for p in parts):
            raise IntegrityError(
                f"{where}: the manifest lists {entry.path!r}, which is no file of a version",
                cause="it was written to do harm, or by another program",
                key=where,
            )
    return found

"""What was built from which files: lets an unchanged builder be skipped without running it.

Running a builder file imports torch, which takes seconds; comparing a few
digests does not.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from pathlib import Path

from modelport.build import provenance, tuned_file
from modelport.errors import ConfigError, IntegrityError
from modelport.repository import digests, plans
from modelport.repository.layout import CONFIG, ModelFolder, Repository
from modelport.runtime import cache

# A change in any of these may change what a build gives.
_LIBRARY = ("build", "families", "repository", "serving", "spec", "verify")


def lookup(builder: Path, repository: Repository) -> dict[str, int] | None:
    """Give the published versions by model if nothing has changed since they were built.

    Looks at the builder file, the files that it read, the library, the packages
    it runs on, and at the published versions (their sizes; ``doctor`` reads contents).
    """
    try:
        record = json.loads(_file(builder, repository).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if any(_digest(Path(path)) != digest for path, digest in record["files"].items()):
        return None
    models: dict[str, dict[str, str]] = record["models"]
    if all(_stands(repository, name, **entry) for name, entry in models.items()):
        return {name: int(entry["version"]) for name, entry in models.items()}
    return None


def store(
    builder: Path, repository: Repository, files: Mapping[str, str], versions: Mapping[str, int]
) -> None:
    """Note what a builder gave, and the digests of the files that it read."""
    models = {
        name: {
            "version": str(version),
            "build_key": repository.folder(name).manifest(version).build_key,
            "beside": _beside(repository.folder(name)),
        }
        for name, version in versions.items()
    }
    path = _file(builder, repository)
    partial = path.with_suffix(f".partial-{os.getpid()}")
    partial.write_text(json.dumps({"files": dict(files), "models": models}), encoding="utf-8")
    partial.replace(path)


def _file(builder: Path, repository: Repository) -> Path:
    key = {
        "builder": [str(builder.resolve()), digests.of_file(builder)],
        "tuned": tuned_file.digest_of(builder),
        "repository": str(repository.path.resolve()),
        "library": provenance.library(*_LIBRARY),
        "dependencies": provenance.dependencies(),
    }
    return cache.folder("built") / f"{digests.of_value(key)}.json"


def _digest(path: Path) -> str | None:
    return digests.of_path(path) if path.exists() else None


def _beside(folder: ModelFolder) -> str:
    """Digest what lies beside the version folders: config.pbtxt, labels, the code of a model.

    Which versions serve does not count: promotion decides that, also on another machine whose
    decision was pulled, and a build has nothing to do then.
    """
    files = sorted(path for path in folder.path.iterdir() if path.is_file())
    found = {path.name: digests.of_file(path) for path in files if path.name != CONFIG}
    return digests.of_value({**found, CONFIG: _meaning(folder)})


def _meaning(folder: ModelFolder) -> str | None:
    try:
        return repr(dataclasses.replace(folder.config(), version_policy=None))
    except ConfigError:
        return None


def _stands(
    repository: Repository, name: str, *, version: str, build_key: str, beside: str
) -> bool:
    folder = repository.folder(name)
    version_dir = folder.version_dir(int(version))
    try:
        manifest = folder.manifest(int(version))
    except IntegrityError:
        return False
    # By Triton's default policy the newest serves, whoever published it.
    newest = plans.others(folder)[-1] == int(version)
    same = manifest.build_key == build_key and _beside(folder) == beside
    return newest and same and not manifest.changed_files(version_dir, content=False)

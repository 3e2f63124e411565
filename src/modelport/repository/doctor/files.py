"""Rules that hold the files of a version against its manifest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from modelport.errors import IntegrityError
from modelport.repository.doctor.finding import Problem
from modelport.repository.doctor.subject import Subject
from modelport.repository.manifest import FILE_NAME as MANIFEST
from modelport.repository.manifest import Manifest


def _read(folder: Path) -> Manifest | IntegrityError:
    try:
        return Manifest.read(folder)
    except IntegrityError as error:
        return error


def _manifests(subject: Subject) -> Iterator[tuple[int, Path, Manifest | IntegrityError]]:
    """Give every version that has a manifest, with it or with why it cannot be read."""
    for version in subject.folder.proven_versions():
        folder = subject.folder.version_dir(version)
        yield version, folder, _read(folder)


def unreadable_manifest(subject: Subject) -> Iterator[Problem]:
    """manifest.json is not what its schema says."""
    for _, folder, manifest in _manifests(subject):
        if isinstance(manifest, IntegrityError):
            yield Problem(
                path=folder / MANIFEST,
                field=str(manifest.objects.get("field", "")),
                expected="a manifest of schema version 1",
                got=manifest.what.rpartition(": ")[2],
                fix=manifest.next_step or "build the model again",
            )


def changed_file(subject: Subject) -> Iterator[Problem]:
    """A file differs from what was proven."""
    for _, folder, manifest in _manifests(subject):
        if isinstance(manifest, IntegrityError):
            continue
        wrong = manifest.changed_files(folder, content=subject.digest_files)
        expected = {entry.path: entry for entry in manifest.files}
        for path, got in sorted(wrong.items()):
            entry = expected[path]
            yield Problem(
                path=folder / path,
                field="",
                expected=f"{entry.size_bytes} bytes, sha256 {entry.sha256[:12]}…",
                got=got,
                fix="restore the file, or run modelport build, which proves the model anew",
            )


def other_model(subject: Subject) -> Iterator[Problem]:
    """A manifest speaks of another model or version than its folder."""
    for version, folder, manifest in _manifests(subject):
        if isinstance(manifest, IntegrityError):
            continue
        if (manifest.model, manifest.version) != (subject.name, version):
            yield Problem(
                path=folder / MANIFEST,
                field="model" if manifest.model != subject.name else "version",
                expected=f"{subject.name} version {version}",
                got=f"{manifest.model} version {manifest.version}",
                fix="publish through modelport instead of copying version folders",
            )

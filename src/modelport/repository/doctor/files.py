"""Rules that hold the files of a version against its manifest."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from modelport.errors import IntegrityError
from modelport.repository.doctor.finding import Problem
from modelport.repository.doctor.site import BYTECODE
from modelport.repository.doctor.subject import Subject
from modelport.repository.manifest import FILE_NAME as MANIFEST
from modelport.repository.manifest import Manifest

# Written with or after the manifest, which cannot hold their digests.
_BESIDE = (MANIFEST, "model.sig")


def _manifests(subject: Subject) -> Iterator[tuple[int, Path, Manifest | IntegrityError]]:
    """Give every version that has a manifest, with it or with why it cannot be read."""
    for version, manifest in subject.manifests.items():
        yield version, subject.folder.version_dir(version), manifest


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


def no_manifest(subject: Subject) -> Iterator[Problem]:
    """A version lies among proven ones, and nothing says where it came from."""
    if not subject.manifests:
        return  # a repository that Modelport did not build
    for version in subject.versions:
        if version not in subject.manifests:
            yield Problem(
                path=subject.folder.version_dir(version),
                field="",
                expected=f"{MANIFEST}, as version {max(subject.manifests)} has",
                got="none",
                fix="publish through modelport instead of copying version folders",
            )


def unlisted_file(subject: Subject) -> Iterator[Problem]:
    """A proven version holds a file that was not there when it was proven."""
    for _, folder, manifest in _manifests(subject):
        if isinstance(manifest, IntegrityError):
            continue
        listed = {entry.path for entry in manifest.files}
        for name in _files(folder):
            if name not in listed and name not in _BESIDE:
                yield Problem(
                    path=folder / name,
                    field="",
                    expected="files that the manifest lists",
                    got=f"{name}, {_age(folder / name, folder / MANIFEST)}",
                    fix="remove it, or publish a version that holds it",
                )


def other_parts(subject: Subject) -> Iterator[Problem]:
    """A version serves with parts in versions that nobody has tried it with."""
    for version in subject.served:
        manifest = subject.manifests.get(version)
        for part, proven in manifest.parts.items() if isinstance(manifest, Manifest) else ():
            neighbour = subject.neighbours.get(part)
            if neighbour is None or neighbour.config_or_none is None:
                continue  # another rule says so
            if neighbour.served and neighbour.served[-1] != proven:
                yield Problem(
                    field="version_policy",
                    expected=f"{part} {proven}, with which version {version} was proven",
                    got=f"{part} {neighbour.served[-1]} serves",
                    fix=f"modelport promote {subject.name} {version}, or build it again",
                )


def _files(folder: Path, below: str = "") -> Iterator[str]:
    with os.scandir(folder / below) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            name = f"{below}{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                if entry.name != BYTECODE:
                    yield from _files(folder, f"{name}/")
            else:
                yield name


def _age(path: Path, manifest: Path) -> str:
    newer = path.lstat().st_mtime_ns > manifest.stat().st_mtime_ns
    return "newer than the manifest" if newer else "not listed"

"""Rules about TensorRT plans, which fit one TensorRT version and one kind of GPU."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from modelport.repository import plans
from modelport.repository.doctor.finding import Problem, Severity
from modelport.repository.doctor.subject import Subject
from modelport.repository.gpus import Gpu
from modelport.repository.manifest import Manifest, PlanEntry

_FALLBACK = "model.onnx"


def _plans(subject: Subject) -> Iterator[tuple[int, Path]]:
    if subject.backend is not None and subject.backend.name == plans.BACKEND:
        yield from ((v, path) for v, path in subject.model_files() if path.is_file())


def _entry(subject: Subject, version: int) -> PlanEntry | None:
    """Give what a plan's manifest says of it; None for one that nobody proved."""
    manifest = subject.manifests.get(version)
    return manifest.plan if isinstance(manifest, Manifest) else None


def _falls_back(subject: Subject, version: int) -> bool:
    """Say whether `modelport serve` has an ONNX version to take in the place of a plan."""
    manifest = subject.manifests.get(version)
    source = manifest.derived_from if isinstance(manifest, Manifest) else None
    return source in subject.versions


def _weight(subject: Subject, version: int) -> Severity | None:
    # Any other Triton refuses it all the same.
    return "warning" if _falls_back(subject, version) else None


def other_tensorrt(subject: Subject) -> Iterator[Problem]:
    """A plan was built by another TensorRT than that of this machine, or than its neighbours."""
    for version, path in _plans(subject):
        entry, built = _entry(subject, version), plans.header_version(path)
        wanted = subject.machine.tensorrt or _of_neighbours(subject)
        built = entry.tensorrt if entry else built
        if not built or not wanted or _release(built) == _release(wanted):
            continue
        if entry is None or not plans.takes_tensorrt(entry, wanted):
            yield Problem(
                path=path,
                field="",
                expected=f"a plan of TensorRT {wanted}",
                got=f"one of TensorRT {built}",
                fix="build the plan in the image that serves it",
                severity=_weight(subject, version),
            )


def _of_neighbours(subject: Subject) -> str | None:
    """Give the newest TensorRT that built a plan of the repository: one server loads them all."""
    paths = [p for n in subject.neighbours.values() if n.config_or_none for _, p in _plans(n)]
    versions = [version for path in paths if (version := plans.header_version(path))]
    return max(versions, key=lambda version: [int(part) for part in version.split(".")], default="")


def _release(version: str) -> list[str]:
    return version.split(".")[:2]


def other_gpu(subject: Subject) -> Iterator[Problem]:
    """A plan was built for another kind of GPU than that of this machine."""
    here = subject.machine.gpu
    for version, path in _plans(subject):
        entry = _entry(subject, version)
        if entry and here and not plans.takes_gpu(entry, here):
            built = Gpu(entry.gpu, entry.compute_capability)
            yield Problem(
                path=path,
                field="",
                expected=f"a plan for {here.name} ({here.architecture})",
                got=f"one for {built.name} ({built.architecture})",
                fix=f"modelport plan {subject.name}, on this machine",
                severity=_weight(subject, version),
            )


def no_fallback(subject: Subject) -> Iterator[Problem]:
    """A plan has nothing beside it that runs without a GPU."""
    for version, path in _plans(subject):
        beside = (path.parent / _FALLBACK).is_file() or _falls_back(subject, version)
        if subject.machine.gpus == 0 and not beside:
            yield Problem(
                path=path,
                field="",
                expected=f"{_FALLBACK} beside it, on a machine without a GPU",
                got=f"{path.name} alone",
                fix=f"keep the ONNX file that the plan was built from as {_FALLBACK}",
            )


def lost_source(subject: Subject) -> Iterator[Problem]:
    """The ONNX version that a plan comes from is gone, served or not."""
    for version, manifest in subject.manifests.items():
        if not isinstance(manifest, Manifest) or manifest.plan is None:
            continue
        if manifest.derived_from not in subject.versions:
            yield Problem(
                path=subject.folder.version_dir(version),
                field=f"version {version}",
                expected=f"version {manifest.derived_from}, which it stands in for",
                got=f"versions {', '.join(map(str, subject.versions))}",
                fix=f"modelport pull brings version {manifest.derived_from} back; or build the plan"
                " of another version",
            )

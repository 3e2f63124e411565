"""Rules about TensorRT plans, which fit one TensorRT version and one kind of GPU."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from modelport.repository.doctor.finding import Problem
from modelport.repository.doctor.subject import Subject

_FALLBACK = "model.onnx"
# TensorRT writes its version behind a tag: four bytes, major first, at byte 24.
_TAG, _VERSION, _HEADER_BYTES = b"ftrt", slice(24, 28), 28


def plan_version(path: Path) -> str | None:
    """Give the TensorRT version that wrote a plan, such as 10.5.0; None where it does not say."""
    with path.open("rb") as file:
        header = file.read(_HEADER_BYTES)
    if len(header) < _HEADER_BYTES or not header.startswith(_TAG):
        return None
    return ".".join(str(number) for number in header[_VERSION][:3])


def _plans(subject: Subject) -> Iterator[Path]:
    if subject.backend is not None and subject.backend.name == "tensorrt":
        yield from (path for _, path in subject.model_files() if path.is_file())


def other_tensorrt(subject: Subject) -> Iterator[Problem]:
    """A plan was built by another TensorRT than that of this machine, or than its neighbours."""
    for path in _plans(subject):
        version = plan_version(path)
        wanted = subject.machine.tensorrt or _of_neighbours(subject)
        if version and wanted and _release(version) != _release(wanted):
            yield Problem(
                path=path,
                field="",
                expected=f"a plan of TensorRT {wanted}",
                got=f"one of TensorRT {version}",
                fix="build the plan in the image that serves it",
            )


def _of_neighbours(subject: Subject) -> str | None:
    """Give the newest TensorRT that built a plan of the repository: one server loads them all."""
    paths = [p for n in subject.neighbours.values() if n.config_or_none for p in _plans(n)]
    versions = [version for path in paths if (version := plan_version(path))]
    return max(versions, key=lambda version: [int(part) for part in version.split(".")], default="")


def _release(version: str) -> list[str]:
    return version.split(".")[:2]


def no_fallback(subject: Subject) -> Iterator[Problem]:
    """A plan has nothing beside it that runs without a GPU."""
    for path in _plans(subject):
        if subject.machine.gpus == 0 and not (path.parent / _FALLBACK).is_file():
            yield Problem(
                path=path,
                field="",
                expected=f"{_FALLBACK} beside it, on a machine without a GPU",
                got=f"{path.name} alone",
                fix=f"keep the ONNX file that the plan was built from as {_FALLBACK}",
            )

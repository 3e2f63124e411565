"""Whether the graphs of a repository are for TensorRT: a compile check, not an execution."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from modelport.build.tensorrt.engine import EngineOptions, compile  # noqa: A004
from modelport.build.tensorrt.graph import foreign
from modelport.build.tensorrt.library import Library, library
from modelport.build.tensorrt.profile import profile_of
from modelport.errors import ModelportError
from modelport.repository import digests
from modelport.repository.layout import ModelFolder, Repository
from modelport.repository.samples import FILE_NAME, Samples
from modelport.spec.config import ModelConfig
from modelport.spec.precision import Plan, Range

Outcome: TypeAlias = Literal["compiled", "foreign", "failed"]
_ONNX = "model.onnx"
# Of a dimension that varies where no sample tells more.
_UNKNOWN: Range = (1, 16, 64)


@dataclass(frozen=True)
class Verdict:
    """What the compiler says of a graph.

    Args:
        model: its name.
        versions: those that hold this very graph.
        precision: as the manifest has it.
        outcome: ``compiled``; ``foreign`` when it holds operators of another runtime, and
            TensorRT's parser refused it as it must; ``failed``.
        seconds: that parsing and compiling took.
        engine_bytes: size of the engine, of which nothing was run.
        operators: those of another runtime.
        reason: why it is not compiled.
    """

    model: str
    versions: tuple[int, ...]
    precision: str
    outcome: Outcome
    seconds: float
    engine_bytes: int = 0
    operators: tuple[str, ...] = ()
    reason: str = ""

    def as_dict(self) -> dict[str, object]:
        """Give the fields as JSON can hold them."""
        return asdict(self)


def check(repository: Repository, using: Library | None = None) -> Iterator[Verdict]:
    """Parse and compile every ONNX graph of a repository, variants and old versions included.

    Args:
        repository: with built versions.
        using: the library; TensorRT-RTX by default, which needs no GPU.

    Raises:
        MissingExtraError: TensorRT-RTX is not installed.
    """
    found = using or library(only="tensorrt_rtx")
    for folder in repository.models():
        graphs: dict[str, list[int]] = {}
        for version in folder.versions():
            path = folder.version_dir(version) / _ONNX
            if path.is_file():
                graphs.setdefault(digests.of_file(path), []).append(version)
        for versions in graphs.values():
            yield _verdict(folder, versions, found)


def _verdict(folder: ModelFolder, versions: list[int], found: Library) -> Verdict:
    newest = versions[-1]
    path = folder.version_dir(newest) / _ONNX
    precision = folder.manifest(newest).precision if folder.is_proven(newest) else "unknown"
    config = folder.config_of(newest) if folder.is_proven(newest) else folder.config()
    begin = time.perf_counter()
    outcome: Outcome = "compiled"
    operators: tuple[str, ...] = ()
    size, reason = 0, ""
    try:
        plan = Plan(lengths=lengths(config, path.parent / FILE_NAME))
        shapes = profile_of(config.input, config.max_batch_size, plan)
        size = len(compile(path, shapes, EngineOptions(), using=found).data)
    except ModelportError as error:
        operators, reason = tuple(foreign(path)), error.what
        outcome = "foreign" if operators else "failed"
    took = time.perf_counter() - begin
    given = (folder.name, tuple(versions), precision, outcome, round(took, 2))
    return Verdict(*given, size, operators, reason)


def lengths(config: ModelConfig, samples: Path) -> dict[str, tuple[Range, ...]]:
    """Read from the samples of a version how far each dimension varies."""
    cases = Samples.read(samples).cases if samples.is_file() else ()
    found = {}
    for tensor in config.input:
        offset = 1 if config.max_batch_size else 0
        varying = [i + offset for i, dim in enumerate(tensor.dims) if dim == -1]
        shapes = [case.inputs[tensor.name].shape for case in cases if tensor.name in case.inputs]
        if varying:
            found[tensor.name] = tuple(_range([shape[i] for shape in shapes]) for i in varying)
    return found


def _range(sizes: list[int]) -> Range:
    if not sizes:
        return _UNKNOWN
    # Engines start at one; a sample may be empty.
    ordered = sorted(max(size, 1) for size in sizes)
    return ordered[0], ordered[len(ordered) // 2], ordered[-1]

"""What a TensorRT plan is built from: the ONNX version, the wish for its engine, the graph."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from modelport.build import model_source
from modelport.build.model_source import ModelSource
from modelport.build.tensorrt import Shapes, profile_of
from modelport.errors import BuilderError, ConfigError, RepositoryError
from modelport.repository import digests, plans
from modelport.repository.layout import ModelFolder, Repository
from modelport.repository.manifest import EngineEntry, Manifest
from modelport.repository.samples import FILE_NAME as SAMPLES
from modelport.repository.samples import Samples
from modelport.spec.model import Model
from modelport.spec.parts import Tolerance
from modelport.spec.precision import FULL

# Precisions that follow from the FP32 graph itself; others are versions of their own.
CONVERTED = ("fp16", "bf16")
_FROM_FLOATS = (FULL, *CONVERTED)
# Precisions whose graphs compute in FP32.
_FLOATS = (FULL, "pruned")
# What 16 and 8 bits, and TF32 in place of FP32, may cost of the largest value of the answers.
_COST = {"fp32": 2e-3, "pruned": 2e-3, "fp16": 1e-2, "bf16": 5e-2, "int8": 5e-2}


@dataclass(frozen=True)
class PlanSource:
    """An ONNX version, and the version whose graph TensorRT is given.

    Attributes:
        version: that the plan stands in for.
        compiled: the version that holds the graph: the same, or a variant of it.
        options: how the engine is compiled.
    """

    folder: ModelFolder
    version: int
    compiled: int
    options: EngineEntry

    @cached_property
    def manifest(self) -> Manifest:
        """Of the version that the plan stands in for."""
        return self.folder.manifest(self.version)

    @property
    def onnx(self) -> Path:
        """The ONNX file of the version that the plan stands in for."""
        return self._source(self.version).model_file

    @property
    def graph(self) -> Path:
        """The ONNX file that is compiled, or converted first."""
        return self._source(self.compiled).model_file

    @property
    def onnx_sha256(self) -> str:
        """Digest of what the plan stands in for."""
        return plans.onnx_digest(self.manifest, self.folder.config_of(self.version))

    @cached_property
    def samples(self) -> Samples:
        """Requests with the answers that the version was proven with."""
        return Samples.read(self.folder.version_dir(self.compiled) / SAMPLES)

    @cached_property
    def model(self) -> Model:
        """The declaration that config.pbtxt comes from, with the tolerance of the plan."""
        return self._source(self.version).model(self.tolerance)

    @cached_property
    def profile(self) -> dict[str, Shapes]:
        """Smallest, commonest and largest shape of every input."""
        config = self.folder.config_of(self.version)
        try:
            return profile_of(config.input, config.max_batch_size, self.options.plan)
        except BuilderError as error:
            raise BuilderError(
                f"{self.folder.name}: {error.what}",
                cause=error.cause,
                next_step=f"{error.next_step}; or --length INPUT=MIN,OPT,MAX, once for each",
                **error.objects,
            ) from error

    @property
    def tolerance(self) -> Tolerance:
        """How far the plan's answers may lie from those of the samples.

        That of the graph's version, and what the precision costs beside: a share of the largest
        value of any floating-point answer, because that is what rounding inside a network does.
        """
        bound = self.folder.manifest(self.compiled).proof.tolerance
        cost = _COST[self.options.of]
        floats = [
            abs(array.astype(float)).max()
            for case in self.samples.cases
            for array in case.outputs.values()
            if array.dtype.kind == "f" and array.size
        ]
        return Tolerance(
            max(bound.absolute, cost * float(max(floats, default=0.0))),
            max(bound.relative, cost),
        )

    def graph_digest(self, path: Path) -> str:
        """Digest the graph that is compiled, with weights beside it that it refers to."""
        if path != self.graph:
            return digests.of_file(path)
        return plans.onnx_digest(
            self.folder.manifest(self.compiled), self.folder.config_of(self.compiled)
        )

    def _source(self, version: int) -> ModelSource:
        return model_source.of_repository(self.folder, version)


def find(
    repository: Repository, name: str, version: int | None, wish: Mapping[str, object]
) -> PlanSource:
    """Find what a plan of a model is built from.

    Args:
        repository: holds the model.
        name: of the model.
        version: that the plan is to stand in for; the one that serves by default, or that the
            plan comes from which serves.
        wish: fields of :class:`EngineEntry` that differ from what the builder declares.

    Raises:
        RepositoryError: there is no such model or version, or no variant of that precision.
        ConfigError: it is no ONNX model, or one whose answers cannot be compared.
        BuilderError: a value of the wish means nothing.
        IntegrityError: the version was never proven, or is not what was proven.
    """
    folder = repository.model(name)
    version = _version(folder, version)
    config = folder.config_of(version)
    if not plans.is_onnx(config):
        raise _no_onnx(repository, folder, version)
    manifest = folder.manifest(version)
    options = _options(manifest, wish)
    source = PlanSource(folder, version, _compiled(folder, version, options.of), options)
    _ = source.profile  # raises for a dimension that nobody gave a range of
    return source


def _version(folder: ModelFolder, version: int | None) -> int:
    chosen = version or next(reversed(folder.served_versions()), None)
    if chosen is None or chosen not in folder.versions():
        known = ", ".join(map(str, folder.versions())) or "none"
        raise RepositoryError(
            f"{folder.path}: there is no version {chosen or 'that serves'}; there are {known}",
            next_step=f"modelport versions {folder.name}",
            model=folder.name,
        )
    found = plans.plan_of(folder, chosen)
    return found[0].derived_from or chosen if found else chosen


def _options(manifest: Manifest, wish: Mapping[str, object]) -> EngineEntry:
    declared = (manifest.engine or EngineEntry()).model_dump()
    lengths = wish.get("lengths")
    if isinstance(lengths, dict):
        wish = {**wish, "lengths": {**declared["lengths"], **lengths}}
    return EngineEntry.model_validate({**declared, **wish})


def _compiled(folder: ModelFolder, version: int, precision: str) -> int:
    """Find the version whose graph gives a plan of a precision for a version.

    Raises:
        RepositoryError: there is none.
    """
    manifest = folder.manifest(version)
    if manifest.precision == precision:
        return version
    root = manifest.derived_from or version
    if precision in _FROM_FLOATS:
        # A graph that was quantized for CPUs is none to convert; what it comes from is.
        floats = version if manifest.precision in _FLOATS else root
        if folder.is_proven(floats):
            return floats
    for number in reversed(folder.proven_versions()):
        found = folder.manifest(number)
        if (found.derived_from, found.precision) == (root, precision):
            return number
    raise RepositoryError(
        f"{folder.path}: version {version} has no {precision} version beside it",
        cause=f"a plan of {precision} is compiled from the graph of such a version",
        next_step=f"modelport build {folder.name} --choose {precision}, or modelport plan"
        f" {folder.name} --of fp16",
        model=folder.name,
        version=version,
    )


def _no_onnx(repository: Repository, folder: ModelFolder, version: int) -> ConfigError:
    runs = sorted(name for name in folder.config_of(version).runs if _is_onnx(repository, name))
    parts = f"it runs {', '.join(runs)}" if runs else "TensorRT compiles ONNX graphs alone"
    return ConfigError(
        f"{folder.path}: version {version} of {folder.name} is no ONNX model, so there is nothing"
        " to compile",
        cause=parts,
        next_step=f"modelport plan {' '.join(runs)}" if runs else None,
        model=folder.name,
        version=version,
    )


def _is_onnx(repository: Repository, name: str) -> bool:
    folder = repository.folder(name)
    return folder.config_path.is_file() and plans.is_onnx(folder.config())

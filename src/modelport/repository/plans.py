"""TensorRT plans in a repository: versions that stand in for an ONNX version on one kind of GPU.

A plan is a version of its model like any other, and says in its manifest what it was compiled
from. It is found by four things: the digest of the ONNX file, the version of TensorRT, the
compute capability of the GPU, and the options that it was compiled with.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from modelport.errors import IntegrityError
from modelport.repository import digests
from modelport.repository.build_environment import FILE_NAME as ENVIRONMENT
from modelport.repository.gpus import Gpu
from modelport.repository.layout import CONFIG, ModelFolder
from modelport.repository.manifest import Manifest, PlanEntry
from modelport.repository.samples import FILE_NAME as SAMPLES
from modelport.spec.config import ModelConfig, ModelInstanceGroup
from modelport.spec.parts import Tolerance

MODEL_FILE = "model.plan"
BACKEND, PLATFORM = "tensorrt", "tensorrt_plan"
# The library whose engines Triton's backend runs; those of TensorRT-RTX are none.
LIBRARY = "tensorrt"
_ONNX_BACKEND, _ONNX_PLATFORM, _ONNX_FILE = "onnxruntime", "onnxruntime_onnx", "model.onnx"
# What a version holds beside its network.
_OURS = (CONFIG, ENVIRONMENT, SAMPLES)
# Hardware-compatible engines run on this compute capability and later ones.
_AMPERE = [8, 0]
# TensorRT writes its version behind a tag: four bytes, major first, at byte 24.
_TAG, _VERSION, _HEADER_BYTES = b"ftrt", slice(24, 28), 28


@dataclass(frozen=True)
class Place:
    """What a plan meets on a machine.

    Attributes:
        gpu: the one that models run on; None without any.
        tensorrt: version of the server's TensorRT; None where it has none.
    """

    gpu: Gpu | None = None
    tensorrt: str | None = None

    def __str__(self) -> str:
        if self.gpu is None:
            return "no GPU"
        library = f"TensorRT {self.tensorrt}" if self.tensorrt else "no TensorRT"
        return f"{library} and {self.gpu.name} ({self.gpu.architecture})"


@dataclass(frozen=True)
class Key:
    """What a plan is found by."""

    onnx_sha256: str
    tensorrt: str
    compute_capability: str
    options: str

    @classmethod
    def of(cls, plan: PlanEntry) -> Key:
        """Give the key of a plan."""
        options = digests.of_value(plan.options.model_dump(mode="json"))
        return cls(plan.onnx_sha256, plan.tensorrt, plan.compute_capability, options)


def misfit(plan: PlanEntry, here: Place, config: ModelConfig | None = None) -> str:
    """Say why a plan cannot run on a machine, or for a configuration; empty where it can.

    Args:
        plan: what it needs.
        here: what there is.
        config: what it is to serve with; its batches must be within the profile.
    """
    if plan.library != LIBRARY:
        return f"an engine of {plan.library}, which Triton cannot load"
    if not (takes_tensorrt(plan, here.tensorrt) and takes_gpu(plan, here.gpu)):
        gpu = Gpu(plan.gpu, plan.compute_capability)
        return (
            f"built for TensorRT {plan.tensorrt} on {gpu.name} ({gpu.architecture});"
            f" this machine has {here}"
        )
    if config is not None and config.max_batch_size:
        largest = min((largest[0] for _, _, largest in plan.profile.values()), default=0)
        if largest < config.max_batch_size:
            return f"built for batches up to {largest}; config.pbtxt allows {config.max_batch_size}"
    return ""


def takes_tensorrt(plan: PlanEntry, tensorrt: str | None) -> bool:
    """Say whether a version of TensorRT runs a plan; one that may be newer needs to know how.

    Source: NVIDIA TensorRT documentation, "Version Compatibility": within one major version.
    """
    if tensorrt is None:
        return False
    built, have = _numbers(plan.tensorrt), _numbers(tensorrt)
    # One of them may say the build number too, and the other not.
    said = min(len(built), len(have))
    if built[:said] == have[:said]:
        return True
    return plan.options.version_compatible and built[0] == have[0] and have > built


def takes_gpu(plan: PlanEntry, gpu: Gpu | None) -> bool:
    """Say whether a GPU runs a plan.

    Source: NVIDIA TensorRT documentation, "Hardware Compatibility": Ampere and later.
    """
    if gpu is None:
        return False
    if gpu.compute_capability == plan.compute_capability:
        return True
    return plan.options.hardware_compatible and _numbers(gpu.compute_capability) >= _AMPERE


def _numbers(version: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", version)[:4]] or [0]


def header_version(path: Path) -> str | None:
    """Give the TensorRT version that wrote a plan, such as 10.5.0; None where it does not say."""
    with path.open("rb") as file:
        header = file.read(_HEADER_BYTES)
    if len(header) < _HEADER_BYTES or not header.startswith(_TAG):
        return None
    return ".".join(str(number) for number in header[_VERSION][:3])


def is_plan(config: ModelConfig) -> bool:
    """Say whether a configuration is that of a plan."""
    return config.backend == BACKEND or config.platform == PLATFORM


def is_onnx(config: ModelConfig) -> bool:
    """Say whether a configuration is that of an ONNX file."""
    return config.backend == _ONNX_BACKEND or config.platform == _ONNX_PLATFORM


def onnx_file(config: ModelConfig) -> str:
    """Name the ONNX file in the version folders."""
    return config.default_model_filename or _ONNX_FILE


def config_for_plan(config: ModelConfig) -> ModelConfig:
    """Turn the configuration of an ONNX model into that of its plan.

    Without a ``kind``: Triton's backend refuses KIND_CPU, and finds the GPU by itself. What is
    meant for ONNX Runtime goes.
    """
    groups = tuple(
        ModelInstanceGroup(name=group.name, count=group.count, rate_limiter=group.rate_limiter)
        for group in config.instance_group
    )
    optimization = config.optimization and dataclasses.replace(
        config.optimization, graph=None, execution_accelerators=None
    )
    return dataclasses.replace(
        config,
        backend=BACKEND,
        platform="",
        default_model_filename="",
        instance_group=groups,
        optimization=optimization,
        parameters={},
        model_operations=None,
    )


def onnx_digest(manifest: Manifest, config: ModelConfig) -> str:
    """Digest the ONNX file of a version, with what lies beside it: its weights may.

    Args:
        manifest: of the version.
        config: of the version; labels, which it names, are no part of the network.
    """
    labels = {output.label_filename for output in config.output}
    files = {f.path: f.sha256 for f in manifest.files if f.path not in {*_OURS, *labels}}
    return next(iter(files.values())) if len(files) == 1 else digests.of_value(files)


def versions(folder: ModelFolder) -> Iterator[tuple[int, Manifest, PlanEntry]]:
    """Give the plans among the versions of a model, newest first, with what they say.

    One whose manifest cannot be read is passed over; ``modelport doctor`` names it.
    """
    for version in reversed(folder.versions()):
        found = plan_of(folder, version)
        if found is not None:
            yield version, *found


def plan_of(folder: ModelFolder, version: int) -> tuple[Manifest, PlanEntry] | None:
    """Read what a plan says; None for any other version."""
    # Looked at before the manifest is read: most versions are none.
    if not (folder.version_dir(version) / MODEL_FILE).is_file():
        return None
    try:
        manifest = folder.manifest(version)
    except IntegrityError:
        return None
    return (manifest, manifest.plan) if manifest.plan else None


def others(folder: ModelFolder) -> list[int]:
    """List the versions of a model that are no plans, ascending."""
    return [version for version in folder.versions() if plan_of(folder, version) is None]


def stand_in(
    folder: ModelFolder, version: int, here: Place, config: ModelConfig
) -> tuple[int, Manifest] | None:
    """Find the plan that is to serve in place of an ONNX version on a machine.

    Of several that fit, one that was compiled as the builder wants it, for just this machine,
    comes first; then the newest.

    Args:
        folder: the model.
        version: that serves by config.pbtxt.
        here: the machine.
        config: what it serves with.

    Raises:
        IntegrityError: the version's manifest cannot be read.
    """
    found = list(versions(folder))
    if not found or not folder.is_proven(version):
        return None
    manifest = folder.manifest(version)
    digest = onnx_digest(manifest, folder.config_of(version))
    fitting = [
        (number, of_plan, plan)
        for number, of_plan, plan in found
        if plan.onnx_sha256 == digest and not misfit(plan, here, config)
    ]
    if not fitting:
        return None
    best = max(fitting, key=lambda one: (one[2].options == manifest.engine, _is_plain(one[2])))
    return best[0], best[1]


def tolerance(folder: ModelFolder, version: int, loaded: Mapping[str, Sequence[int]]) -> Tolerance:
    """Say how far the answers of a version may lie from its samples on a server.

    It was proven with ONNX versions of its parts; where a plan serves in the place of one, what
    that may differ counts too.

    Args:
        folder: the model.
        version: of it.
        loaded: versions by model that the server has.

    Raises:
        IntegrityError: a manifest is missing or damaged.
    """
    manifest = folder.manifest(version)
    bound = manifest.proof.tolerance
    bounds = [Tolerance(bound.absolute, bound.relative)]
    for name in manifest.parts:
        part = ModelFolder(folder.path.parent / name)
        of_part = next(reversed(loaded.get(name, ())), manifest.parts[name])
        if not part.is_proven(of_part):
            continue  # gone, or never proven: doctor says so
        if plan_of(part, of_part) or part.manifest(of_part).parts:
            bounds.append(tolerance(part, of_part, loaded))
    return Tolerance(max(b.absolute for b in bounds), max(b.relative for b in bounds))


def _is_plain(plan: PlanEntry) -> bool:
    """Say whether a plan runs nowhere else, which makes it faster."""
    return not (plan.options.version_compatible or plan.options.hardware_compatible)

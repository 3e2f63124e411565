"""TensorRT plans: an ONNX version compiled for this machine's GPU, proven and published.

It needs a GPU and TensorRT, in practice NVIDIA's image of the tritonserver that will serve the
plan; neither builders nor torch.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from modelport import __version__
from modelport.build import half, plan_candidate, plan_source, proof, publication, tensorrt
from modelport.build.plan_candidate import PlanCandidate
from modelport.build.plan_source import CONVERTED, PlanSource
from modelport.build.publication import Prover
from modelport.build.steps import Built, Listener, Progress, Report
from modelport.build.tensorrt import Engine, EngineOptions, Shapes
from modelport.errors import AcceleratorError, IntegrityError
from modelport.repository import digests, gpus, plans, publish
from modelport.repository.gpus import Gpu
from modelport.repository.layout import ModelFolder, Repository
from modelport.repository.manifest import PlanEntry
from modelport.runtime import cache, pins
from modelport.spec.precision import Bf16, Fp16

# What NVIDIA's image says of itself.
_IMAGE_VARIABLE = "NVIDIA_TRITON_SERVER_VERSION"
_IMAGE = "nvcr.io/nvidia/tritonserver:{tag}-py3"


class Compile(Protocol):
    """What :func:`modelport.build.tensorrt.compile` is asked for."""

    def __call__(
        self,
        onnx: Path,
        shapes: Mapping[str, Shapes],
        options: EngineOptions,
        *,
        timing_cache: Path | None,
        progress: Callable[[str, int, int], None] | None,
    ) -> Engine: ...


@dataclass(frozen=True)
class Workshop:
    """What compiles and proves plans, and for which GPU.

    Attributes:
        gpu: of this machine; None where it has none.
        compile: makes an engine of an ONNX file.
        library: finds TensorRT; gives its name and version.
        image: in which this runs, if it is one.
        prove: serves a plan and asks it.
    """

    gpu: Gpu | None
    compile: Compile = tensorrt.compile
    library: Callable[[], tuple[str, str]] = lambda: _library()
    image: str | None = None
    prove: Prover = proof.prove

    @classmethod
    def here(cls, image: str | None = None) -> Workshop:
        """Describe this machine."""
        return cls(gpus.gpu(), image=image or image_here())


def _library() -> tuple[str, str]:
    # Engines of TensorRT-RTX are none that Triton loads.
    found = tensorrt.library(only=plans.LIBRARY)
    return found.name, found.version


def image_here() -> str | None:
    """Name NVIDIA's image that this process runs in; None outside of one."""
    tag = os.environ.get(_IMAGE_VARIABLE)
    return _IMAGE.format(tag=tag) if tag else None


@dataclass(frozen=True)
class Order:
    """Plans that are wanted.

    Attributes:
        names: of the models.
        version: that the plan is to stand in for; None for the one that serves.
        wish: fields of ``EngineEntry`` that differ from what the builders declare.
        flags: the same as people write it.
    """

    names: Sequence[str]
    version: int | None = None
    wish: Mapping[str, object] = field(default_factory=dict)
    flags: str = ""


def build(
    repository: Repository,
    order: Order,
    workshop: Workshop,
    listener: Listener,
    *,
    dry_run: bool = False,
) -> list[Built]:
    """Compile plans of models on this machine, prove them, and publish each.

    Args:
        repository: holds the models.
        order: what is wanted.
        workshop: compiles and proves.
        listener: hears of every step.
        dry_run: do all of it, and leave the repository as it is.

    Returns:
        The version of each, new or there already.

    Raises:
        AcceleratorError: there is no GPU here.
        MissingExtraError: there is no TensorRT here.
        RepositoryError, ConfigError, BuilderError: there is nothing to compile, or a wish means
            nothing.
        IntegrityError: a version is not what was proven.
        ExportError: a graph cannot be converted or compiled.
        LoadError, ParityError: a plan does not answer as the version does; it stays staged.
        PublishError: the disk or another publisher is in the way.
    """
    sources = [
        plan_source.find(repository, name, order.version, order.wish) for name in order.names
    ]
    for source in sources:
        _refuse_altered(source.folder, {source.version, source.compiled})
    if workshop.gpu is None:
        raise _no_gpu(repository, order, workshop)
    library, version = workshop.library()
    publish.finish(repository.path)
    return [
        _build(repository, _Making(source, workshop, listener, library, version), dry_run=dry_run)
        for source in sources
    ]


def _build(repository: Repository, made: _Making, *, dry_run: bool) -> Built:
    name = made.source.folder.name
    with tempfile.TemporaryDirectory(dir=cache.folder("plans"), prefix=f"{name}-") as work:
        candidate = made.candidate(Path(work))
        there = candidate.published(repository)
        if there is not None:
            return Built(name, there, new=False)
        made.compile(candidate)
        found = publication.publish(
            [candidate],
            {name: None},
            repository,
            made.listener,
            label=f"plan-{name}",
            dry_run=dry_run,
            prove=made.workshop.prove,
        )
    return Built(name, found[name], new=True)


@dataclass(frozen=True)
class _Making:
    """One plan on its way from an ONNX file to a candidate."""

    source: PlanSource
    workshop: Workshop
    listener: Listener
    library: str
    version: str

    def candidate(self, work: Path) -> PlanCandidate:
        """Prepare the graph, and say what the plan will be; its file is yet to be written."""
        source, gpu = self.source, self.workshop.gpu
        assert gpu is not None
        graph = self._graph(work)
        entry = PlanEntry(
            library=self.library,
            tensorrt=self.version,
            compute_capability=gpu.compute_capability,
            gpu=gpu.name,
            image=self.workshop.image,
            onnx_sha256=source.onnx_sha256,
            graph_sha256=source.graph_digest(graph),
            options=source.options,
            profile={n: tuple(map(list, shapes)) for n, shapes in source.profile.items()},
        )
        fields: dict[str, Any] = plan_candidate.config_of(source.folder, source.version)
        of_graph = source.folder.manifest(source.compiled)
        return PlanCandidate(
            origin=source.onnx,
            public=source.manifest.public,
            model=source.model,
            reference=of_graph.proof.through_server.reference,
            cases=source.samples,
            cases_digest="",
            files={plans.MODEL_FILE: work / plans.MODEL_FILE},
            data=source.manifest.data,
            seed=source.manifest.seed,
            source=source.manifest,
            graph=of_graph,
            plan=entry,
            **fields,
        )

    def _graph(self, work: Path) -> Path:
        """Give the graph in the precision that is wanted, converted where it must be."""
        source, precision = self.source, self.source.options.of
        full = source.folder.manifest(source.compiled).precision
        if precision not in CONVERTED or full == precision:
            return source.graph
        start, target = time.monotonic(), work / f"{precision}.onnx"
        batches = [case.inputs for case in source.samples.cases]
        half.convert(source.graph, target, batches, Fp16() if precision == "fp16" else Bf16())
        self._tell("convert", f"version {source.compiled} to {precision}", start)
        return target

    def compile(self, candidate: PlanCandidate) -> None:
        """Write the plan's file."""
        start, target = time.monotonic(), candidate.files[plans.MODEL_FILE]
        converted = target.with_name(f"{self.source.options.of}.onnx")
        engine = self.workshop.compile(
            converted if converted.is_file() else self.source.graph,
            self.source.profile,
            tensorrt.EngineOptions.of(self.source.options.plan),
            timing_cache=self._timing_cache(),
            progress=self._progress,
        )
        target.write_bytes(engine.data)
        gpu = f"{candidate.plan.gpu}, {len(engine.data) / 1e6:.1f} MB"
        self._tell("compile", f"TensorRT {engine.version} for {gpu}", start)

    def _timing_cache(self) -> Path:
        """Say where TensorRT keeps what it measured: of one library, on one kind of GPU."""
        assert self.workshop.gpu is not None
        name = digests.of_value([self.library, self.version, self.workshop.gpu.name])[:16]
        return cache.folder("timing") / f"{name}.cache"

    def _progress(self, text: str, done: int, total: int) -> None:
        self.listener(Progress(self.source.folder.name, "compile", text, done, total))

    def _tell(self, step: str, words: str, start: float) -> None:
        self.listener(Report(self.source.folder.name, step, words, time.monotonic() - start))


def _refuse_altered(folder: ModelFolder, versions: set[int]) -> None:
    for version in sorted(versions):
        changed = folder.manifest(version).changed_files(folder.version_dir(version))
        if changed:
            name, how = min(changed.items())
            raise IntegrityError(
                f"{folder.version_dir(version) / name}: {how}, so it is not what was proven",
                next_step=f"modelport verify {folder.name}",
                path=folder.version_dir(version) / name,
                model=folder.name,
                version=version,
            )


def _no_gpu(repository: Repository, order: Order, workshop: Workshop) -> AcceleratorError:
    names = " and ".join([", ".join(order.names[:-1]), order.names[-1]][len(order.names) == 1 :])
    return AcceleratorError(
        f"TensorRT compiles {names} on the GPU that will serve, and this machine has none",
        next_step="on a machine with that GPU:\n  "
        + command_elsewhere(repository, order, workshop.image),
        models=list(order.names),
        command=command_elsewhere(repository, order, workshop.image),
    )


def command_elsewhere(repository: Repository, order: Order, image: str | None = None) -> str:
    """Write the command that builds plans in the image that will serve them.

    Args:
        repository: holds the models; its parent folder is what the image sees.
        order: what is wanted.
        image: whole, or its tag such as ``24.10``; that of the tritonserver that proofs run on
            by default.
    """
    image = image or pins.wheel().container
    whole = image if "/" in image or ":" in image else _IMAGE.format(tag=image)
    path = repository.path.resolve()
    parent = "$PWD" if path.parent == Path.cwd() else str(path.parent)
    arguments = [*order.names, order.flags, f"--repository {path.name}"]
    # The Python package must be of the version that the image's own libraries are of.
    packages = f'"modelport[tensorrt]=={__version__}" "tensorrt==${{TRT_VERSION%.*}}"'
    return (
        f'docker run --rm --gpus all -v "{parent}":/work -w /work {whole}'
        f" bash -c 'pip install {packages} && modelport plan {' '.join(filter(None, arguments))}'"
    )


__all__ = ["Order", "Workshop", "build", "command_elsewhere", "image_here"]

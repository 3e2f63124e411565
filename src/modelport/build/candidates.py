"""Candidates: what is to be published, staged, and compared with what is published."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path

import numpy as np

from modelport.build import provenance
from modelport.build.model_files import CODE
from modelport.errors import ConfigError, IntegrityError
from modelport.repository import digests, edits, pbtxt, plans
from modelport.repository.build_environment import FILE_NAME as ENVIRONMENT
from modelport.repository.layout import CONFIG, ModelFolder, Repository
from modelport.repository.manifest import (
    BuilderEntry,
    DataEntry,
    EngineEntry,
    FileEntry,
    JudgementEntry,
    LatencyEntry,
    Manifest,
    Metrics,
    ParityEntry,
    Proof,
    TensorsEntry,
    ToleranceEntry,
)
from modelport.repository.publish import Move
from modelport.repository.samples import FILE_NAME as SAMPLES
from modelport.repository.samples import Case, Samples
from modelport.spec.config import ModelConfig
from modelport.spec.model import Model, SklearnModel, TorchModel, label_file
from modelport.spec.precision import FULL, Plan
from modelport.verify.parity import Parity

# Single requests with a title always stay in the version; of the others only some.
_KEPT_CASES = 6
_KEPT_BYTES = 64 << 10


@dataclass(frozen=True)
class Candidate:
    """One model with everything that its version would hold.

    Args:
        origin: the file that declares it: a builder, an ONNX file, a config.pbtxt.
        public: whether people call it.
        model: the declaration.
        config: what config.pbtxt will say, but for the versions that serve.
        reference: where the expected answers come from, in words.
        cases: requests and expected answers of its proof.
        cases_digest: their digest; empty where the answers follow from the files.
        files: name in the version folder to the file on disk (``model.onnx``, …).
        beside: files that Triton reads beside the version folders (labels): path to content.
        data: data sources, for the manifest.
        parts: build keys of the models that it runs.
        metrics: figures of the network on held-out data.
        in_process: parity in this process, for a network.
        seed: of the training.
        keep_edits: a config.pbtxt that was edited by hand stays as it is.
        precision: of the network.
        derived_from: the version with the network as it was trained, of a variant.
        judgement: why this variant was chosen, where it was asked.
    """

    origin: Path
    public: bool
    model: Model
    config: ModelConfig
    reference: str
    cases: Samples
    cases_digest: str
    files: dict[str, Path]
    beside: Mapping[str, bytes]
    data: Sequence[DataEntry]
    parts: Sequence[str] = ()
    metrics: Metrics | None = None
    in_process: Parity | None = None
    seed: int | None = None
    keep_edits: bool = False
    precision: str = FULL
    derived_from: int | None = None
    judgement: JudgementEntry | None = None

    @property
    def origin_name(self) -> str:
        """The file that declares it as headers and manifests name it: with its folder."""
        return f"{self.origin.parent.name}/{self.origin.name}"

    @property
    def key(self) -> str:
        """Digest of all that the answers depend on; equal keys need no second version.

        What a Python model answers depends on the library too, and an ensemble's answer
        on its parts: their cases tell. What tensors mean counts too, for clients rely on it.
        """
        code = self.files.get(CODE)
        meaning = TensorsEntry.of(self.model).told()
        return digests.of_value(
            {
                **({"meaning": meaning} if meaning else {}),
                "config": repr(self.config),
                "files": {name: digests.of_file(path) for name, path in self.files.items()},
                "labels": {name: _text(content) for name, content in self.beside.items()},
                "cases": self.cases_digest,
                "library": provenance.used_by(code) if code else "",
                "tolerance": asdict(self.model.tolerance),
                "parts": list(self.parts),
            }
        )

    def base(self, repository: Repository) -> Manifest | None:
        """Find the newest version that is this candidate, whichever serves."""
        folder = repository.folder(self.model.name)
        for version in reversed(folder.proven_versions() if folder.path.is_dir() else []):
            with suppress(IntegrityError):
                manifest = folder.manifest(version)
                if manifest.build_key == self.key:
                    return manifest
        return None

    def published(self, repository: Repository) -> int | None:
        """Give the newest version if it is this candidate, with its files as they were.

        Older versions do not count: by Triton's default policy the newest serves, so
        going back to an earlier state publishes it again. Plans do not count either: they are
        compiled from what a build leaves.
        """
        folder = repository.folder(self.model.name)
        newest = newest_graph(folder)
        if newest is None:
            return None
        try:
            manifest = folder.manifest(newest)
        except IntegrityError:
            return None
        same = manifest.build_key == self.key
        return newest if same and not manifest.changed_files(folder.version_dir(newest)) else None

    def next_version(self, repository: Repository) -> int:
        """Choose the version to publish as."""
        folder = repository.folder(self.model.name)
        versions = folder.versions() if folder.path.is_dir() else []
        return versions[-1] + 1 if versions else 1

    def stage(self, stage: Path, version: int, repository: Repository) -> None:
        """Write the model as it would be published into a staging folder.

        Its version folder holds all that decides its answers, config.pbtxt and labels too:
        going back to a version brings back how it was run.

        Raises:
            ConfigError: config.pbtxt was edited by hand and says something else.
            OSError: the disk refused.
        """
        staged = ModelFolder(stage / self.model.name)
        version_dir = staged.version_dir(version)
        version_dir.mkdir(parents=True)
        self._stage_config(staged, version_dir, repository.folder(self.model.name))
        for name, content in self.beside.items():
            for folder in (staged.path, version_dir):
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                (folder / name).write_bytes(content)
        for name, file in self.files.items():
            (version_dir / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, version_dir / name)
        self.kept_cases().write(version_dir / SAMPLES)
        provenance.environment().write(version_dir)

    def _stage_config(self, staged: ModelFolder, version_dir: Path, current: ModelFolder) -> None:
        """Write config.pbtxt beside the version folder, as it would be published, and into it."""
        if current.promoted:
            # What serves was promoted: the new version waits with a configuration of its own.
            edits.write(staged.config_path, self.config, builder=self.origin_name)
        else:
            if current.config_path.is_file():
                shutil.copy2(current.config_path, staged.config_path)
            try:
                edits.update(
                    staged.config_path,
                    self.model.config(),
                    builder=self.origin_name,
                    keep=self.keep_edits,
                )
            except ConfigError as error:
                raise _pointing_at(current.config_path, staged.config_path, error) from error
        edits.write(version_dir / CONFIG, self.config, builder=self.origin_name)

    def kept_cases(self) -> Samples:
        """The cases that stay in the version, for the watchdog and for load tests."""
        titled = [case for case in self.cases.cases if case.title]
        others = [c for c in self.cases.cases if not c.title and _size_bytes(c) <= _KEPT_BYTES]
        return Samples((*titled, *others[:_KEPT_CASES]), self.cases.delivery)

    def manifest(
        self,
        version_dir: Path,
        *,
        parts: Mapping[str, int],
        served: Parity,
        how: ParityEntry,
        server: str,
        latency: LatencyEntry | None,
    ) -> Manifest:
        """Describe the staged version, with the parity found through the server.

        Args:
            version_dir: where it is staged.
            parts: versions of the models that it ran.
            served: the parity.
            how: in which ways it was asked.
            server: that it was asked through.
            latency: of what people call.
        """
        tolerance = self.model.tolerance
        worst = {"worst_absolute": served.worst_absolute, "worst_relative": served.worst_relative}
        through_server = how.model_copy(
            update={
                "requests": served.requests,
                "batch_sizes": sorted(served.batch_sizes),
                **worst,
            }
        )
        return Manifest(
            model=self.model.name,
            version=int(version_dir.name),
            kind=self.model.kind,
            public=self.public,
            doc=self.model.doc,
            limits=list(self.model.limits),
            tensors=TensorsEntry.of(self.model),
            runs=sorted(self.model.runs),
            parts=dict(sorted(parts.items())),
            created=datetime.now(timezone.utc).replace(microsecond=0),
            builder=BuilderEntry(path=self.origin_name, sha256=digests.of_file(self.origin)),
            build_key=self.key,
            git_commit=provenance.git_commit(self.origin),
            dependencies=provenance.dependencies(),
            data=list(self.data),
            seed=self.seed,
            metrics=self.metrics,
            proof=Proof(
                tolerance=ToleranceEntry(**asdict(tolerance)),
                in_process=_entry(self.in_process, self.model),
                through_server=through_server,
                server=server,
            ),
            latency=latency,
            precision=self.precision,
            derived_from=self.derived_from,
            judgement=self.judgement,
            engine=_wanted_engine(self.model),
            files=[
                FileEntry.of(version_dir / name, version_dir)
                for name in sorted({*self.files, *self.beside, CONFIG, ENVIRONMENT, SAMPLES})
            ],
        )

    def moves(self, stage: Path, version: int, repository: Repository) -> list[Move]:
        """List the renames that publish the staged version: weights first, then what names them.

        Of a version that is published already, only what lies beside it may need writing.
        """
        staged = ModelFolder(stage / self.model.name)
        current = repository.folder(self.model.name)
        target = current.version_dir(version)
        moves = [] if target.is_dir() else [Move(staged.version_dir(version), target)]
        if current.promoted:
            return moves
        return moves + [
            Move(staged.path / name, current.path / name)
            for name in (*self.beside, CONFIG)
            if not _same(staged.path / name, current.path / name)
        ]


def newest_graph(folder: ModelFolder) -> int | None:
    """Give the newest version, unless it was never proven; TensorRT plans stand beside it."""
    versions = plans.others(folder) if folder.path.is_dir() else []
    return versions[-1] if versions and versions[-1] in folder.proven_versions() else None


def labels_of(model: Model) -> dict[str, bytes]:
    """Give the label files of a declaration: name to content, one class a line."""
    outputs = (tensor for tensor in model.outputs if tensor.labels)
    return {label_file(tensor): ("\n".join(tensor.labels) + "\n").encode() for tensor in outputs}


def config_of(model: Model, repository: Repository, *, keep_edits: bool) -> ModelConfig:
    """Say what config.pbtxt will hold: what the builder says, or hand edits that are kept.

    Which versions serve is left out: promotion decides that, and no proof depends on it.
    """
    path = repository.folder(model.name).config_path
    if keep_edits and path.is_file() and edits.hand_edited(path):
        return dataclasses.replace(pbtxt.read(path), version_policy=None)
    return model.config()


def _wanted_engine(model: Model) -> EngineEntry | None:
    """Write down the plan that a builder declares, for machines that have the repository alone."""
    variants = model.variants if isinstance(model, TorchModel) else ()
    plan = next((variant for variant in variants if isinstance(variant, Plan)), None)
    return EngineEntry.declared(plan) if plan else None


def _entry(parity: Parity | None, model: Model) -> ParityEntry | None:
    if parity is None:
        return None
    return ParityEntry(
        reference="scikit-learn" if isinstance(model, SklearnModel) else "torch",
        requests=parity.requests,
        batch_sizes=sorted(parity.batch_sizes),
        worst_absolute=parity.worst_absolute,
        worst_relative=parity.worst_relative,
    )


def _size_bytes(case: Case) -> int:
    return sum(
        sum(map(len, array.flat)) if array.dtype == np.object_ else array.nbytes
        for array in case.inputs.values()
    )


def _text(content: bytes) -> str:
    return content.decode("utf-8", errors="backslashreplace")


def _same(one: Path, other: Path) -> bool:
    return other.is_file() and one.read_bytes() == other.read_bytes()


def _pointing_at(real: Path, staged: Path, error: ConfigError) -> ConfigError:
    """Name the file in the repository instead of its staged copy."""
    return ConfigError(
        error.what.replace(str(staged), str(real)),
        cause=error.cause,
        next_step=error.next_step,
        **{**error.objects, "path": real},
    )

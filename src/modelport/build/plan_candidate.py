"""A TensorRT plan as a candidate: a version that stands in for an ONNX version."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from modelport.build.candidates import Candidate
from modelport.repository import digests, edits, plans
from modelport.repository.layout import CONFIG, ModelFolder, Repository
from modelport.repository.manifest import LatencyEntry, Manifest, ParityEntry, PlanEntry
from modelport.repository.placing import only
from modelport.repository.publish import Move
from modelport.spec.precision import PLAN
from modelport.verify.parity import Parity

# Hidden: a server that serves what is staged takes it for no model.
_PINNED = ".pinned"


@dataclass(frozen=True, kw_only=True)
class PlanCandidate(Candidate):
    """One plan; ``origin`` is the ONNX file of the version that it stands in for.

    Args:
        source: the manifest of that version.
        graph: the manifest of the version whose graph was compiled: another one for a variant
            that is published beside it.
        plan: what the manifest will say of the engine.
    """

    source: Manifest
    graph: Manifest
    plan: PlanEntry

    @property
    def origin_name(self) -> str:
        """The builder of the version that it stands in for: the plan is no declaration."""
        return self.source.builder.path

    @property
    def key(self) -> str:
        """Digest of what a plan is found by."""
        return digests.of_value(asdict(plans.Key.of(self.plan)))

    def published(self, repository: Repository) -> int | None:
        """Give the version that is this plan, with its files as they were."""
        return find(repository.folder(self.model.name), plans.Key.of(self.plan))

    def _stage_config(self, staged: ModelFolder, version_dir: Path, _: ModelFolder) -> None:
        """Write config.pbtxt into the version folder, and where the private server looks for it."""
        edits.write(version_dir / CONFIG, self.config, builder=self.origin_name)
        shutil.copyfile(version_dir / CONFIG, staged.config_path)

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
        """Describe the staged version: its own proof, and the origin of what it stands in for."""
        found = super().manifest(
            version_dir, parts=parts, served=served, how=how, server=server, latency=latency
        )
        source = self.source
        return found.model_copy(
            update={
                "kind": "plan",
                "doc": source.doc,
                "limits": source.limits,
                "tensors": source.tensors,
                "builder": source.builder,
                "git_commit": source.git_commit,
                "metrics": self.graph.metrics,
                "precision": PLAN,
                "derived_from": source.version,
                "plan": self.plan,
            }
        )

    def moves(self, stage: Path, version: int, repository: Repository) -> list[Move]:
        """List the renames that publish it; which versions serve stays as it is.

        Where the newest serves, that would be the plan from then on, on every Triton: so
        config.pbtxt names what serves now, first of all.
        """
        current = repository.folder(self.model.name)
        version_dir = ModelFolder(stage / self.model.name).version_dir(version)
        move = Move(version_dir, current.version_dir(version))
        if current.promoted:
            return [move]
        pinned = stage / _PINNED / self.model.name / CONFIG
        pinned.parent.mkdir(parents=True, exist_ok=True)
        text = edits.with_version_policy(current.config_path, only(*current.served_versions()))
        pinned.write_text(text, encoding="utf-8", newline="")
        return [Move(pinned, current.config_path), move]


def find(folder: ModelFolder, key: plans.Key) -> int | None:
    """Find the plan of a key, if its files are as they were."""
    for version, manifest, plan in plans.versions(folder):
        whole = not manifest.changed_files(folder.version_dir(version))
        if plans.Key.of(plan) == key and whole:
            return version
    return None


def config_of(folder: ModelFolder, version: int) -> dict[str, object]:
    """Give the fields of a candidate that follow from the configuration of an ONNX version."""
    config = folder.config_of(version)
    labels = [output.label_filename for output in config.output if output.label_filename]
    version_dir = folder.version_dir(version)
    places = {name: (version_dir / name, folder.path / name) for name in labels}
    beside = {
        name: path.read_bytes()
        for name, paths in places.items()
        for path in paths[::-1]
        if path.is_file()
    }
    return {
        "config": plans.config_for_plan(dataclasses.replace(config, version_policy=None)),
        "beside": beside,
    }

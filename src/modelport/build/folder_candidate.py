"""A model folder that people wrote, as a candidate: its config.pbtxt is kept to the byte."""

from __future__ import annotations

import dataclasses
import shutil
from dataclasses import dataclass
from pathlib import Path

from modelport.build.candidates import Candidate
from modelport.errors import ConfigError, PublishError
from modelport.repository import edits, pbtxt, plans
from modelport.repository.layout import CONFIG, ModelFolder, Repository
from modelport.repository.manifest import FILE_NAME as MANIFEST
from modelport.repository.manifest import Manifest
from modelport.repository.publish import Move
from modelport.spec.config import ModelConfig, ModelVersionPolicy


@dataclass(frozen=True)
class FolderCandidate(Candidate):
    """One version of a model folder; ``origin`` is its config.pbtxt.

    Args:
        place: its number, when it lies unproven in the repository: it gets its proof there, and
            nothing else changes. ``None`` for a version that comes from elsewhere.
    """

    place: int | None = None

    def published(self, repository: Repository) -> int | None:
        """Give the newest version if it is this candidate; one in its place was never proven."""
        return super().published(repository) if self.place is None else None

    def next_version(self, repository: Repository) -> int:
        """Choose the version to publish as."""
        return super().next_version(repository) if self.place is None else self.place

    def moves(self, stage: Path, version: int, repository: Repository) -> list[Move]:
        """List the renames that publish the staged version.

        Raises:
            PublishError: a file of a version that is proven in its place changed meanwhile.
        """
        if self.place is not None:
            return self._proof(ModelFolder(stage / self.model.name), version, repository)
        moves = super().moves(stage, version, repository)
        current = repository.folder(self.model.name)
        kept = self._means_the_same(current)
        return [move for move in moves if not (kept and move.published == current.config_path)]

    def _proof(self, staged: ModelFolder, version: int, repository: Repository) -> list[Move]:
        """Add what the version lacks: its model stays where it is, and the manifest comes last."""
        target = repository.folder(self.model.name).version_dir(version)
        new = [p for p in sorted(staged.version_dir(version).rglob("*")) if p.is_file()]
        names = [path.relative_to(staged.version_dir(version)).as_posix() for path in new]
        added = [name for name in names if name not in self.files and name != MANIFEST]
        manifest = Manifest.read(staged.version_dir(version))
        changed = manifest.changed_files(target).keys() - set(added)
        taken = [name for name in (*added, MANIFEST) if (target / name).exists()]
        if changed or taken:
            raise PublishError(
                f"{target / min(changed or taken)} changed while it was proven",
                cause="someone writes into the folder, or published it too",
                next_step="run the same command again",
                path=target,
            )
        return [Move(staged.version_dir(version) / n, target / n) for n in (*added, MANIFEST)]

    def _stage_config(self, staged: ModelFolder, version_dir: Path, current: ModelFolder) -> None:
        """Write config.pbtxt beside the version folder, and as it is into it."""
        shutil.copyfile(self.origin, version_dir / CONFIG)
        policy = self._policy(current)
        own = dataclasses.replace(self.config, version_policy=policy)
        if pbtxt.read(self.origin) == own:
            shutil.copyfile(self.origin, staged.config_path)
            return
        text = edits.with_version_policy(self.origin, policy)
        staged.config_path.write_text(text, encoding="utf-8", newline="")

    def _policy(self, current: ModelFolder) -> ModelVersionPolicy | None:
        """Say which versions serve; numbers that a foreign config.pbtxt names are not ours."""
        if current.promoted or self.place is not None:
            return None
        if current.config_path.is_file():
            self._refuse_lost_edits(current)
            return current.config().version_policy
        policy = pbtxt.read(self.origin).version_policy
        return policy if policy is not None and policy.specific is None else None

    def _refuse_lost_edits(self, current: ModelFolder) -> None:
        """Refuse to replace a config.pbtxt of which no version holds a copy."""
        newest = [v for v in plans.others(current) if current.is_proven(v)][-1:]
        proven = current.config_of(newest[0]) if newest else None
        try:
            edits.refuse_lost_edits(current.config_path, proven, self.config)
        except ConfigError as error:
            raise ConfigError(
                f"{current.config_path} was edited by hand, and {self.origin} says something else:"
                + f"\n{error.objects['difference']}".replace(
                    "+++ builder", f"+++ {self.origin}"
                ).rstrip(),
                cause="the newest version would serve with it, and the edits would be lost",
                next_step=f"make the same edits in {self.origin}, or take them back",
                path=current.config_path,
            ) from error

    def _means_the_same(self, current: ModelFolder) -> bool:
        if not current.config_path.is_file():
            return False
        on_disk: ModelConfig = dataclasses.replace(current.config(), version_policy=None)
        return on_disk == self.config

"""Triton's layout on disk: model folders, version folders, and which versions serve."""

from __future__ import annotations

import dataclasses
import difflib
import os
from dataclasses import dataclass
from pathlib import Path

from modelport.errors import RepositoryError
from modelport.repository import pbtxt
from modelport.repository.manifest import FILE_NAME as MANIFEST
from modelport.repository.manifest import Manifest
from modelport.spec.config import ModelConfig

CONFIG = "config.pbtxt"


@dataclass(frozen=True)
class ModelFolder:
    """One model of a repository."""

    path: Path

    @property
    def name(self) -> str:
        """The name that Triton serves it under."""
        return self.path.name

    @property
    def config_path(self) -> Path:
        """Where its config.pbtxt lies."""
        return self.path / CONFIG

    def config(self) -> ModelConfig:
        """Read config.pbtxt; raises :class:`~modelport.errors.ConfigError`."""
        return pbtxt.read(self.config_path)

    def versions(self) -> list[int]:
        """Version folders on disk, ascending."""
        with os.scandir(self.path) as entries:
            names = [entry.name for entry in entries if entry.is_dir()]
        # Triton too takes no folder with leading zeros, and no version 0.
        return sorted(int(n) for n in names if n.isdecimal() and n == str(int(n)) and n != "0")

    def version_dir(self, version: int) -> Path:
        """Folder of one version, whether it exists or not."""
        return self.path / str(version)

    def proven_versions(self) -> list[int]:
        """Versions that have a manifest, ascending."""
        return [v for v in self.versions() if self.is_proven(v)]

    def is_proven(self, version: int) -> bool:
        """Tell whether a version has a manifest."""
        return os.path.isfile(f"{self.path}/{version}/{MANIFEST}")  # noqa: PTH113 - asked often

    def manifest(self, version: int) -> Manifest:
        """Read one version's manifest; raises :class:`~modelport.errors.IntegrityError`."""
        return Manifest.read(self.version_dir(version))

    def config_of(self, version: int) -> ModelConfig:
        """Read how a version was proven, whichever versions serve.

        Versions of before Modelport kept that have no config.pbtxt of their own: they ran as the
        model's says.
        """
        own = self.version_dir(version) / CONFIG
        config = pbtxt.read(own) if own.is_file() else self.config()
        return dataclasses.replace(config, version_policy=None)

    @property
    def promoted(self) -> bool:
        """Whether config.pbtxt names the versions that serve, as promotion has it."""
        policy = self.config().version_policy if self.config_path.is_file() else None
        return policy is not None and policy.specific is not None

    def served_versions(self, config: ModelConfig | None = None) -> list[int]:
        """Versions that Triton would serve by the ``version_policy``, ascending.

        Args:
            config: taken instead of config.pbtxt.
        """
        if config is None and self.config_path.is_file():
            config = self.config()
        versions = self.versions()
        if config is None:  # where Triton completes the configuration, it has no policy
            return versions[-1:]
        return [version for version in config.serves(versions) if version in versions]


@dataclass(frozen=True)
class Repository:
    """A model repository: a folder of model folders."""

    path: Path

    def models(self) -> list[ModelFolder]:
        """Every model folder, by name; a folder without config.pbtxt counts when it has versions.

        Raises:
            RepositoryError: the repository itself is missing.
        """
        return [folder for folder in self.folders() if _is_model(folder)]

    def folders(self) -> list[ModelFolder]:
        """Every folder that may be a model, by name, whatever it holds.

        Raises:
            RepositoryError: the repository itself is missing.
        """
        if not self.path.is_dir():
            raise RepositoryError(
                f"{self.path}: there is no such model repository",
                cause="the path is wrong, or nothing was built yet",
                next_step="modelport build all --repository " + str(self.path),
                path=self.path,
            )
        with os.scandir(self.path) as entries:
            names = sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))
        return [ModelFolder(self.path / name) for name in names]

    def folder(self, name: str) -> ModelFolder:
        """Folder of a model, whether it exists or not."""
        return ModelFolder(self.path / name)

    def model(self, name: str) -> ModelFolder:
        """Find a model by its name.

        Raises:
            RepositoryError: there is none; the message names the nearest ones.
        """
        models = {model.name: model for model in self.models()}
        if name in models:
            return models[name]
        near = difflib.get_close_matches(name, models, n=3)
        raise RepositoryError(
            f"{self.path}: there is no model {name!r}",
            cause=f"did you mean {' or '.join(near)}?" if near else None,
            next_step="modelport models --repository " + str(self.path),
            model=name,
        )


def _is_model(folder: ModelFolder) -> bool:
    return folder.config_path.is_file() or bool(folder.versions())

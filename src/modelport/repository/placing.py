"""One version, laid out so that a server that looks at its folder serves this one and no other."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from modelport.errors import IntegrityError
from modelport.repository import pbtxt, publish
from modelport.repository.layout import CONFIG, ModelFolder, Repository
from modelport.repository.stores.face import referred
from modelport.spec.config import ModelConfig, ModelVersionPolicy, SpecificVersions


def only(*versions: int) -> ModelVersionPolicy:
    """Make the version policy that these versions serve, and no others."""
    return ModelVersionPolicy(specific=SpecificVersions(versions=versions))


@contextmanager
def staged(repository: Repository, versions: Mapping[str, int]) -> Iterator[Path]:
    """Lay out versions, and nothing else, in a folder that is there for a trial only.

    Args:
        repository: where they lie; it stays as it is.
        versions: by model.

    Raises:
        IntegrityError: a file that a config.pbtxt speaks of is missing.
        PublishError: the folder cannot be made.
    """
    stage = publish.new_stage(repository.path, "trial")
    try:
        with publish.explained(repository.path, "stage a trial"):
            for name, version in versions.items():
                place(repository.folder(name), version, stage / name)
        yield stage
    finally:
        publish.discard(repository.path, stage)


def place(folder: ModelFolder, version: int, target: Path) -> None:
    """Make a model folder that refers to a version, with all that lies beside it when it serves.

    Args:
        folder: the model.
        version: that is to serve.
        target: the new folder.

    Raises:
        IntegrityError: a file that its config.pbtxt speaks of is missing.
    """
    target.mkdir(parents=True, exist_ok=True)
    config = dataclasses.replace(folder.config_of(version), version_policy=only(version))
    (target / CONFIG).write_text(pbtxt.render(config), encoding="utf-8")
    for name in referred(config):
        copy_beside(folder, version, name, target)
    (target / str(version)).symlink_to(folder.version_dir(version).resolve())


def labelled(folder: ModelFolder, config: ModelConfig) -> ModelConfig:
    """Have labels read from the folder of the newest version that a configuration names.

    Those beside config.pbtxt are of the version that config.pbtxt names, which may be another.
    """
    policy = config.version_policy
    if policy is None or policy.specific is None or not policy.specific.versions:
        return config
    own = folder.version_dir(max(policy.specific.versions))
    output = tuple(
        dataclasses.replace(one, label_filename=f"{own.name}/{one.label_filename}")
        if one.label_filename and (own / one.label_filename).is_file()
        else one
        for one in config.output
    )
    return dataclasses.replace(config, output=output)


def copy_beside(folder: ModelFolder, version: int, name: str, target: Path) -> None:
    """Copy a file that config.pbtxt speaks of: the version's own, or else the model's.

    Raises:
        IntegrityError: there is neither.
    """
    for path in (folder.version_dir(version) / name, folder.path / name):
        if path.is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target / name)
            return
    raise IntegrityError(
        f"{folder.version_dir(version) / name}: missing, and config.pbtxt names it",
        next_step=f"modelport verify {folder.name}",
        path=folder.version_dir(version) / name,
    )

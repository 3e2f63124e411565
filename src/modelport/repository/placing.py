"""One version, laid out so that a server that looks at its folder serves this one and no other."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

from modelport.errors import IntegrityError
from modelport.repository import pbtxt
from modelport.repository.layout import CONFIG, ModelFolder
from modelport.repository.stores.face import referred
from modelport.spec.config import ModelVersionPolicy, SpecificVersions


def only(*versions: int) -> ModelVersionPolicy:
    """Make the version policy that these versions serve, and no others."""
    return ModelVersionPolicy(specific=SpecificVersions(versions=versions))


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

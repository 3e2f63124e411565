"""What promotion writes beside the version folders: config.pbtxt and labels, staged first."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from modelport.repository import edits
from modelport.repository.layout import CONFIG, ModelFolder
from modelport.repository.placing import copy_beside, only
from modelport.repository.publish import Move
from modelport.repository.stores.face import referred
from modelport.rollout.change import Change, Target
from modelport.rollout.serving import by_config
from modelport.spec.config import ModelConfig


def stage(target: Target, folder: Path, *, keep_config: bool) -> dict[str, ModelConfig]:
    """Write what shall lie beside the version folders of every model that changes.

    Args:
        target: what is to serve.
        folder: the staging folder.
        keep_config: of a config.pbtxt that was edited by hand, change the policy only.

    Returns:
        The configurations, by model.

    Raises:
        ConfigError: one was edited by hand.
        IntegrityError: a file of labels is missing.
    """
    return {c.model: _stage(target, c, folder / c.model, keep_config) for c in target.changes}


def moves(target: Target, folder: Path) -> list[Move]:
    """List the renames that put the staged files in their places: labels before what names them."""
    return [
        Move(file, target.repository.folder(change.model).path / file.relative_to(staged))
        for change in target.changes
        for staged in [folder / change.model]
        for file in sorted(staged.rglob("*"), key=lambda file: file.name == CONFIG)
        if file.is_file()
    ]


def _stage(target: Target, change: Change, staged: Path, keep_config: bool) -> ModelConfig:
    folder = target.repository.folder(change.model)
    staged.mkdir()
    policy = only(change.after)
    own = folder.version_dir(change.after) / CONFIG
    config = dataclasses.replace(folder.config_of(change.after), version_policy=policy)
    if not own.is_file() or (keep_config and edits.hand_edited(folder.config_path)):
        text = edits.with_version_policy(folder.config_path, policy)
        config = dataclasses.replace(folder.config(), version_policy=policy)
        (staged / CONFIG).write_text(text, encoding="utf-8", newline="")
        return config
    edits.refuse_lost_edits(folder.config_path, _proven(folder), config)
    # A text of one's own keeps its comments; what was written here is written anew.
    text = edits.with_version_policy(own, policy)
    (staged / CONFIG).write_text(text, encoding="utf-8", newline="")
    for name in referred(config):
        copy_beside(folder, change.after, name, staged)
    return config


def _proven(folder: ModelFolder) -> ModelConfig | None:
    """Give the configuration that config.pbtxt had when what serves now was proven."""
    served = by_config(folder)
    return folder.config_of(served[-1]) if served else None

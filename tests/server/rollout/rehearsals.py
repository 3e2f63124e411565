"""What is done to a repository with a running server, in a process that may be killed."""

from __future__ import annotations

from pathlib import Path

from modelport.repository import publish
from modelport.repository.layout import Repository
from modelport.rollout import change, intent, promotion
from modelport.rollout.promotion import Checked


def promote(path: Path, model: str, version: int) -> dict[str, float]:
    """Promote as the command does, less the trial, which changes nothing here."""
    place = Repository(path)
    intent.recover(place, lambda _: None)
    publish.finish(path)
    target = change.target(place, model, version)
    promotion.verify_files(target)
    return dict(promotion.promote(place, Checked(target, {}), model, version).servers)


def roll_back(path: Path, model: str) -> dict[str, float]:
    place = Repository(path)
    intent.recover(place, lambda _: None)
    publish.finish(path)
    return dict(promotion.roll_back(place, promotion.previous(place, model), model).servers)

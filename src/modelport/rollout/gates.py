"""Figures of the versions that are to serve against those of the versions that serve."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from modelport.errors import ConfigError, IntegrityError
from modelport.repository import compatibility, interface
from modelport.repository.interface import Interface
from modelport.repository.manifest import Manifest, Metrics
from modelport.repository.settings import Settings
from modelport.rollout.change import Change, Target
from modelport.rollout.history import Compared

Figures = Mapping[str, Mapping[str, Compared]]


@dataclass(frozen=True)
class Loss:
    """A figure with a gate that is worse than allowed.

    Attributes:
        by: how much worse, in the figure's own unit.
        bound: how much is allowed.
    """

    figure: str
    before: float
    after: float
    by: float
    bound: float


def figures(target: Target) -> Figures:
    """Give model to figure to its values before and after, of every model that changes."""
    found = {}
    for change in target.changes:
        before, after = _manifests(target, change)
        names = {**_values(before), **_values(after)}
        if names:
            found[change.model] = {
                name: Compared(before=_values(before).get(name), after=_values(after).get(name))
                for name in names
            }
    return found


def objections(target: Target, settings: Settings) -> Iterator[str]:
    """Say which figures with a gate are worse than the settings allow, in words."""
    for change in target.changes:
        before, after = _manifests(target, change)
        for loss in losses(before, after, settings):
            yield (
                f"{change.model}: {loss.figure} is {loss.after:.4g} in version {change.after} and"
                f" {loss.before:.4g} in version {change.before[-1]}: worse by {loss.by:.2g},"
                f" allowed is {loss.bound:g}"
            )


def breaking(target: Target) -> Iterator[str]:
    """Say what breaks those who call the models that change, in words.

    Parts are called by models that go with them, so only public models count.
    """
    for change in target.changes:
        before, after = _manifests(target, change)
        if change.before and (before is None or before.public):
            if not after.public:
                yield f"{change.model}: is a part now, and not offered to callers any more"
            old = _interface(target, change.model, change.before[-1])
            new = _interface(target, change.model, change.after)
            if old and new:
                found = compatibility.between(old, new)
                yield from (str(one) for one in found if one.breaking)


def losses(before: Manifest | None, after: Manifest, settings: Settings) -> Iterator[Loss]:
    """Give the figures with a gate that are worse than the settings allow.

    Figures that were measured on other data say nothing about each other; the bounds of the
    builder have judged each on its own.
    """
    if before is None or not comparable(before, after):
        return
    bound = settings.bounds(after.model).most_worse
    for name, gate in (after.metrics.gates if after.metrics else {}).items():
        old, new = _values(before).get(name, math.nan), _values(after).get(name, math.nan)
        by = new - old if gate.startswith("<=") else old - new
        if by > bound:
            yield Loss(name, old, new, by, bound)


def comparable(before: Manifest, after: Manifest) -> bool:
    """Say whether figures of two versions were measured on the same data, split alike."""
    same_data = [d.sha256 for d in before.data] == [d.sha256 for d in after.data]
    counts = [m.metrics.count if m.metrics else None for m in (before, after)]
    return same_data and counts[0] == counts[1]


def _manifests(target: Target, change: Change) -> tuple[Manifest | None, Manifest]:
    folder = target.repository.folder(change.model)
    before = None
    if change.before:
        try:
            before = folder.manifest(change.before[-1])
        except IntegrityError:
            before = None  # what serves was never proven, so there is nothing to fall behind
    return before, folder.manifest(change.after)


def _interface(target: Target, model: str, version: int) -> Interface | None:
    try:
        return interface.read(target.repository, model, version)
    except ConfigError:
        return None  # Triton completes what config.pbtxt leaves out, so nothing was promised


def _values(manifest: Manifest | None) -> Mapping[str, float]:
    metrics: Metrics | None = manifest.metrics if manifest else None
    return metrics.values if metrics else {}

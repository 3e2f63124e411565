"""Figures of the versions that are to serve against those of the versions that serve."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

from modelport.errors import IntegrityError
from modelport.repository.manifest import Manifest, Metrics
from modelport.repository.settings import Settings
from modelport.rollout.change import Change, Target
from modelport.rollout.history import Compared

Figures = Mapping[str, Mapping[str, Compared]]


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
    """Say which figures with a gate are worse than the settings allow.

    Figures that were measured on other data say nothing about each other; the bounds of the
    builder have judged each on its own.
    """
    for change in target.changes:
        before, after = _manifests(target, change)
        if before is None or after is None or not comparable(before, after):
            continue
        bound = settings.bounds(change.model).most_worse
        for name, gate in (after.metrics.gates if after.metrics else {}).items():
            old, new = _values(before).get(name, math.nan), _values(after).get(name, math.nan)
            loss = new - old if gate.startswith("<=") else old - new
            if loss > bound:
                yield (
                    f"{change.model}: {name} is {new:.4g} in version {change.after} and {old:.4g}"
                    f" in version {change.before[-1]}: worse by {loss:.2g}, allowed is {bound:g}"
                )


def comparable(before: Manifest, after: Manifest) -> bool:
    """Say whether figures of two versions were measured on the same data, split alike."""
    same_data = [d.sha256 for d in before.data] == [d.sha256 for d in after.data]
    counts = [m.metrics.count if m.metrics else None for m in (before, after)]
    return same_data and counts[0] == counts[1]


def _manifests(target: Target, change: Change) -> tuple[Manifest | None, Manifest | None]:
    folder = target.repository.folder(change.model)
    before = None
    if change.before:
        try:
            before = folder.manifest(change.before[-1])
        except IntegrityError:
            before = None  # what serves was never proven, so there is nothing to fall behind
    return before, folder.manifest(change.after)


def _values(manifest: Manifest | None) -> Mapping[str, float]:
    metrics: Metrics | None = manifest.metrics if manifest else None
    return metrics.values if metrics else {}

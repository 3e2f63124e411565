"""Figures of a version on held-out data: its own, and those of the parts that it runs."""

from __future__ import annotations

from modelport.errors import IntegrityError
from modelport.repository.layout import ModelFolder
from modelport.repository.manifest import Manifest


def of(folder: ModelFolder, manifest: Manifest, *, gated: bool = False) -> dict[str, float]:
    """Give the figures of a version; a part's bear its name: an ensemble itself has none.

    Args:
        folder: the model.
        manifest: of the version.
        gated: only those that the builder bounds.
    """
    metrics = manifest.metrics
    found = {
        name: value
        for name, value in (metrics.values if metrics else {}).items()
        if not gated or (metrics and name in metrics.gates)
    }
    for part, version in sorted(manifest.parts.items()):
        of_part = ModelFolder(folder.path.parent / part)
        try:
            values = of(of_part, of_part.manifest(version), gated=gated)
        except IntegrityError:
            continue  # gone, or damaged: doctor says so
        # A part of a part is named as what it is.
        found |= {n if " " in n else f"{part} {n}": value for n, value in values.items()}
    return found

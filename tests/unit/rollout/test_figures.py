"""Figures of an ensemble are those of its parts."""

from __future__ import annotations

from modelport.repository import difference, figures
from modelport.repository.layout import Repository


def test_parts_give_theirs_under_their_names(family: Repository) -> None:
    folder = family.folder("whole")
    assert figures.of(folder, folder.manifest(1)) == {"part_a accuracy": 0.9}
    part = family.folder("part_a")
    assert figures.of(part, part.manifest(1), gated=True) == {"accuracy": 0.9}
    assert difference.between(folder, 1, 2).figures == {}


def test_a_part_that_is_gone_gives_none(family: Repository) -> None:
    folder = family.folder("whole")
    (family.folder("part_a").version_dir(1) / "manifest.json").unlink()
    assert figures.of(folder, folder.manifest(1)) == {}
    assert difference.between(folder, 1, 2).figures == {"part_a accuracy": (None, 0.9)}

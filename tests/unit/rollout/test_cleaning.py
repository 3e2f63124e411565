"""What `gc` leaves, and what it takes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from policies import pin

from modelport.errors import PublishError
from modelport.repository import publish as publishing
from modelport.repository.layout import Repository
from modelport.rollout import cleaning, history
from modelport.rollout.history import Switched


@pytest.fixture
def many(repository: Repository, publish: Callable[..., None]) -> Repository:
    """Six versions of an ensemble over a part; 2 serves."""
    for version in range(1, 7):
        publish("part", version)
        publish("whole", version, {"part": version})
    pin(repository, whole=2, part=2)
    return repository


def removed(repository: Repository, keep: int) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for one in cleaning.look(repository, keep=keep).removable:
        found.setdefault(one.model, []).append(one.version)
    return found


def test_what_serves_and_the_newest_stay_with_their_parts(many: Repository) -> None:
    assert removed(many, 1) == {"part": [1, 3, 4, 5], "whole": [1, 3, 4, 5]}
    assert removed(many, 3) == {"part": [1, 3], "whole": [1, 3]}


def test_pinned_versions_stay_and_bring_their_parts(many: Repository) -> None:
    (many.path / "modelport.toml").write_text(
        "[models.whole]\npinned = [4]\n[keep]\nversions = 1\n"
    )
    assert removed(many, 1) == {"part": [1, 3, 5], "whole": [1, 3, 5]}
    kept = cleaning.look(many).kept
    assert kept["whole", 4] == "pinned in modelport.toml"
    assert kept["part", 4] == "a part of whole 4"


def test_what_a_variant_was_derived_from_stays_with_it(many: Repository) -> None:
    folder = many.folder("part")
    variant = folder.manifest(6).model_copy(update={"precision": "int8", "derived_from": 3})
    variant.write(folder.version_dir(6))
    # The variant is kept as a part, so that part's ancestor is, too.
    assert removed(many, 1) == {"part": [1, 4, 5], "whole": [1, 3, 4, 5]}
    kept = cleaning.look(many, keep=1).kept
    assert kept["part", 3] == "what version 6 in int8 was derived from"


def test_what_a_roll_back_would_bring_stays(many: Repository) -> None:
    changes = {"whole": Switched(before=[3], after=2), "part": Switched(before=[3], after=2)}
    _, text = history.appended(
        many.path, action="promote", model="whole", version=2, changes=changes, reason=""
    )
    (many.path / history.FILE_NAME).write_text(text)
    assert removed(many, 1) == {"part": [1, 4, 5], "whole": [1, 4, 5]}


def test_another_model_that_was_promoted_since_takes_no_roll_back_away(
    many: Repository, publish: Callable[..., None]
) -> None:
    publish("third", 1)
    for model, before, after in (("whole", 3, 2), ("third", 1, 1)):
        _, text = history.appended(
            many.path, action="promote", model=model, version=after, reason="",
            changes={model: Switched(before=[before], after=after)},
        )  # fmt: skip
        (many.path / history.FILE_NAME).write_text(text)
    assert removed(many, 1) == {"part": [1, 4, 5], "whole": [1, 4, 5]}


def test_removal_takes_whole_folders_and_nothing_else(many: Repository) -> None:
    by_hand = many.folder("whole").version_dir(9)
    by_hand.mkdir()
    freed = cleaning.remove(many, keep=1)
    assert {(one.model, one.version) for one in freed} == {
        (name, version) for name in ("part", "whole") for version in (1, 3, 4, 5)
    }
    assert all(one.size_bytes > 0 for one in freed)
    assert many.folder("whole").versions() == [2, 6, 9], "9 has no manifest: somebody put it there"
    assert cleaning.remove(many, keep=1) == ()
    assert not publishing.staging_root(many.path).exists()


def test_a_disk_that_refuses_leaves_whole_versions(
    many: Repository, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the middle of the renames: the next command goes on with those that are missing."""
    real = Path.replace

    def refuse(self: Path, target: Path) -> Path:
        if self.parent.name == "part" and self.name == "3":
            raise OSError(30, "Read-only file system")
        return real(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", refuse)
        with pytest.raises(PublishError, match="could not finish what was begun") as caught:
            cleaning.remove(many, keep=1)
        assert caught.value.cause == "the file system is mounted read-only"
    assert many.folder("part").versions() == [2, 3, 4, 5, 6]
    for name in ("part", "whole"):
        for version in many.folder(name).versions():
            folder = many.folder(name).version_dir(version)
            assert not many.folder(name).manifest(version).changed_files(folder)
    publishing.finish(many.path)
    assert many.folder("part").versions() == many.folder("whole").versions() == [2, 6]

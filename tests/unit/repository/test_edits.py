"""Hand edits to config.pbtxt are kept or refused, never lost silently."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from modelport.errors import ConfigError
from modelport.repository import edits, pbtxt
from modelport.spec.config import ModelConfig, ModelVersionPolicy, SpecificVersions

CONFIG = ModelConfig(name="m", backend="python", max_batch_size=8)
LARGER = dataclasses.replace(CONFIG, max_batch_size=16)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "config.pbtxt"
    assert edits.update(file, CONFIG, builder="builders/m.py")
    return file


def test_the_file_says_who_wrote_it_and_still_parses(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert lines[0] == (
        "# Written by modelport from builders/m.py; "
        "edit the builder, or keep hand edits with --keep-config."
    )
    assert lines[-1].startswith("# modelport: sha256:")
    assert pbtxt.read(path) == CONFIG
    assert not edits.hand_edited(path)


def test_the_same_meaning_leaves_the_file_alone(path: Path) -> None:
    path.write_text("# my own words\n" + path.read_text())
    before = path.read_bytes()
    assert not edits.update(path, CONFIG, builder="builders/m.py")
    assert path.read_bytes() == before


def test_an_unedited_file_is_replaced(path: Path) -> None:
    assert edits.update(path, LARGER, builder="builders/m.py")
    assert pbtxt.read(path) == LARGER
    assert not edits.hand_edited(path)
    assert [entry.name for entry in path.parent.iterdir()] == ["config.pbtxt"]


def test_a_hand_edit_is_refused_with_the_difference(path: Path) -> None:
    path.write_text(path.read_text().replace("max_batch_size: 8", "max_batch_size: 12"))
    before = path.read_bytes()
    assert edits.hand_edited(path)
    with pytest.raises(ConfigError) as caught:
        edits.update(path, LARGER, builder="builders/m.py")
    assert "-max_batch_size: 12\n+max_batch_size: 16" in str(caught.value)
    assert "--keep-config" in caught.value.next_step
    assert path.read_bytes() == before


def test_a_hand_edit_is_kept_when_asked(path: Path) -> None:
    path.write_text(path.read_text().replace("max_batch_size: 8", "max_batch_size: 12"))
    before = path.read_bytes()
    assert not edits.update(path, LARGER, builder="builders/m.py", keep=True)
    assert path.read_bytes() == before


def test_a_file_of_someone_else_counts_as_edited(tmp_path: Path) -> None:
    path = tmp_path / "config.pbtxt"
    path.write_text('name: "m" backend: "python"')
    assert edits.hand_edited(path)
    with pytest.raises(ConfigError, match="modelport did not write it"):
        edits.update(path, CONFIG, builder="builders/m.py")


def test_the_version_policy_outlives_a_rebuild(path: Path) -> None:
    promoted = dataclasses.replace(
        CONFIG, version_policy=ModelVersionPolicy(specific=SpecificVersions((2,)))
    )
    assert edits.update(path, promoted, builder="b", keep_version_policy=False)
    assert edits.update(path, LARGER, builder="b")
    assert pbtxt.read(path).version_policy == promoted.version_policy
    assert pbtxt.read(path).max_batch_size == 16


def test_a_failed_write_leaves_the_old_file(path: Path) -> None:
    before = path.read_bytes()
    unwritable = dataclasses.replace(CONFIG, parameters={"size": "x" * 200_000})
    resource = pytest.importorskip("resource")
    signal = pytest.importorskip("signal")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, limits[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            edits.write(path, unwritable, builder="b")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == ["config.pbtxt"]


@pytest.mark.parametrize(
    "policy",
    [
        "version_policy: { specific: { versions: [ 3 ] } }\n",
        "version_policy { # why: 3 was tried {\n  specific { versions: 3 }\n}\n",
        "version_policy <latest <num_versions: 2>>;\n",
        "",
    ],
)
def test_a_policy_is_taken_out_and_all_else_stays(tmp_path: Path, policy: str) -> None:
    path = tmp_path / "config.pbtxt"
    before, after = '# version_policy\u2028is ours\nname: "m"  # not more\n', "max_batch_size: 8\n"
    path.write_text(before + policy + after, encoding="utf-8")
    assert edits.with_version_policy(path, None) == before + after

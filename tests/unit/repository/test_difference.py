"""What distinguishes two versions."""

from __future__ import annotations

from pathlib import Path

from small_versions import publish

from modelport.repository import difference
from modelport.repository.layout import Repository


def test_equal_versions_differ_in_nothing_but_their_numbers(tmp_path: Path) -> None:
    for version in (1, 2):
        publish(tmp_path, "m", version)
    assert difference.between(Repository(tmp_path).folder("m"), 1, 2) == difference.Difference()


def test_other_weights_and_another_configuration_are_shown(tmp_path: Path) -> None:
    publish(tmp_path, "m", 1, weights=b"one")
    publish(tmp_path, "m", 2, weights=b"other")
    folder = Repository(tmp_path).folder("m")
    config = folder.config_path.read_text()
    (folder.version_dir(2) / "config.pbtxt").write_text(config.replace("size: 8", "size: 3"))
    found = difference.between(folder, 1, 2)
    (path,) = [name for name in found.files if name != "config.pbtxt"]
    assert found.files[path] == (3, 5)
    assert "+max_batch_size: 3" in found.config

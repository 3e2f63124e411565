"""What lies beside the versions, and how config.pbtxt comes to name them."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given
from hypothesis import strategies as st
from proven import Shelf, serves

from modelport.errors import ConfigError
from modelport.repository import edits, pbtxt
from modelport.repository.stores import face

_BY_HAND = """\
# why four: measured in May
name: "net"
backend: "onnxruntime"
instance_group [{ count: 4 }]
%s
"""
_POLICIES = {
    "": lambda all_: all_[-1:],
    "version_policy { latest { num_versions: 2 } }": lambda all_: all_[-2:],
    "version_policy { latest { } }": lambda _: [],
    "version_policy { all { } }": lambda all_: all_,
    "version_policy { specific { versions: [3, 1] } }": lambda _: [1, 3],
}


@given(
    policy=st.sampled_from(sorted(_POLICIES)),
    versions=st.lists(st.integers(1, 10**6), min_size=1, unique=True).map(sorted),
)
def test_versions_are_named_as_triton_would_choose_them(policy: str, versions: list[int]) -> None:
    text = _BY_HAND % policy
    config = pbtxt.parse(text)
    chosen = config.serves(versions)
    assert chosen == _POLICIES[policy](versions)
    with TemporaryDirectory() as folder:
        path = Path(folder) / "config.pbtxt"
        path.write_text(text)
        explicit = face.explicit(path, config, chosen)
    assert "# why four" in explicit
    named = pbtxt.parse(explicit)
    assert named.version_policy is not None
    assert named.version_policy.specific is not None
    assert sorted(named.version_policy.specific.versions) == chosen
    assert dataclasses.replace(named, version_policy=config.version_policy) == config


def test_a_text_that_was_written_here_stays_sealed(shelf: Shelf) -> None:
    path = shelf.folder("net").config_path
    path.write_text(face.explicit(path, shelf.folder("net").config(), [2]))
    assert serves(shelf.path, "net") == [2]
    assert not edits.hand_edited(path)
    assert edits.builder_of(path) == "builders/test.py"


def test_it_holds_what_config_refers_to_and_no_code(shelf: Shelf) -> None:
    folder = shelf.folder("net")
    for name in ("model.py", "libtriton_evil.so", "README.md", ".hidden"):
        (folder.path / name).write_text("not for the store")
    known = face.of_folder(folder, [1, 2])
    assert known is not None
    assert known.files.keys() == {"config.pbtxt", "y_labels.txt"}
    assert known.serves() == (2,)


def test_warmup_and_initial_state_are_referred_to() -> None:
    config = pbtxt.parse(
        'model_warmup [{ name: "w" batch_size: 1 inputs { key: "x" value { data_type: TYPE_FP32'
        ' dims: [ 2 ] input_data_file: "first" } } }]\n'
        'sequence_batching { state [{ input_name: "a" output_name: "b" data_type: TYPE_FP32'
        ' dims: [ 1 ] initial_state: { name: "i" data_type: TYPE_FP32 dims: [ 1 ]'
        ' data_file: "zero" } }] }'
    )
    assert face.referred(config) == {"warmup/first", "initial_state/zero"}


def test_a_path_that_leaves_the_folder_is_not_followed(shelf: Shelf, tmp_path: Path) -> None:
    config = pbtxt.parse('output [{ name: "y" label_filename: "../../secret" }]')
    assert face.referred(config) == set()
    (tmp_path / "secret").write_text("secret")
    labels = shelf.folder("net").path / "y_labels.txt"
    labels.unlink()
    labels.symlink_to(tmp_path / "secret")
    with pytest.raises(ConfigError, match=r"y_labels\.txt"):
        face.of_folder(shelf.folder("net"), [1, 2])

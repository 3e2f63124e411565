from __future__ import annotations

from pathlib import Path

import pytest

from modelport.errors import IntegrityError
from modelport.serving.onnx.session import model_path, open_session
from modelport.serving.onnx.settings import Settings


def test_default_name_given_name_and_folder(tmp_path: Path):
    (tmp_path / "model.onnx").touch()
    (tmp_path / "net.onnx").touch()
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "model.onnx").touch()
    assert model_path(tmp_path, "") == tmp_path / "model.onnx"
    assert model_path(tmp_path, "net.onnx") == tmp_path / "net.onnx"
    assert model_path(tmp_path, "folder") == tmp_path / "folder" / "model.onnx"


def test_absent_file_is_named(tmp_path: Path):
    with pytest.raises(IntegrityError, match=r"unable to find .*gone\.onnx"):
        model_path(tmp_path, "gone.onnx")


def test_unreadable_file_is_named_with_its_size(tmp_path: Path):
    path = tmp_path / "model.onnx"
    path.write_bytes(b"no model")
    with pytest.raises(IntegrityError, match=r"\(8 bytes\) cannot be loaded") as caught:
        open_session(path, Settings())
    assert caught.value.objects == {"file": path, "size_bytes": 8}

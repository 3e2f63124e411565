"""manifest.json: read strictly, and compared with the files that it vouches for."""

from __future__ import annotations

import json
import math
from datetime import datetime, timezone
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelport.errors import IntegrityError
from modelport.repository.manifest import (
    BuilderEntry,
    DataEntry,
    FileEntry,
    Manifest,
    Metrics,
    ParityEntry,
    Proof,
    ToleranceEntry,
)

ROOT = Path(__file__).parents[3]
GOLDEN = ROOT / "tests" / "golden" / "manifest"


def manifest(**changes: object) -> Manifest:
    parity = ParityEntry(
        reference="torch", requests=3, batch_sizes=[1, 2], worst_absolute=1e-7, worst_relative=2e-6
    )
    fields = {
        "model": "tiny",
        "version": 3,
        "kind": "onnx",
        "public": True,
        "created": datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc),
        "builder": BuilderEntry(path="builders/tiny.py", sha256="0" * 64),
        "build_key": "1" * 64,
        "dependencies": {"torch": "2.6"},
        "data": [DataEntry(source="iris", sha256="2" * 64, licence="CC0")],
        "proof": Proof(
            tolerance=ToleranceEntry(absolute=1e-5, relative=1e-4),
            through_server=parity,
            server="tritonserver",
        ),
        "files": [],
    }
    return Manifest(**(fields | changes))


@pytest.fixture
def version_dir(tmp_path: Path) -> Path:
    """A version of two files with the manifest that belongs to them."""
    folder = tmp_path / "3"
    (folder / "weights").mkdir(parents=True)
    (folder / "model.onnx").write_bytes(b"graph")
    (folder / "weights" / "w.bin").write_bytes(b"12345678")
    files = [FileEntry.of(folder / name, folder) for name in ("model.onnx", "weights/w.bin")]
    manifest(files=files).write(folder)
    return folder


def test_what_is_written_is_read(version_dir: Path) -> None:
    read = Manifest.read(version_dir)
    assert read == manifest(files=read.files)
    assert [entry.path for entry in read.files] == ["model.onnx", "weights/w.bin"]
    assert read.changed_files(version_dir) == {}


@settings(deadline=None)
@given(value=st.floats(allow_nan=True, allow_infinity=True))
def test_any_figure_survives(value: float, tmp_path_factory: pytest.TempPathFactory) -> None:
    """An undefined figure (a recall without positives) must not make the version unreadable."""
    folder = tmp_path_factory.mktemp("figures")
    manifest(metrics=Metrics(split="test", count=1, values={"auc": value})).write(folder)
    metrics = Manifest.read(folder).metrics
    assert metrics is not None
    got = metrics.values["auc"]
    assert got == value or (math.isnan(got) and math.isnan(value))
    json.loads((folder / "manifest.json").read_text(), parse_constant=pytest.fail)


def test_a_missing_manifest_says_that_the_version_was_never_proven(tmp_path: Path) -> None:
    with pytest.raises(IntegrityError, match="there is no manifest") as caught:
        Manifest.read(tmp_path)
    assert "modelport build" in str(caught.value.next_step)


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"sofware": "x"}, "sofware"),
        ({"schema_version": 2}, "schema_version"),
        ({"version": 0}, "version"),
        ({"build_key": "12"}, "build_key"),
        ({"kind": "tensorrt"}, "kind"),
        ({"proof": {}}, "proof.tolerance"),
        ({"files": [{"path": "a", "size_bytes": -1, "sha256": "0" * 64}]}, "files.0.size_bytes"),
    ],
)
def test_a_wrong_field_is_named(version_dir: Path, change: dict[str, object], field: str) -> None:
    path = version_dir / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(IntegrityError) as caught:
        Manifest.read(version_dir)
    assert caught.value.objects["field"] == field
    assert f"{path}: field {field}" in caught.value.what


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_truncated_manifest_is_refused(version_dir: Path, share: float) -> None:
    path = version_dir / "manifest.json"
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with pytest.raises(IntegrityError, match="whole file"):
        Manifest.read(version_dir)


def test_a_manifest_that_is_no_text_is_refused(version_dir: Path) -> None:
    (version_dir / "manifest.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(IntegrityError):
        Manifest.read(version_dir)


def test_a_folder_in_place_of_the_manifest_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").mkdir()
    with pytest.raises(IntegrityError):
        Manifest.read(tmp_path)


def test_changed_files_names_each_and_how(version_dir: Path) -> None:
    (version_dir / "model.onnx").unlink()
    (version_dir / "weights" / "w.bin").write_bytes(b"1234567")
    assert Manifest.read(version_dir).changed_files(version_dir) == {
        "model.onnx": "missing",
        "weights/w.bin": "7 bytes instead of 8",
    }


def test_a_changed_byte_is_found_by_content_only(version_dir: Path) -> None:
    (version_dir / "model.onnx").write_bytes(b"grapf")
    read = Manifest.read(version_dir)
    assert read.changed_files(version_dir, content=False) == {}
    assert list(read.changed_files(version_dir)) == ["model.onnx"]


# --- what others read ---------------------------------------------------------------


def fits_schema(text: str) -> bool:
    schema = json.loads((ROOT / "docs" / "manifest.schema.json").read_text())
    return jsonschema.Draft202012Validator(schema).is_valid(json.loads(text))


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.json")), ids=lambda path: path.stem)
def test_an_old_manifest_is_still_read(path: Path, tmp_path: Path) -> None:
    """One of every state of the schema that a release wrote; none may ever be refused."""
    (tmp_path / "manifest.json").write_text(path.read_text())
    read = Manifest.read(tmp_path)
    written = json.loads(path.read_text())
    assert read.model == written["model"]
    assert [entry.sha256 for entry in read.files] == [file["sha256"] for file in written["files"]]
    assert fits_schema(path.read_text())


def test_the_schema_says_what_is_read(version_dir: Path) -> None:
    text = (version_dir / "manifest.json").read_text()
    assert fits_schema(text)
    for change in ({"sofware": "x"}, {"schema_version": 2}, {"version": 0}, {"build_key": "12"}):
        assert not fits_schema(json.dumps(json.loads(text) | change)), change
    undefined = Metrics(split="test", count=1, values={"auc": float("nan")})
    manifest(metrics=undefined).write(version_dir)
    assert fits_schema((version_dir / "manifest.json").read_text())


@pytest.mark.parametrize("path", ["/etc/passwd", "../2/model.onnx", "a/../../b"])
def test_a_file_outside_the_version_is_refused(version_dir: Path, path: str) -> None:
    entry = {"path": path, "size_bytes": 1, "sha256": "0" * 64}
    text = json.loads((version_dir / "manifest.json").read_text()) | {"files": [entry]}
    (version_dir / "manifest.json").write_text(json.dumps(text))
    with pytest.raises(IntegrityError, match="leads out of the version folder"):
        Manifest.read(version_dir)

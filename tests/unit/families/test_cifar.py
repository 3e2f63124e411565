"""CIFAR-10 in its binary version, from a folder that a person unpacked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from modelport.errors import DataError
from modelport.families import cifar

NAMES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
EACH = 40


def records(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Pictures uint8[item, 32, 32, 3] and their classes."""
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 256, (EACH, 32, 32, 3), dtype=np.uint8)
    return pixels, np.arange(EACH) % 10


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        pixels, classes = records(sum(name.encode()))
        planes = pixels.transpose(0, 3, 1, 2).reshape(EACH, -1)
        rows = np.concatenate([classes[:, None].astype(np.uint8), planes], axis=1)
        (tmp_path / f"{name}.bin").write_bytes(rows.tobytes())
    # Its authors end the file with an empty line.
    (tmp_path / "batches.meta.txt").write_text("\n".join(NAMES) + "\n\n")
    return tmp_path


def test_pictures_and_classes_are_read(folder: Path) -> None:
    dataset = cifar.read(folder)
    pixels, classes = records(sum(b"test_batch"))
    np.testing.assert_array_equal(dataset.test.inputs["pixels"], pixels)
    np.testing.assert_array_equal(dataset.test.targets, classes)
    assert dataset.test.targets.dtype == np.int64
    assert cifar.names(folder) == NAMES


def test_training_pictures_are_split_once(folder: Path) -> None:
    dataset = cifar.read(folder)
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (180, 20, 40)
    splits = (dataset.train, dataset.validation, dataset.test)
    seen = [picture.tobytes() for split in splits for picture in split.inputs["pixels"]]
    assert len(set(seen)) == len(seen) == 6 * EACH


def test_the_pickled_version_is_refused_by_name(folder: Path) -> None:
    for path in folder.glob("*.bin"):
        path.rename(path.with_suffix(""))
    with pytest.raises(DataError, match=r"no data_batch_1\.bin") as caught:
        cifar.read(folder)
    assert "pickled" in str(caught.value.cause)
    assert "cifar-10-binary.tar.gz" in str(caught.value.next_step)


@pytest.mark.parametrize("missing", ["data_batch_3.bin", "test_batch.bin", "batches.meta.txt"])
def test_a_missing_file_is_named(folder: Path, missing: str) -> None:
    (folder / missing).unlink()
    with pytest.raises(DataError, match=missing):
        cifar.read(folder)


@pytest.mark.parametrize(
    "spoil",
    [lambda b: b[:-1], lambda b: b"", lambda b: b"\x0a" + b[1:]],
    ids=["cut", "empty", "class 10"],
)
def test_a_damaged_file_is_named(folder: Path, spoil: object) -> None:
    path = folder / "data_batch_2.bin"
    path.write_bytes(spoil(path.read_bytes()))  # type: ignore[operator]
    with pytest.raises(DataError, match=r"data_batch_2\.bin: [\d,]+ bytes are no records"):
        cifar.read(folder)

"""Handwriting in MNIST's form: read from a CSV file, and drawn large."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from modelport.build import Split
from modelport.errors import DataError
from modelport.families import handwriting
from modelport.serving import images

SIDE, CLASSES, EACH = 5, 3, 20


@pytest.fixture
def rows() -> np.ndarray:
    """Values and, last, the class: uint8[60, 26]."""
    values = np.random.default_rng(0).integers(0, 256, (CLASSES * EACH, SIDE * SIDE))
    return np.column_stack([values, np.arange(len(values)) % CLASSES]).astype(np.uint8)


def written(path: Path, rows: np.ndarray) -> Path:
    lines = "".join(",".join(map(str, row)) + "\n" for row in rows.tolist()).encode()
    path.write_bytes(gzip.compress(lines) if path.suffix == ".gz" else lines)
    return path


@pytest.mark.parametrize("name", ["drawings.csv", "drawings.csv.gz"])
@pytest.mark.parametrize("class_first", [False, True])
def test_each_drawing_is_read_once_with_its_class(
    tmp_path: Path, rows: np.ndarray, name: str, class_first: bool
) -> None:
    path = written(tmp_path / name, np.roll(rows, 1, axis=1) if class_first else rows)
    data = handwriting.drawings(path, side=SIDE, classes=CLASSES, class_first=class_first)
    read = [
        (drawing.tobytes(), int(target))
        for split in (data.train, data.validation, data.test)
        for drawing, target in zip(split.inputs["pixels"], split.targets, strict=True)
    ]
    assert sorted(read) == sorted((row[:-1].tobytes(), int(row[-1])) for row in rows)
    assert data.test.inputs["pixels"].shape == (12, SIDE, SIDE)
    assert data.test.inputs["pixels"].dtype == np.uint8
    assert np.bincount(data.test.targets).tolist() == [4, 4, 4]
    assert data.test.targets.dtype == np.int64


def test_another_form_is_refused(tmp_path: Path, rows: np.ndarray) -> None:
    path = written(tmp_path / "drawings.csv", rows)
    with pytest.raises(DataError, match=r"lines of 785 numbers .* found 26 in each of 60"):
        handwriting.drawings(path)
    with pytest.raises(DataError, match=r"each of 4 classes, 0 to 3, .* found 3 from 0 to 2"):
        handwriting.drawings(path, side=SIDE, classes=4)
    with pytest.raises(DataError, match="in the first column"):
        handwriting.drawings(path, side=SIDE, classes=CLASSES, class_first=True)


@pytest.mark.parametrize("content", ["a,b,c\n1,2,3\n", "1,2,300\n", "1,2,3\n1,2\n", "1;2;3\n"])
def test_what_is_no_table_of_bytes_is_refused(tmp_path: Path, content: str) -> None:
    (tmp_path / "drawings.csv").write_text(content)
    with pytest.raises(DataError, match=r"drawings\.csv: expected lines of 785 numbers 0 to 255"):
        handwriting.drawings(tmp_path / "drawings.csv")


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"drawings\.csv"):
        handwriting.drawings(tmp_path / "drawings.csv")


def test_questions_take_turns_in_shade_and_form() -> None:
    pixels = np.zeros((4, 28, 28), np.uint8)
    pixels[:, 8:20, 12:16] = 255
    asked = handwriting.questions(Split({"pixels": pixels}, np.array([3, 1, 0, 2])), list("abcd"))
    assert [one.title for one in asked] == [
        "a handwritten a, dark on light, PNG 101 × 76",
        "a handwritten b, light on dark, JPEG 115 × 90",
        "a handwritten c, dark on light, pixels 129 × 104",
        "a handwritten d, light on dark, PNG 143 × 118",
    ]
    assert [one.truth["label"].tolist() for one in asked] == [[b"a"], [b"b"], [b"c"], [b"d"]]
    for number, one in enumerate(asked):
        given = one.inputs
        grey = given["pixels"] if "pixels" in given else images.decode(given["image"][0], mode="L")
        side = 56 + 14 * number
        middle = grey[5 + side // 2, 35 + side // 2]
        ink, sheet = (middle, grey[0, 0]) if number % 2 else (255 - middle, 255 - grey[0, 0])
        assert ink > 250
        assert sheet < 5

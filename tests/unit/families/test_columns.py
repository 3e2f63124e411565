"""Rows of named numbers: both forms of file, what is wrong with one, and what is asked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from modelport.build import Split
from modelport.errors import DataError
from modelport.families import columns

COLUMNS, CLASSES = ("length", "width"), ("rose", "lily")


def written(folder: Path, *lines: str) -> Path:
    path = folder / "flowers.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.parametrize(
    "lines",
    [
        ("3,2,rose,lily", "0.1,1,0", "0.2,2,1", "0.3,3,1"),
        ("kind,width,colour,length", "rose,1,red,0.1", "lily,2,red,0.2", "lily,3,red,0.3"),
    ],
    ids=["as scikit-learn packages it", "a table in its own order"],
)
def test_both_forms_say_the_same(tmp_path: Path, lines: tuple[str, ...]) -> None:
    rows = columns.read(written(tmp_path, *lines), COLUMNS, CLASSES, target="kind")
    assert list(rows.inputs) == list(COLUMNS)
    for name, values in (("length", [0.1, 0.2, 0.3]), ("width", [1, 2, 3])):
        assert rows.inputs[name].dtype == np.float32
        assert np.array_equal(rows.inputs[name], np.array(values, np.float32)[:, None])
    assert rows.targets.tolist() == [0, 1, 1]


def test_a_missing_number_is_nan(tmp_path: Path) -> None:
    table = written(tmp_path, "length,width,target", "1,,rose", "2,3,lily")
    assert np.isnan(columns.read(table, COLUMNS, CLASSES).inputs["width"][0, 0])


def test_a_packaged_file_of_other_columns_is_refused(tmp_path: Path) -> None:
    file = written(tmp_path, "2,3,rose,lily", "1,2,3,0", "4,5,6,1")
    with pytest.raises(DataError, match="expected 2 columns and the class's number, found 4"):
        columns.read(file, COLUMNS, CLASSES)


def test_another_class_is_named(tmp_path: Path) -> None:
    table = written(tmp_path, "length,width,target", "1,2,rose", "2,3,oak")
    with pytest.raises(DataError, match="column 'target' holds 'oak'") as caught:
        columns.read(table, COLUMNS, CLASSES)
    assert "rose or lily" in str(caught.value.next_step)


def test_every_row_is_asked_and_what_is_no_number() -> None:
    values = np.arange(6, dtype=np.float32).reshape(3, 2)
    rows = Split({"length": values[:, :1], "width": values[:, 1:]}, np.array([1, 1, 0]))
    undefined = {"width": np.nan, "length": -np.inf}
    asked = columns.questions(rows, CLASSES, title="a {}", undefined=undefined)
    assert [one.title for one in asked] == ["a lily", "", "a rose", "", ""]
    assert [one.truth["label"].tolist() for one in asked if one.title] == [[b"lily"], [b"rose"]]
    assert np.isnan(asked[3].inputs["width"]).all()
    assert asked[4].inputs["length"].tolist() == [-np.inf]
    # What is not changed is the row's own.
    assert [asked[3].inputs["length"].item(), asked[4].inputs["width"].item()] == [0, 3]


def test_the_simple_methods_answer_with_probabilities() -> None:
    values, targets = np.array([[0.0], [1], [2], [900]]), np.array([0, 0, 0, 1])
    for make, right in ((columns.majority, 0.75), (columns.logistic, 1)):
        fitted = make().fit(values, targets)
        assert fitted.predict_proba(values).shape == (4, 2)
        assert fitted.score(values, targets) == right

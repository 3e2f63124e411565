"""The model ``tabular`` beside scikit-learn, and what it does with rows that are none."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelport.build import Split, loader, sources
from modelport.client import Client, InvalidInputError
from modelport.errors import DataError
from modelport.runtime.server import Server

BUILDER = Path(__file__).parents[3] / "builders" / "tabular.py"


@pytest.fixture(scope="module")
def builder() -> ModuleType:
    (model,) = loader.load(BUILDER).models
    return sys.modules[model.estimator.__module__]


@pytest.fixture(scope="module")
def rows(builder: ModuleType) -> Split:
    return builder.rows(sources.fetch(builder.BREAST_CANCER, BUILDER).path)


@pytest.fixture(scope="module")
def fitted(builder: ModuleType, rows: Split) -> Any:
    """The classifier as anybody would fit it with scikit-learn; it answers with class numbers."""
    return builder.classifier().fit(matrix(rows), rows.targets)


@pytest.fixture(scope="module")
def grpc(server: Server) -> Client:
    return Client(server.endpoints.grpc)


def matrix(rows: Split) -> np.ndarray:
    return np.concatenate(list(rows.inputs.values()), axis=1)


def labels(fitted: Any, values: np.ndarray) -> list[str]:
    return [("malignant", "benign")[number] for number in fitted.predict(values)]


def taken(rows: Split, indices: Any) -> dict[str, np.ndarray]:
    return {name: column[indices] for name, column in rows.inputs.items()}


def test_every_row_gets_the_label_of_scikit_learn(client: Client, rows: Split, fitted: Any) -> None:
    answer = client.infer("tabular", rows.inputs)
    assert answer["label"].shape == (569, 1)
    assert answer["label"][:, 0].astype(str).tolist() == labels(fitted, matrix(rows))
    expected = fitted.predict_proba(matrix(rows))
    np.testing.assert_allclose(answer["scores"], expected, atol=1e-5)
    np.testing.assert_allclose(answer["probability"][:, 0], expected.max(axis=1), atol=1e-5)


@settings(max_examples=25)
@given(chosen=st.lists(st.integers(0, 568), min_size=1, max_size=20))
def test_a_row_is_answered_the_same_in_any_company(
    grpc: Client, rows: Split, chosen: list[int]
) -> None:
    answer = grpc.infer("tabular", taken(rows, chosen))
    alone = [grpc.infer("tabular", taken(rows, [i])) for i in chosen]
    for name, array in answer.items():
        together = np.concatenate([one[name] for one in alone])
        if name == "label":
            assert np.array_equal(array, together)
        else:
            np.testing.assert_allclose(array, together, atol=1e-6)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_is_undefined_and_spoils_no_neighbour(
    client: Client, rows: Split, fitted: Any, value: float
) -> None:
    inputs = taken(rows, [0, 1, 2])
    inputs["worst_texture"] = inputs["worst_texture"].copy()
    inputs["worst_texture"][1] = value
    answer = client.infer("tabular", inputs)
    assert answer["label"][1, 0] == b"undefined"
    assert np.isnan(answer["probability"][1, 0])
    assert np.isnan(answer["scores"][1]).all()
    others = labels(fitted, matrix(rows)[[0, 2]])
    assert answer["label"][[0, 2], 0].astype(str).tolist() == others


def test_absurd_but_finite_measurements_are_answered_as_by_scikit_learn(
    client: Client, rows: Split, fitted: Any
) -> None:
    inputs = {name: column * np.float32(1e20) for name, column in taken(rows, [0, 20]).items()}
    answer = client.infer("tabular", inputs)
    expected = labels(fitted, np.concatenate(list(inputs.values()), axis=1))
    assert answer["label"][:, 0].astype(str).tolist() == expected


def test_a_forgotten_column_is_named(client: Client, rows: Split) -> None:
    inputs = taken(rows, [0])
    del inputs["mean_area"]
    with pytest.raises(InvalidInputError, match="mean_area"):
        client.infer("tabular", inputs)


def test_a_table_of_ones_own_is_read_by_its_names(
    builder: ModuleType, rows: Split, tmp_path: Path
) -> None:
    table = tmp_path / "own.csv"
    write(table, builder, rows, [*builder.COLUMNS[::-1], "target"])
    own = builder.rows(table)
    assert np.array_equal(own.targets, rows.targets)
    np.testing.assert_array_equal(matrix(own), matrix(rows))


def test_columns_that_a_table_lacks_are_named(
    builder: ModuleType, rows: Split, tmp_path: Path
) -> None:
    table = tmp_path / "own.csv"
    write(table, builder, rows, [*builder.COLUMNS[2:], "target"])
    with pytest.raises(DataError, match=r"mean_radius.*mean_texture"):
        builder.rows(table)


def test_a_class_that_the_model_does_not_have_is_named(
    builder: ModuleType, rows: Split, tmp_path: Path
) -> None:
    table = tmp_path / "own.csv"
    write(table, builder, rows, [*builder.COLUMNS, "target"])
    table.write_text(table.read_text().replace("benign", "unclear", 1))
    with pytest.raises(DataError, match="unclear"):
        builder.rows(table)


def write(table: Path, builder: ModuleType, rows: Split, columns: list[str]) -> None:
    known = {name: column[:, 0] for name, column in rows.inputs.items()}
    known["target"] = np.array(builder.CLASSES)[rows.targets]
    lines = zip(*(known[name] for name in columns), strict=True)
    text = "\n".join(",".join(str(value) for value in line) for line in lines)
    table.write_text(",".join(columns) + "\n" + text + "\n")

"""Rows of named numbers and the class of each: reading them, asking of them, methods to beat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np

from modelport.build import tables
from modelport.build.dataset import Split
from modelport.errors import DataError
from modelport.spec.parts import Sample


def read(
    path: Path, columns: Sequence[str], classes: Sequence[str], *, target: str = "target"
) -> Split:
    """Read a table with named columns, or a file in the form of scikit-learn's own data sets.

    Args:
        path: a table (see :func:`modelport.build.tables.read`) that has ``columns``, in any
            order, and a column with the names of the classes. Or a .csv as scikit-learn
            packages iris, wine and breast cancer: the first line counts rows and columns and
            names the classes; the others hold ``columns``, in that order, and the class's number.
        columns: names of the numbers.
        classes: names of the classes, by the numbers that the targets are.
        target: name of the column of classes.

    Returns:
        An input float32[rows, 1] for each column, rounded to what is served, so that the
        classifier learns from no more; missing values are NaN. Targets int64[rows].

    Raises:
        DataError: the file is no such table, lacks a column, or holds another class.
    """
    if _is_packaged(path, classes):
        values, targets = _packaged(path, len(columns))
    else:
        table = tables.read(path, {**dict.fromkeys(columns, float), target: str})
        values = np.stack([table[name] for name in columns], axis=1)
        targets = _numbers(path, target, table[target], classes)
    rounded = values.astype(np.float32)
    return Split({name: rounded[:, [i]] for i, name in enumerate(columns)}, targets)


def _is_packaged(path: Path, classes: Sequence[str]) -> bool:
    with path.open(encoding="utf-8", errors="replace") as file:
        first = file.readline().strip().split(",")
    return first[2:] == list(classes) and all(count.isdigit() for count in first[:2])


def _packaged(path: Path, columns: int) -> tuple[np.ndarray, np.ndarray]:
    values = np.loadtxt(path, delimiter=",", skiprows=1, ndmin=2)
    if values.shape[1] != columns + 1:
        raise DataError(
            f"{path}: expected {columns} columns and the class's number, found {values.shape[1]}",
            next_step="name the columns of this file, in its order",
            path=path,
        )
    return values[:, :-1], values[:, -1].astype(np.int64)


def _numbers(path: Path, target: str, names: np.ndarray, classes: Sequence[str]) -> np.ndarray:
    if wrong := sorted(set(names) - set(classes)):
        raise DataError(
            f"{path}: column {target!r} holds {wrong[0]!r}",
            next_step=f"name each row's class {' or '.join(classes)}",
            path=path,
        )
    return np.array([list(classes).index(name) for name in names], np.int64)


def questions(
    rows: Split, classes: Sequence[str], *, title: str, undefined: Mapping[str, float]
) -> Sequence[Sample]:
    """Take every row, and rows with something in them that is no number.

    Args:
        rows: as :func:`read` gives them.
        classes: names of the classes; the first row of each has a title and its truth.
        title: of these, for people, ``{}`` standing for the class.
        undefined: column to what stands in it instead: NaN or an infinity; one sample each.
    """
    samples = rows.samples(len(rows))
    changed = [
        Sample({**one.inputs, name: np.array([value], np.float32)})
        for one, (name, value) in zip(cycle(samples), undefined.items(), strict=False)
    ]
    for number, name in enumerate(classes):
        for index in np.flatnonzero(rows.targets == number)[:1]:
            samples[index] = Sample(
                samples[index].inputs,
                title=title.format(name),
                truth={"label": np.array([name.encode()], np.object_)},
            )
    return [*samples, *changed]


def majority() -> Any:
    """Make what names the most frequent class always."""
    from sklearn.dummy import DummyClassifier

    return DummyClassifier(strategy="prior")


def logistic() -> Any:
    """Make a logistic regression of columns brought to mean 0 and variance 1."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))

"""Breast cancer from named measurements: a support vector machine with probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from modelport.build import Split, tables
from modelport.errors import DataError
from modelport.spec import (
    Gate,
    ModelDynamicBatching,
    Sample,
    Serving,
    SklearnModel,
    Source,
    Tensor,
    Tolerance,
)

CLASSES = ("malignant", "benign")
MEASURED = (
    "radius", "texture", "perimeter", "area", "smoothness", "compactness", "concavity",
    "concave_points", "symmetry", "fractal_dimension",
)  # fmt: skip
COLUMNS = tuple(f"{kind}_{of}" for kind in ("mean", "error", "worst") for of in MEASURED)

BREAST_CANCER = Source(
    package="scikit-learn",
    version="1.9.1",
    wheel="cp311-cp311-manylinux_2_27_x86_64.manylinux_2_28_x86_64",
    sha256="52a0703bbc07ad27f560fa63fa68e4c54dd735bfbbf65b4dd3c225dc7547b6df",
    member="sklearn/datasets/data/breast_cancer.csv",
    licence="CC-BY-4.0 (Breast Cancer Wisconsin (Diagnostic), Wolberg et al. 1995, UCI);"
    " packaged by scikit-learn, BSD-3-Clause",
)


def classifier() -> Any:
    """Make scaler, support vector machine and calibration (Platt 1999) with library defaults.

    Nothing is tuned, so the cross-validation is of all that was chosen on this data.
    """
    return make_pipeline(StandardScaler(), CalibratedClassifierCV(SVC(), ensemble=False))


def majority() -> Any:
    """Make what names the most frequent class always."""
    return DummyClassifier(strategy="prior")


def logistic() -> Any:
    """Make a scaled logistic regression."""
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))


def rows(path: Path) -> Split:
    """Read all rows: scikit-learn's own file, or a table with the columns and a ``target``."""
    with path.open(encoding="utf-8", errors="replace") as file:
        packaged = file.readline().startswith("569,30,")
    if packaged:
        values = np.loadtxt(path, delimiter=",", skiprows=1)
        return _split(values[:, :-1], values[:, -1].astype(np.int64))
    table = tables.read(path, {**dict.fromkeys(COLUMNS, float), "target": str})
    if wrong := sorted(set(table["target"]) - set(CLASSES)):
        raise DataError(
            f"{path}: column 'target' holds {wrong[0]!r}",
            next_step=f"name each row's class {' or '.join(CLASSES)}",
            path=path,
        )
    targets = np.array([CLASSES.index(name) for name in table["target"]], np.int64)
    return _split(np.stack([table[name] for name in COLUMNS], axis=1), targets)


def _split(values: np.ndarray, targets: np.ndarray) -> Split:
    # What is served takes FP32, so the classifier learns from numbers rounded to it.
    columns = np.asarray(values, np.float32)
    return Split({name: columns[:, [i]] for i, name in enumerate(COLUMNS)}, targets)


def questions(path: Path) -> Sequence[Sample]:
    """Take every row: labels must be scikit-learn's on all of them, and on no numbers at all."""
    known = rows(path)
    samples = known.samples(len(known))
    titled = {int(np.flatnonzero(known.targets == i)[0]): name for i, name in enumerate(CLASSES)}
    for index, name in titled.items():
        samples[index] = Sample(
            samples[index].inputs,
            title=f"measurements of a {name} tumour",
            truth={"label": np.array([name.encode()], dtype=np.object_)},
        )
    missing = {**samples[0].inputs, COLUMNS[3]: np.array([np.nan], np.float32)}
    endless = {**samples[1].inputs, COLUMNS[9]: np.array([-np.inf], np.float32)}
    return [*samples, Sample(missing), Sample(endless)]


model = SklearnModel(
    name="tabular",
    doc="Tells malignant from benign breast tumours by 30 measurements of their cell nuclei.",
    limits=(
        "A classifier fitted on 569 biopsies of one clinic; no medical device.",
        "Logistic regression is as accurate on this data.",
        "A missing measurement (NaN) or an infinity gives the label 'undefined' and NaN.",
    ),
    inputs=tuple(Tensor(name, "FP32", (1,)) for name in COLUMNS),
    outputs=(
        Tensor("label", "BYTES", (1,), doc="'malignant', 'benign', or 'undefined'"),
        Tensor("probability", "FP32", (1,), doc="of the label, 0 to 1"),
        Tensor("scores", "FP32", (2,), labels=CLASSES, doc="probability of each class"),
    ),
    # Requests of one row gather, and a whole table fits: many rows cost hardly more than one.
    serving=Serving(dynamic_batching=ModelDynamicBatching(max_queue_delay_microseconds=100)),
    max_batch_size=1024,
    estimator=classifier,
    classes=CLASSES,
    data=rows,
    sources=(BREAST_CANCER,),
    samples=questions,
    baselines={"majority class": majority, "logistic regression": logistic},
    gates=(Gate("accuracy", at_least=0.96, on=BREAST_CANCER),),
    # scikit-learn works in float64, the graph in float32: probabilities differ by up to 1.4e-6.
    tolerance=Tolerance(absolute=1e-5, relative=1e-5),
)

"""Breast cancer from named measurements: a support vector machine with probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.calibration import CalibratedClassifierCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from modelport.build import Split
from modelport.families import columns
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


def rows(path: Path) -> Split:
    """Read all rows: scikit-learn's own file, or a table with the columns and a ``target``."""
    return columns.read(path, COLUMNS, CLASSES)


def questions(path: Path) -> Sequence[Sample]:
    """Take every row: labels must be scikit-learn's on all of them, and on no numbers at all."""
    return columns.questions(
        rows(path),
        CLASSES,
        title="measurements of a {} tumour",
        undefined={"mean_area": np.nan, "mean_fractal_dimension": -np.inf},
    )


model = SklearnModel(
    name="tabular",
    doc="Tells malignant from benign breast tumours by 30 measurements of their cell nuclei.",
    limits=(
        "A classifier fitted on 569 biopsies of one clinic; no medical device.",
        "Logistic regression is as accurate on this data.",
        "A missing measurement (NaN) or an infinity gives the label 'undefined' and NaN.",
    ),
    inputs=tuple(Tensor(name, "FP32", (1,), minimum=0.0) for name in COLUMNS),
    outputs=(
        Tensor(
            "label",
            "BYTES",
            (1,),
            doc="'malignant', 'benign', or 'undefined'",
            content="text",
            values=(*CLASSES, "undefined"),
        ),
        Tensor("probability", "FP32", (1,), doc="of the label, 0 to 1", minimum=0.0, maximum=1.0),
        Tensor(
            "scores",
            "FP32",
            (2,),
            labels=CLASSES,
            doc="probability of each class",
            minimum=0.0,
            maximum=1.0,
        ),
    ),
    # Requests of one row gather, and a whole table fits: many rows cost hardly more than one.
    serving=Serving(dynamic_batching=ModelDynamicBatching(max_queue_delay_microseconds=100)),
    max_batch_size=1024,
    estimator=classifier,
    classes=CLASSES,
    data=rows,
    sources=(BREAST_CANCER,),
    samples=questions,
    baselines={"majority class": columns.majority, "logistic regression": columns.logistic},
    gates=(Gate("accuracy", at_least=0.96, on=BREAST_CANCER),),
    # scikit-learn works in float64, the graph in float32: probabilities differ by up to 1.4e-6.
    tolerance=Tolerance(absolute=1e-5, relative=1e-5),
)

"""What builders of classifiers share: their answer, a method to beat, scores to ask with."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from modelport.build import evaluation
from modelport.build.dataset import Dataset, Split
from modelport.spec.parts import Sample, Tensor

_ROWS, _SPREAD = 6, 5.0
# So far from the others that its probability, or theirs, is 0 in float32.
_EXTREME = 80.0


def answer(classes: int, *, label: str, labels: Sequence[str] = ()) -> tuple[Tensor, ...]:
    """Declare what :class:`modelport.serving.classes.Softmax` answers.

    Args:
        classes: how many there are.
        label: what the label says, for people.
        labels: names of the classes, where they do not follow the data.
    """
    return (
        Tensor("label", "BYTES", (1,), doc=label),
        Tensor("probability", "FP32", (1,), doc=f"of the label, {1 / classes:g} to 1"),
        Tensor("scores", "FP32", (classes,), labels=tuple(labels), doc="probability of each class"),
    )


def baseline(
    estimator: Callable[[], Any], features: Callable[[Split], np.ndarray]
) -> Callable[[Dataset], Mapping[str, float]]:
    """Make a simple method to beat out of a scikit-learn classifier.

    Args:
        estimator: makes the classifier, not fitted. It learns from the training split.
        features: of a split, float[items, features].
    """

    def figures(dataset: Dataset) -> Mapping[str, float]:
        fitted = estimator().fit(features(dataset.train), dataset.train.targets)
        score = getattr(fitted, "predict_proba", None) or fitted.decision_function
        scores = score(features(dataset.test))
        # Of two classes a decision function scores the second alone.
        scores = np.stack([-scores, scores], axis=1) if scores.ndim == 1 else scores
        return evaluation.classification(scores, dataset.test.targets)

    return figures


def scores(classes: int, *, name: str = "logits") -> Callable[..., Sequence[Sample]]:
    """Make scores as a classifier gives them, a tie and extremes among them.

    Args:
        classes: how many scores a row has.
        name: of the input tensor, float32[classes].

    Returns:
        What a declaration takes as its ``samples``.
    """

    def made(*_: object) -> Sequence[Sample]:
        random = np.random.default_rng(0)
        drawn = random.normal(scale=_SPREAD, size=(_ROWS, classes))
        certain = np.where(np.arange(classes) == classes - 1, _EXTREME, -_EXTREME)
        rows = [*drawn, np.zeros(classes), np.full(classes, -_EXTREME), certain]
        return [Sample({name: row.astype(np.float32)}) for row in rows]

    return made

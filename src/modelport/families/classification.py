"""What builders of classifiers share: their answer, a method to beat, scores to ask with."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from modelport.build import evaluation
from modelport.build.dataset import Dataset, Split
from modelport.errors import DataError
from modelport.serving.classes import FILE_NAME
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


def ridge(name: str, *, alpha: float) -> Callable[[Dataset], Mapping[str, float]]:
    """Make least squares on the values of a tensor: the simplest thing that could work.

    Args:
        name: of the input tensor; each of its values is a feature.
        alpha: how strongly large coefficients are held back.
    """

    def estimator() -> Any:
        from sklearn.linear_model import RidgeClassifier

        return RidgeClassifier(alpha=alpha)

    return baseline(estimator, lambda split: split.inputs[name].reshape(len(split), -1))


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


def names_file(
    names: Callable[..., Sequence[str]],
) -> Callable[..., Mapping[str, bytes]]:
    """Make the file from which the last step reads the names of the classes, one a line.

    Args:
        names: gives them in the order of the network's outputs; it is called with one path per
            source.

    Returns:
        What a declaration takes as its ``files``. :class:`modelport.serving.classes.Softmax` and
        :class:`~modelport.serving.classes.Names` read it by their ``from_folder``.
    """

    def files(*sources: Path) -> Mapping[str, bytes]:
        return {FILE_NAME: "".join(f"{name}\n" for name in names(*sources)).encode()}

    return files


def numbered_names(path: Path) -> list[str]:
    """Read a JSON object from the numbers of classes, as text, to their names.

    Raises:
        DataError: it is none, or a number is missing.
    """
    expected = 'a JSON object {"0": "name", "1": …} of all classes'
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        return [str(found[str(number)]) for number in range(len(found))]
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise DataError(
            f"{path}: expected {expected}, found {type(error).__name__}: {error}",
            next_step="bring the file to that form",
            path=path,
        ) from error

"""What builders of classifiers share."""

from __future__ import annotations

import numpy as np

from modelport.build import Dataset, Split
from modelport.families import classification
from modelport.serving.classes import Softmax


def test_scores_hold_a_tie_and_certainty() -> None:
    rows = [sample.inputs["logits"] for sample in classification.scores(4)()]
    assert all(row.shape == (4,) and row.dtype == np.float32 for row in rows)
    assert any(len(set(row.tolist())) == 1 for row in rows)
    assert any(np.exp(row - row.max()).sum() == 1 for row in rows)


def test_an_answer_is_what_softmax_gives() -> None:
    declared = classification.answer(3, label="which", labels=("a", "b", "c"))
    given = Softmax(("a", "b", "c"))({"logits": np.zeros((1, 3), np.float32)})
    assert {tensor.name: tensor.dims for tensor in declared} == {
        name: array.shape[1:] for name, array in given.items()
    }


def test_a_baseline_is_fitted_on_what_may_be_learned_from() -> None:
    from sklearn.linear_model import LogisticRegression, RidgeClassifier

    def split(shift: int) -> Split:
        values = np.arange(20.0)[:, None]
        return Split({"x": values}, (values[:, 0] >= 10 + shift).astype(np.int64))

    dataset = Dataset(split(0), split(9), split(0))
    for estimator in (LogisticRegression, lambda: RidgeClassifier(0.1)):
        figures = classification.baseline(estimator, lambda split: split.inputs["x"])(dataset)
        assert figures["accuracy"] == 1.0, "validation, which says otherwise, is not learned"

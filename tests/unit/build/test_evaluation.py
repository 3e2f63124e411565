"""Figures of a classifier, against values computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from modelport.build import evaluation


def test_known_figures() -> None:
    targets = np.array([0, 0, 1, 1])
    scores = np.eye(2)[[0, 1, 1, 1]]
    figures = evaluation.classification(scores, targets)
    assert figures["accuracy"] == 0.75
    assert figures["precision"] == pytest.approx((1 + 2 / 3) / 2)
    assert figures["recall"] == pytest.approx((1 / 2 + 1) / 2)
    assert figures["f1"] == pytest.approx((2 / 3 + 4 / 5) / 2)


def test_a_class_that_is_never_answered_counts_as_zero() -> None:
    figures = evaluation.classification(np.eye(2)[[0, 0]], np.array([0, 1]))
    assert (figures["accuracy"], figures["precision"]) == (0.5, 0.25)


def test_the_interval_holds_the_mean_and_narrows_with_more_items() -> None:
    widths = []
    for count in (40, 4000):
        low, high = evaluation.bootstrap_interval(np.arange(count) % 10 > 0)
        assert 0 <= low <= 0.9 <= high <= 1
        widths.append(high - low)
    # Theory: 2 * 1.96 * sqrt(0.9 * 0.1 / 4000) = 0.0186.
    assert widths[1] == pytest.approx(0.0186, rel=0.15)
    assert widths[0] > 5 * widths[1]


def test_all_right_has_no_width() -> None:
    assert evaluation.bootstrap_interval(np.ones(10)) == (1.0, 1.0)


def test_the_interval_is_the_same_each_time() -> None:
    values = np.random.default_rng(1).random(50)
    assert evaluation.bootstrap_interval(values) == evaluation.bootstrap_interval(values)

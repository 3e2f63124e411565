"""Figures of a network on held-out data, with what they are worth."""

from __future__ import annotations

import numpy as np

_RESAMPLES = 1000


def classification(outputs: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """Measure a classifier.

    Args:
        outputs: scores float[items, classes]; the largest is the answer.
        targets: int[items].

    Returns:
        ``accuracy`` with its 95 % bootstrap interval (``accuracy_low``,
        ``accuracy_high``), and precision, recall and F1 averaged over classes.
    """
    from sklearn.metrics import accuracy_score, precision_recall_fscore_support

    answers = np.asarray(outputs).argmax(axis=-1)
    precision, recall, f1, _ = precision_recall_fscore_support(
        targets, answers, average="macro", zero_division=0
    )
    low, high = bootstrap_interval(answers == targets)
    return {
        "accuracy": float(accuracy_score(targets, answers)),
        "accuracy_low": low,
        "accuracy_high": high,
        "precision": float(precision),
        "recall": float(recall),
        "f1": float(f1),
    }


def bootstrap_interval(values: np.ndarray, *, level: float = 0.95) -> tuple[float, float]:
    """Give the percentile bootstrap interval of a mean (Efron 1979)."""
    random = np.random.default_rng(0)
    chosen = random.integers(0, len(values), size=(_RESAMPLES, len(values)))
    means = np.asarray(values, dtype=np.float64)[chosen].mean(axis=1)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)

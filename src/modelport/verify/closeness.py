"""How close a variant's answers lie to those of the network that it was made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from modelport.repository.samples import Case
from modelport.verify.parity import Arrays, is_float


@dataclass(frozen=True)
class Closeness:
    """Over all items and all floating-point outputs.

    Attributes:
        least_cosine: of an output of one item with what the network gives; 1 where the model
            gives no floating-point numbers.
        mean_cosine: over items and outputs.
        worst_absolute: largest difference of an element.
    """

    least_cosine: float = 1.0
    mean_cosine: float = 1.0
    worst_absolute: float = 0.0


def measure(
    answer: Callable[[Arrays], Arrays], cases: Sequence[Case], *, batched: bool
) -> Closeness:
    """Compare answers with those of cases.

    Args:
        answer: gives the variant's outputs by name.
        cases: requests with the network's answers.
        batched: the first dimension of outputs counts items.
    """
    cosines: list[np.ndarray] = []
    worst = 0.0
    for case in cases:
        got = answer(case.inputs)
        for name, expected in case.outputs.items():
            if is_float(expected) and expected.size:
                a, b = (_rows(array, batched) for array in (got[name], expected))
                cosines.append(_cosines(a, b))
                worst = max(worst, float(np.abs(a - b).max()))
    if not cosines:
        return Closeness()
    joined = np.concatenate(cosines)
    return Closeness(float(joined.min()), float(joined.mean()), worst)


def farthest(one: Sequence[Case], other: Sequence[Case]) -> float:
    """Give the largest difference of a floating-point element of answers to the same requests."""
    found = 0.0
    for a, b in zip(one, other, strict=True):
        for name, array in a.outputs.items():
            if is_float(array) and array.size and array.shape == b.outputs[name].shape:
                difference = np.abs(array.astype(np.float64) - b.outputs[name].astype(np.float64))
                found = max(found, float(np.nanmax(difference, initial=0.0)))
    return found


def _rows(array: np.ndarray, batched: bool) -> np.ndarray:
    return array.astype(np.float64).reshape(len(array) if batched else 1, -1)


def _cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Give the cosine of each pair of rows; two rows of zeros are alike."""
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    products = (a * b).sum(axis=1)
    alike = (a == b).all(axis=1)
    return np.where(alike, 1.0, products / np.where(lengths > 0, lengths, np.inf))

"""How close answers are to those of the network."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from modelport.repository.samples import Case
from modelport.verify import closeness

ANSWERS = arrays(np.float32, (3, 4), elements=st.floats(-100, 100, width=32))


def case(array: np.ndarray) -> Case:
    return Case({"x": np.zeros((len(array), 1), np.float32)}, {"y": array}, "", {})


def measured(got: np.ndarray, expected: np.ndarray) -> closeness.Closeness:
    return closeness.measure(lambda _: {"y": got}, [case(expected)], batched=True)


@given(ANSWERS)
def test_the_same_answer_is_as_close_as_can_be(answer: np.ndarray) -> None:
    assert measured(answer, answer) == closeness.Closeness(1.0, 1.0, 0.0)


@given(ANSWERS, st.floats(0.1, 10))
def test_the_cosine_is_of_directions_and_the_difference_of_values(
    answer: np.ndarray, times: float
) -> None:
    found = measured(answer * np.float32(times), answer)
    if (np.linalg.norm(answer, axis=1) > 1e-3).all():
        assert found.least_cosine == pytest.approx(1, abs=1e-5)
    assert found.worst_absolute <= abs(times - 1) * np.abs(answer).max() + 1e-3


def test_one_bad_item_shows_in_the_least_and_not_only_in_the_mean() -> None:
    expected = np.eye(4, dtype=np.float32)
    got = expected.copy()
    got[2] = -got[2]
    found = measured(got, expected)
    assert (found.least_cosine, found.mean_cosine, found.worst_absolute) == (-1.0, 0.5, 2.0)


def test_an_answer_of_zeros_is_like_nothing_but_itself() -> None:
    zeros, ones = np.zeros((1, 4), np.float32), np.ones((1, 4), np.float32)
    assert measured(zeros, ones).least_cosine == 0
    assert measured(zeros, zeros).least_cosine == 1


def test_numbers_of_classes_have_no_direction() -> None:
    classes = np.array([[3], [4]])
    assert measured(classes + 1, classes) == closeness.Closeness()


def test_the_farthest_of_two_sets_of_answers() -> None:
    one, other = np.array([[1.0, 2.0]], np.float32), np.array([[1.5, -2.0]], np.float32)
    assert closeness.farthest([case(one)], [case(other)]) == 4.0

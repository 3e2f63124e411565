"""What series pass the check before a network."""

from __future__ import annotations

import numpy as np
import pytest

from modelport.serving.python_model import BadItemError
from modelport.serving.series import Check

CHECK = Check(shortest=4, most_values=20)


def test_good_series_pass_as_they_are() -> None:
    series = np.arange(20, dtype=np.float32).reshape(2, 10)
    assert CHECK({"series": series})["series"] is series


@pytest.mark.parametrize(
    ("series", "words"),
    [
        (np.zeros((1, 3)), "item 0: a series of 3 points; at least 4"),
        (np.zeros((3, 7)), "21 values in one request; at most 20.*overlap by 3"),
        (np.array([[0, 0, 0, 0], [0, 0, np.inf, np.nan]]), "item 1: point 2"),
    ],
)
def test_others_are_refused_with_the_reason(series: np.ndarray, words: str) -> None:
    with pytest.raises(BadItemError, match=words):
        CHECK({"series": series.astype(np.float32)})

"""compare(): what counts as the same answer, and what is said of one that is not."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn

from modelport.spec.parts import Tolerance
from modelport.verify.parity import Comparison, Parity, compare

LOOSE = Tolerance(absolute=0.1, relative=0.01)
FLOATS = [np.float16, np.float32, np.float64, ml_dtypes.bfloat16]


def one(got: object, expected: object, tolerance: Tolerance = LOOSE) -> Comparison:
    return compare({"y": np.asarray(got)}, {"y": np.asarray(expected)}, tolerance)


@pytest.mark.parametrize("dtype", FLOATS)
def test_the_tolerance_is_absolute_plus_a_share_of_the_expected(dtype: type) -> None:
    def near(got: float, expected: float) -> bool:
        return one(np.array([got], dtype), np.array([expected], dtype)).ok

    assert near(100.0, 100.0)
    assert near(101.0, 100.0)
    assert near(99.0, 100.0)
    assert not near(102.0, 100.0)
    assert near(0.0625, 0.0)
    assert not near(0.125, 0.0)


@settings(deadline=None)
@given(
    arrays=stn.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4).flatmap(
        lambda shape: st.tuples(
            *[stn.arrays(np.float32, shape, elements=st.floats(width=32)) for _ in range(2)]
        )
    )
)
def test_it_agrees_with_numpy(arrays: tuple[np.ndarray, np.ndarray]) -> None:
    """The rule is that of assert_allclose, which is another implementation of it."""
    got, expected = arrays
    try:
        np.testing.assert_allclose(
            got.astype(np.float64), expected.astype(np.float64), rtol=0.01, atol=0.1
        )
        close = True
    except AssertionError:
        close = False
    comparison = one(got, expected)
    assert comparison.ok == close, comparison.describe()
    assert bool(comparison.describe()) != close


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    ("got", "expected", "ok"),
    [
        (np.nan, np.nan, True),
        (np.inf, np.inf, True),
        (-np.inf, -np.inf, True),
        (np.nan, 1.0, False),
        (1.0, np.nan, False),
        (np.inf, -np.inf, False),
        (np.inf, 1.0, False),
        (1.0, np.inf, False),
        (np.nan, np.inf, False),
    ],
)
def test_nan_and_infinity_match_only_themselves(
    dtype: type, got: float, expected: float, ok: bool
) -> None:
    found = one(np.array([got], dtype), np.array([expected], dtype))
    assert found.ok is ok
    assert found.worst_absolute == (0.0 if ok else np.inf)


def test_the_worst_is_measured_where_it_is_within_the_tolerance() -> None:
    found = one([10.05, 0.02, 1.0], [10.0, 0.0, 1.0])
    assert found.ok
    assert found.worst_absolute == pytest.approx(0.05)
    # An expected 0 has no relative difference.
    assert found.worst_relative == pytest.approx(0.005)


def test_the_worst_element_is_named_with_its_place() -> None:
    expected = np.zeros((2, 3), np.float32)
    got = expected.copy()
    got[0, 1], got[1, 2] = 0.5, -7.0
    words = one(got, expected).describe()
    assert words == "y[1, 2]: -7, expected 0 (2 of 6 elements outside the tolerance)"


def test_a_missing_tensor_is_named_and_a_further_one_is_no_matter() -> None:
    y = np.ones(1)
    assert compare({"y": y, "z": y}, {"y": y}, LOOSE).ok
    found = compare({"z": y}, {"y": y}, LOOSE)
    assert found.describe() == "y: missing, the answer has z"
    assert compare({}, {"y": y}, LOOSE).describe() == "y: missing, the answer has nothing"


def test_the_dtype_must_be_the_same() -> None:
    found = one(np.ones(2, np.float64), np.ones(2, np.float32))
    assert found.describe() == "y: dtype float64, expected float32"


@pytest.mark.parametrize(("got", "expected"), [((2,), (1, 2)), ((), (1,)), ((0, 3), (1, 3))])
def test_the_shape_must_be_the_same(got: tuple[int, ...], expected: tuple[int, ...]) -> None:
    found = one(np.zeros(got), np.zeros(expected))
    assert found.describe() == f"y: shape {list(got)}, expected {list(expected)}"
    assert found.worst_absolute == np.inf


@pytest.mark.parametrize(
    ("got", "expected"),
    [
        (np.array([1, 2**62 + 1]), np.array([1, 2**62])),
        (np.array([7], np.uint8), np.array([8], np.uint8)),
        (np.array([True]), np.array([False])),
        (np.array([b"a", None], object)[:1], np.array([b"b", None], object)[:1]),
    ],
)
def test_integers_booleans_and_bytes_must_be_equal(got: np.ndarray, expected: np.ndarray) -> None:
    """Whatever the tolerance says; 2**62 + 1 is 2**62 as a float64."""
    everything = Tolerance(absolute=1e30, relative=1e30)
    assert one(expected, expected, everything).ok
    found = one(got, expected, everything)
    assert not found.ok
    assert f"(1 of {got.size} elements differ)" in found.describe()
    assert f"y[{len(got) - 1}]" in found.describe()


def test_bytes_differ_by_a_nul_at_the_end() -> None:
    got, expected = np.empty(1, object), np.empty(1, object)
    got[0], expected[0] = b"a\0", b"a"
    assert not one(got, expected).ok
    assert one(expected, expected).ok


@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.object_])
def test_empty_tensors_are_the_same(dtype: type) -> None:
    found = one(np.zeros((0, 3), dtype), np.zeros((0, 3), dtype))
    assert found.ok
    assert found.worst_absolute == 0.0


@pytest.mark.parametrize(("got", "expected", "ok"), [(1.0, 1.0, True), (1.0, 2.0, False)])
def test_tensors_without_dimensions(got: float, expected: float, ok: bool) -> None:
    assert one(np.float32(got), np.float32(expected)).ok is ok
    assert one(np.int32(got), np.int32(expected)).ok is ok


def test_parity_gathers_the_worst_and_every_problem() -> None:
    found = Parity()
    x = {"x": np.zeros((3, 2))}
    found.add(one([1.05], [1.0]), x, where="request 0")
    found.add(one([3.0], [1.0]), {"x": np.zeros((1, 2))}, where="request 1")
    found.add(one([1.0], [1.0]), {"x": np.float32(1)}, where="request 2")
    assert (found.requests, found.batch_sizes, found.worst_absolute) == (3, {1, 3}, 2.0)
    (problem,) = found.problems
    assert problem.startswith("request 1 (batch 1): y[0]: 3, expected 1")

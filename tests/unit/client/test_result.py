from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from modelport.client import ClientError, Result

LABELS = np.array([[b"good"], ["grün".encode()]], object)
SCORES = np.array([[0.25, 1 / 3], [0.5, np.nan]], np.float32)


@pytest.fixture
def result() -> Result:
    return Result({"label": LABELS, "scores": SCORES}, "3", "r-1")


def test_it_is_a_dictionary_whose_entries_are_attributes(result: Result) -> None:
    assert list(result) == ["label", "scores"]
    assert result.label is result["label"] is LABELS
    assert (result.model_version, result.request_id) == ("3", "r-1")
    assert {"label", "scores", "items", "text"} <= set(dir(result))


def test_an_unknown_name_gets_the_known_ones(result: Result) -> None:
    said = r"no output 'lable'; the answer has 'label', 'scores'; did you mean 'label'\?"
    with pytest.raises(AttributeError, match=said):
        result.lable  # noqa: B018
    with pytest.raises(KeyError, match=said):
        result["lable"]
    assert not hasattr(result, "other")
    assert result.get("other") is None


def test_methods_of_dictionaries_win_over_outputs() -> None:
    result = Result({"values": SCORES})
    assert list(result.values()) == [SCORES]
    assert result["values"] is SCORES


def test_text(result: Result) -> None:
    strings = result.strings("label")
    assert strings.tolist() == [["good"], ["grün"]]
    assert Result({"a": LABELS[1:]}).text("a") == "grün"
    assert Result({"a": np.empty((0, 1), object)}).strings("a").shape == (0, 1)
    for call, said in (
        (lambda: result.text("label"), "holds 2 texts"),
        (lambda: result.strings("scores"), "is FP32 and not BYTES"),
        (lambda: Result({"a": np.array([b"\xff"], object)}).text("a"), "no text in UTF-8"),
    ):
        with pytest.raises(ClientError, match=said):
            call()
    with pytest.raises(KeyError):
        result.strings("lable")


@given(
    outputs=st.dictionaries(
        st.text(max_size=4),
        hnp.arrays(
            st.sampled_from([np.float32, np.int64, np.bool_, np.float16]),
            hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=3),
        ),
        max_size=3,
    ),
    version=st.text(max_size=2),
)
def test_copies_are_equal_and_nothing_raises(outputs: dict[str, np.ndarray], version: str) -> None:
    result = Result(outputs, version)
    for twin in (pickle.loads(pickle.dumps(result)), copy.copy(result), copy.deepcopy(result)):
        assert type(twin) is Result
        assert twin == result
        assert twin.model_version == version
    assert result == {name: array.copy() for name, array in outputs.items()}


def test_differences_are_seen(result: Result) -> None:
    for other in (
        {},
        {"label": LABELS},
        {"label": LABELS, "scores": SCORES.astype(np.float64)},
        {"label": LABELS, "scores": SCORES[:1]},
        {"label": LABELS, "scores": np.zeros_like(SCORES)},
        {"label": LABELS[::-1], "scores": SCORES},
        [],
    ):
        assert result != other
        assert not (result == other)  # noqa: SIM201 (two methods)


def test_what_it_shows_is_short() -> None:
    result = Result(
        {
            "label": LABELS,
            "scores": np.linspace(0, 1, 10**6, dtype=np.float32).reshape(1000, -1),
            "image": np.array([b"\x89PNG" + bytes(10**6)], object),
            "none": np.empty((0, 4), np.int64),
        }
        | {f"more{n}": np.zeros(3) for n in range(100)},
        "3",
        "r-1",
    )
    lines = repr(result).splitlines()
    assert lines[:3] == [
        "Result of version 3 to request 'r-1':",
        "  label: BYTES [2, 1] b'good', b'gr\\xc3\\xbcn'",
        "  scores: FP32 [1000, 1000] 0, 1e-06, 2e-06, 3e-06, …",
    ]
    assert lines[3].endswith("(1000004 bytes)")
    assert lines[4] == "  none: INT64 [0, 4]"
    assert lines[-1] == "  … 84 more"
    assert max(map(len, lines)) < 350
    assert repr(Result()) == "Result:\n  no outputs"

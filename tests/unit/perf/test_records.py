"""Reading what perf_analyzer wrote down, written here as it writes it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelport.errors import LoadTestError
from modelport.perf import records
from modelport.perf.questions import Question, Questions
from modelport.spec.parts import Tolerance

S = 1_000_000_000
ORIGIN = 1_795_427_826 * S


def asked(*questions: Question) -> Questions:
    return Questions("m", 1, "single", True, [questions], (), Tolerance(1e-6, 1e-6))


def texts(*items: bytes) -> np.ndarray:
    return np.array([items], object)


def tensor(array: np.ndarray) -> Any:
    """Write a tensor as the file has it: its bytes as characters, the first length left out."""
    if array.dtype == object:
        joined = b"".join(len(item).to_bytes(4, "little") + item for item in array.flat)
        return joined[4:].decode("latin-1")
    values = np.ravel(array).tolist()
    return values[0] if len(values) == 1 else values


def request(
    start_s: float, ends_s: list[float], inputs: dict[str, Any], outputs: list[dict[str, Any]]
) -> dict[str, Any]:
    return {
        "timestamp": ORIGIN + round(start_s * S),
        "request_inputs": inputs,
        "response_timestamps": [ORIGIN + round(end * S) for end in ends_s],
        "response_outputs": outputs,
    }


def write(path: Path, requests: list[dict[str, Any]], windows_s: tuple[float, ...]) -> Path:
    document = {
        "experiments": [
            {
                "experiment": {"mode": "concurrency", "value": 4},
                "requests": requests,
                "window_boundaries": [ORIGIN + round(one * S) for one in windows_s],
            }
        ],
        "version": "2.51.0",
    }
    text = json.dumps(document, separators=(",", ":"), ensure_ascii=False)
    path.write_bytes(text.encode("latin-1"))
    return path


ANY = st.binary(max_size=40) | st.sampled_from(
    [b'"},{"timestamp":1', b'","response_outputs":[', b'\\","response_timestamps":[1],', b"}]}"]
)


@given(items=st.lists(ANY, min_size=1, max_size=4), answer=st.lists(ANY, min_size=1, max_size=3))
def test_any_bytes_are_told_apart(
    items: list[bytes], answer: list[bytes], tmp_path_factory: pytest.TempPathFactory
) -> None:
    question = Question({"t": texts(*items)[0]}, {"a": texts(*answer)})
    other = texts(*answer[:-1], answer[-1] + b"!")
    inputs = {"t": tensor(texts(*items))}
    path = tmp_path_factory.mktemp("records") / "records.json"
    rows = [
        request(0.0, [0.5], inputs, [{"a": tensor(texts(*answer))}]),
        request(0.1, [0.4], inputs, [{"a": tensor(other)}]),
        request(0.2, [0.9], inputs, [{"a": tensor(texts(*answer))}]),
    ]
    found = records.read(write(path, rows, (0.0, 1.0)), asked(question))
    assert found.checked == 3
    assert len(found.wrong) == 1
    assert found.latencies_ms == pytest.approx([500, 300, 700], abs=1e-3)
    assert found.took_s == pytest.approx(1.0)


X, Y = np.float32([0.1, -3]), np.float32([[0.5, 1e-9]])


@pytest.mark.parametrize(
    ("outputs", "words"),
    [
        ([{"y": [0.5, 1e-9]}], ""),
        ([{"y": [0.5, 0.1]}], "y[0, 1]: 0.1, expected 1e-09"),
        ([{"y": [0.5]}], "1 elements, expected 2"),
        ([{"y": ""}], "0 elements, expected 2"),
        ([{"z": [0.5, 0.1]}], "y: missing, the answer has z"),
        ([], "an empty reply"),
    ],
    ids=["right", "wrong", "short", "without bytes", "another", "empty"],
)
def test_what_is_wrong_with_numbers(
    outputs: list[dict[str, Any]], words: str, tmp_path: Path
) -> None:
    rows = [request(0, [0.1], {"x": X.tolist()}, outputs)]
    found = records.read(write(tmp_path / "r", rows, (0, 1)), asked(Question({"x": X}, {"y": Y})))
    assert len(found.wrong) == (1 if words else 0)
    assert words in "".join(found.wrong)


def test_a_reply_to_what_nobody_asked_is_wrong(tmp_path: Path) -> None:
    rows = [request(0, [0.1], {"x": [9.0, 9.0]}, [{"y": Y.ravel().tolist()}])]
    found = records.read(write(tmp_path / "r", rows, (0, 1)), asked(Question({"x": X}, {"y": Y})))
    assert found.wrong == ("a reply to a request that was not asked",)


def test_steps_that_look_alike_have_answers_of_their_own(tmp_path: Path) -> None:
    questions = asked(Question({"x": X}, {"y": Y}), Question({"x": X}, {"y": Y + 1}))
    rows = [
        request(i, [i + 0.1], {"x": X.tolist()}, [{"y": (Y + more).ravel().tolist()}])
        for i, more in enumerate((0, 1, 2))
    ]
    assert len(records.read(write(tmp_path / "r", rows, (0, 3)), questions).wrong) == 1


@pytest.mark.parametrize("last", [[], [{"w": ""}]], ids=["plain", "empty last response"])
def test_a_stream_is_its_responses(last: list[dict[str, str]], tmp_path: Path) -> None:
    words = np.array([[b"two"], [b""], [b"words"]], object)
    question = Question({"x": X}, {"w": words})
    responses = [{"w": "two"}, {"w": ""}, {"w": "words"}, *last]
    swapped = [responses[2], *responses[1:2], responses[0], *last]
    rows = [
        request(0, [0.1, 0.2, 0.6], {"x": X.tolist()}, responses),
        request(1, [1.2, 1.3], {"x": X.tolist()}, swapped),
        request(2, [2.1], {"x": X.tolist()}, responses[:2]),
    ]
    found = records.read(write(tmp_path / "r", rows, (0, 3)), asked(question))
    assert found.first_ms == pytest.approx([100, 200, 100], abs=1e-3)
    assert found.latencies_ms == pytest.approx([600, 300, 100], abs=1e-3)
    assert len(found.wrong) == 2


@given(
    intervals=st.lists(st.floats(0, 0.2), min_size=2, max_size=30),
    late=st.lists(st.floats(0, 1), min_size=30, max_size=30),
)
def test_latency_counts_from_the_schedule(
    intervals: list[float], late: list[float], tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Who is sent late has waited already; nobody was sent too early."""
    wanted = np.cumsum(intervals)
    late[0] = 0.0  # somebody was in time, from which the begin is known
    sent = wanted + np.array(late[: len(wanted)])
    rows = [
        request(s + 5, [s + 5.01], {"x": X.tolist()}, [{"y": Y.ravel().tolist()}]) for s in sent
    ]
    path = tmp_path_factory.mktemp("records") / "records.json"
    found = records.read(
        write(path, rows, (5, 8)), asked(Question({"x": X}, {"y": Y})), schedule_s=wanted
    )
    assert found.late_ms.min() == pytest.approx(0, abs=1e-3)
    assert (found.latencies_ms >= 10 - 1e-3).all()
    # Together they waited as long as they were late, whoever is matched with whom.
    extra = (sent - wanted).sum() * 1e3
    assert found.late_ms.sum() == pytest.approx(extra - len(sent) * _shift(sent, wanted), abs=0.1)


def _shift(sent: np.ndarray, wanted: np.ndarray) -> float:
    return float((np.sort(sent) - wanted).min()) * 1e3


def test_integers_of_64_bits_are_not_rounded(tmp_path: Path) -> None:
    x, y = np.array([2**60 + 1]), np.array([[2**60 + 1]])
    rows = [
        request(i, [i + 0.1], {"x": 2**60 + 1}, [{"y": 2**60 + more}])
        for i, more in enumerate((1, 0))
    ]
    found = records.read(write(tmp_path / "r", rows, (0, 2)), asked(Question({"x": x}, {"y": y})))
    assert len(found.wrong) == 1
    other = asked(Question({"x": x - 1}, {"y": y}))
    assert len(records.read(write(tmp_path / "r", rows, (0, 2)), other).wrong) == 2


def test_requests_without_a_reply_are_counted(tmp_path: Path) -> None:
    rows = [request(0, [0.1], {"x": X.tolist()}, [{"y": Y.ravel().tolist()}])]
    path = write(tmp_path / "r", rows, (0, 1))
    found = records.read(path, asked(Question({"x": X}, {"y": Y})), np.array([0.0, 0.5, 0.7]))
    assert found.lost == 2


def test_a_quiet_end_of_a_schedule_counts(tmp_path: Path) -> None:
    """Two requests a second for two seconds are that, whenever they come."""
    rows = [
        request(when, [when + 0.1], {"x": X.tolist()}, [{"y": Y.ravel().tolist()}])
        for when in (0.3, 0.4, 0.5, 0.6)
    ]
    path = write(tmp_path / "r", rows, (0.2, 0.8))
    schedule = np.array([0.3, 0.4, 0.5, 0.6])
    found = records.read(path, asked(Question({"x": X}, {"y": Y})), schedule, 2.0)
    assert found.took_s == pytest.approx(2.0)
    assert found.replies_per_s == pytest.approx(2.0)


def test_a_file_that_ends_early_is_told(tmp_path: Path) -> None:
    rows = [request(0, [0.1], {"x": X.tolist()}, [{"y": Y.ravel().tolist()}])] * 2
    path = write(tmp_path / "r", rows, (0, 1))
    path.write_bytes(path.read_bytes().partition(b'],"window')[0])
    with pytest.raises(LoadTestError, match="end after 1 request") as caught:
        records.read(path, asked(Question({"x": X}, {"y": Y})))
    assert "NaN" in str(caught.value)


def test_no_request_is_no_measurement(tmp_path: Path) -> None:
    with pytest.raises(LoadTestError, match="wrote down no request"):
        records.read(write(tmp_path / "r", [], (0, 1)), asked(Question({"x": X}, {"y": Y})))

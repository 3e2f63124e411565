"""States of sequences by themselves, and what an execution does with requests of many."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelport.serving.python_model import BadItemError
from modelport.serving.sequences import SequenceModel, States, TooManyError


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def states(clock: Clock) -> States:
    return States(limit=3, idle_s=10, clock=clock)


def test_a_sequence_starts_with_nothing_and_goes_on_with_what_it_left(states: States) -> None:
    assert states.enter(7, start=True) is None
    states.leave(7, "first", end=False)
    assert states.enter(7, start=False) == "first"
    assert states.enter(7, start=True) is None


def test_a_sequence_that_ended_is_not_known(states: States) -> None:
    states.leave("device", 1, end=False)
    states.leave("device", 2, end=True)
    assert len(states) == 0
    with pytest.raises(BadItemError, match="begin again with sequence_start"):
        states.enter("device", start=False)


def test_only_silent_sequences_are_forgotten(states: States, clock: Clock) -> None:
    states.leave(1, "a", end=False)
    states.leave(2, "b", end=False)
    clock.now = 6
    states.leave(1, "a", end=False)
    clock.now = 11
    states.forget_idle()
    assert len(states) == 1
    assert states.enter(1, start=False) == "a"


def test_one_more_than_the_limit_is_refused_and_a_known_one_may_restart(states: States) -> None:
    for sequence in (1, 2, 3):
        states.leave(sequence, sequence, end=False)
    with pytest.raises(TooManyError, match="3 sequences"):
        states.enter(4, start=True)
    assert states.enter(2, start=True) is None


# --- executions ------------------------------------------------------------------


@dataclass
class Array:
    """As Triton hands over a tensor."""

    label: str
    values: np.ndarray

    def name(self) -> str:
        return self.label

    def as_numpy(self) -> np.ndarray:
        return self.values


@dataclass
class Request:
    """As Triton hands over a request."""

    sequence: int
    values: Sequence[float]
    start: bool = False
    end: bool = False
    wanted: tuple[str, ...] = ("total",)

    def inputs(self) -> list[Array]:
        return [Array("x", np.array([self.values], np.float32))]

    def correlation_id(self) -> int:
        return self.sequence

    def flags(self) -> int:
        return self.start + 2 * self.end

    def requested_output_names(self) -> tuple[str, ...]:
        return self.wanted


@dataclass
class Response:
    output_tensors: list[Array] = field(default_factory=list)
    error: Any = None


@pytest.fixture(autouse=True)
def triton(monkeypatch: pytest.MonkeyPatch) -> None:
    """The module that exists only inside a stub; the server tests run on the real one."""

    class TritonError(Exception):
        INVALID_ARG, UNAVAILABLE, INTERNAL = "invalid", "unavailable", "internal"

        def __init__(self, text: str, code: str) -> None:
            super().__init__(text)
            self.code = code

    def response(output_tensors: Any = (), error: Any = None) -> Response:
        return Response(list(output_tensors), error)

    module = SimpleNamespace(TritonError=TritonError, Tensor=Array, InferenceResponse=response)
    monkeypatch.setitem(sys.modules, "triton_python_backend_utils", module)


def running_totals(calls: list[int] | None = None) -> Any:
    def step(states: Sequence[Any], inputs: Any) -> Any:
        if calls is not None:
            calls.append(len(states))
        if (inputs["x"] == 99).any():
            raise ZeroDivisionError
        before = np.array([state or 0.0 for state in states])[:, None]
        totals = before + np.cumsum(inputs["x"], axis=1)
        return [float(row[-1]) for row in totals], {"total": totals}

    return step


def positive(inputs: Any) -> None:
    if (inputs["x"] < 0).any():
        raise BadItemError("negative", item=0)


def totals(response: Response) -> list[float]:
    assert response.error is None
    (tensor,) = response.output_tensors
    return [float(value) for value in tensor.values[0]]


def test_sequences_of_one_execution_advance_in_one_call(states: States) -> None:
    calls: list[int] = []
    model = SequenceModel(running_totals(calls), positive, states)
    first = [Request(i, [i, 1], start=True) for i in (1, 2, 3)]
    assert [totals(r) for r in model.answer(first)] == [[1, 2], [2, 3], [3, 4]]
    mixed = [Request(3, [5]), Request(1, [7, 8]), Request(2, [6])]
    assert [totals(r) for r in model.answer(mixed)] == [[9], [9, 17], [9]]
    assert calls == [3, 2, 1]


def test_a_bad_request_leaves_its_sequence_and_the_others_as_they_were(states: States) -> None:
    model = SequenceModel(running_totals(), positive, states)
    model.answer([Request(1, [5], start=True), Request(2, [6], start=True)])
    bad, good, unknown = model.answer([Request(1, [-1]), Request(2, [1]), Request(9, [1])])
    assert (bad.error.code, str(bad.error)) == ("invalid", "item 0: negative")
    assert totals(good) == [7]
    assert unknown.error.code == "invalid"
    assert totals(model.answer([Request(1, [1])])[0]) == [6]


def test_a_bad_last_request_still_ends_its_sequence(states: States) -> None:
    model = SequenceModel(running_totals(), positive, states)
    model.answer([Request(1, [5], start=True)])
    assert model.answer([Request(1, [-1], end=True)])[0].error is not None
    assert len(states) == 0


def test_a_failing_step_is_reported_without_the_users_data(states: States) -> None:
    model = SequenceModel(running_totals(), positive, states)
    (failed,) = model.answer([Request(1, [99], start=True)])
    assert (failed.error.code, str(failed.error)) == (
        "internal",
        "ZeroDivisionError in the model's code",
    )
    assert len(states) == 0


def test_too_many_sequences_are_unavailable(states: States) -> None:
    model = SequenceModel(running_totals(), positive, states)
    answers = model.answer([Request(i, [1], start=True, end=i == 1) for i in range(1, 4)])
    assert all(answer.error is None for answer in answers)
    answers = [model.answer([Request(i, [1], start=True)])[0] for i in (4, 5)]
    assert answers[0].error is None
    assert answers[1].error.code == "unavailable"


@given(
    st.lists(st.lists(st.integers(0, 9), min_size=1, max_size=6), min_size=1, max_size=5),
    st.randoms(use_true_random=False),
)
def test_interleaved_sequences_get_what_each_gets_alone(
    sequences: list[list[int]], random: Any
) -> None:
    model = SequenceModel(running_totals(), positive, States(limit=10, idle_s=10))
    got: list[list[float]] = [[] for _ in sequences]
    turns = [i for i, values in enumerate(sequences) for _ in values]
    random.shuffle(turns)
    for i in turns:
        at = len(got[i])
        last = at == len(sequences[i]) - 1
        request = Request(i, [sequences[i][at]], start=at == 0, end=last)
        got[i] += totals(model.answer([request])[0])
    assert got == [np.cumsum(values).tolist() for values in sequences]
    assert len(model._states) == 0

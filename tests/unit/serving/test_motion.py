"""The state that goes from one call of the network to the next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from modelport.serving.motion import Recognizer

RECOGNIZER = Recognizer(("still", "moving"), "summing", units=1)


def summing(name: str, inputs: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
    """A network whose scores depend on all frames so far."""
    assert name == "summing"
    sums = inputs["h"] + np.cumsum(np.abs(inputs["frames"]).sum(-1), axis=1)
    moving = np.tanh(sums / 10)
    scores = np.stack([1 - moving, moving], -1).astype(np.float32)
    return {"scores": scores, "h_next": sums[:, -1:], "c_next": inputs["c"]}


@given(st.lists(st.integers(0, 5), min_size=1, max_size=6))
def test_a_sequence_cut_anywhere_is_answered_as_the_whole(lengths: list[int]) -> None:
    frames = np.random.default_rng(0).normal(size=(1, sum(lengths), 6)).astype(np.float32)
    whole = RECOGNIZER.whole({"frames": frames}, summing)
    state: Any = None
    parts = []
    for part in np.split(frames, np.cumsum(lengths)[:-1], axis=1):
        (state,), outputs = RECOGNIZER.advance([state], {"frames": part}, summing)
        parts.append(outputs)
    for name, expected in whole.items():
        joined = np.concatenate([part[name] for part in parts], axis=1)
        if name == "label":
            assert joined.tolist() == expected.tolist()
        else:
            np.testing.assert_allclose(joined, expected, rtol=1e-5, atol=1e-6)


def test_kept_states_hold_no_array_of_their_neighbours() -> None:
    frames = np.ones((5, 2, 6), np.float32)
    states, _ = RECOGNIZER.advance([None] * 5, {"frames": frames}, summing)
    assert all(array.base is None for state in states for array in state)


def test_a_whole_sequence_is_answered_in_the_cut_that_it_came_in() -> None:
    frames = np.ones((3, 2, 6), np.float32)
    answer = RECOGNIZER.whole({"frames": frames}, summing)
    assert answer["label"].shape == (3, 2)
    assert answer["scores"].shape == (3, 2, 2)
    assert answer["scores"][..., 1].ravel().tolist() == sorted(answer["scores"][..., 1].ravel())

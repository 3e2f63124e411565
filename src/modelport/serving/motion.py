"""What a body is doing, from the frames of a worn sensor: an LSTM whose state is kept outside.

The network is a model of its own (``activity_lstm``); these functions carry the state from one
request to the next, in a builder's reference and in the server alike.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from modelport.serving.python_model import BadItemError

Arrays = Mapping[str, np.ndarray]
Call = Callable[[str, Arrays], Arrays]

# At 10 frames a second a request holds at most 100 s: nobody's frames wait for one that has more.
MOST_FRAMES = 1000


def check(inputs: Arrays) -> None:
    """Refuse frames that no sensor gives.

    Args:
        inputs: ``frames`` float32[1, frames, axes].

    Raises:
        BadItemError: a value is NaN or infinite, or there are too many frames.
    """
    frames = inputs["frames"]
    if frames.shape[1] > MOST_FRAMES:
        raise BadItemError(
            f"{frames.shape[1]} frames in one request; at most {MOST_FRAMES}: send the sequence"
            " in several requests",
            item=0,
        )
    bad = np.argwhere(~np.isfinite(frames))
    if len(bad):
        raise BadItemError(
            f"frame {bad[0][1]}, axis {bad[0][2]}: not a finite number",
            item=int(bad[0][0]),
        )


@dataclass(frozen=True)
class Recognizer:
    """Names the activity at every frame.

    Args:
        labels: names of the activities, in the order of the scores.
        network: the model that advances, from ``frames`` [batch, frames, axes] and a state
            ``h``, ``c`` [batch, units] to ``scores`` [batch, frames, activities], ``h_next``
            and ``c_next``.
        units: size of the state.
    """

    labels: Sequence[str]
    network: str
    units: int

    def advance(
        self, states: Sequence[Any], inputs: Arrays, call: Call
    ) -> tuple[Sequence[Any], Arrays]:
        """Answer the next frames of several sequences with one call of the network.

        Args:
            states: ``(h, c)`` of each sequence, ``None`` for one that starts.
            inputs: ``frames`` float32[sequences, frames, axes]; there may be none.
            call: runs a model.

        Returns:
            New states, and ``label`` bytes[sequences, frames], ``probability`` float32 of the
            same shape, ``scores`` float32[sequences, frames, activities].
        """
        frames = inputs["frames"]
        none = np.zeros(self.units, np.float32)
        before = [state or (none, none) for state in states]
        if not frames.shape[1]:
            return before, self._named(np.zeros((len(frames), 0, len(self.labels)), np.float32))
        h, c = (np.stack([state[i] for state in before]) for i in (0, 1))
        answer = call(self.network, {"frames": frames, "h": h, "c": c})
        # Copies: a row that is kept for long would keep the arrays of all its neighbours.
        pairs = zip(answer["h_next"], answer["c_next"], strict=True)
        return [(h.copy(), c.copy()) for h, c in pairs], self._named(answer["scores"])

    def whole(self, inputs: Arrays, call: Call) -> Arrays:
        """Answer a whole sequence at once, whatever requests it is cut into.

        Args:
            inputs: ``frames`` float32[requests, frames, axes], the frames in order.
            call: runs a model.

        Returns:
            The outputs of :meth:`advance`, cut as the frames are.
        """
        frames = inputs["frames"]
        _, outputs = self.advance([None], {"frames": frames.reshape(1, -1, frames.shape[-1])}, call)
        return {name: a.reshape(*frames.shape[:2], *a.shape[2:]) for name, a in outputs.items()}

    def _named(self, scores: np.ndarray) -> dict[str, np.ndarray]:
        names = np.array([label.encode() for label in self.labels], dtype=np.object_)
        return {
            "label": names[scores.argmax(axis=-1)],
            "probability": scores.max(axis=-1),
            "scores": scores,
        }

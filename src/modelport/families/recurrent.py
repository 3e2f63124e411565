"""Networks that answer at each frame and whose state outlives a request: what goes around them.

The other side of :mod:`modelport.serving.motion`, which calls what is declared here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from modelport.build import evaluation
from modelport.spec.parts import Tensor

# ``h`` and ``c`` of an LSTM of one layer, float32[1, batch, units]; ``None`` at the beginning.
State: TypeAlias = tuple[torch.Tensor, torch.Tensor] | None


class Resumable(nn.Module, ABC):
    """A network over frames that can go on from a state; a subclass says how.

    Training sees the logits of whole recordings, from no state on: float32[batch, frames,
    axes] to float32[batch, frames, classes]. :class:`Advance` is what is served of it.
    """

    @abstractmethod
    def advance(self, frames: torch.Tensor, state: State = None) -> tuple[torch.Tensor, State]:
        """Give logits of some frames, and the state after them.

        Args:
            frames: float32[batch, frames, axes].
            state: after the frames before.
        """

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        """Give logits of whole recordings."""
        return self.advance(frames)[0]


class Advance(nn.Module):
    """Part of a network that is served: probabilities of some frames, and the state after them.

    Takes frames float32[batch, frames, axes], ``h`` and ``c`` float32[batch, units]; gives
    scores float32[batch, frames, classes] and the next ``h`` and ``c``.
    """

    def __init__(self, network: Resumable) -> None:
        super().__init__()
        self.network = network

    def forward(
        self, frames: torch.Tensor, h: torch.Tensor, c: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Advance by the frames."""
        logits, state = self.network.advance(frames, (h.unsqueeze(0), c.unsqueeze(0)))
        assert state is not None
        h, c = state
        return functional.softmax(logits, -1), h.squeeze(0), c.squeeze(0)


def state(units: int) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Declare the state that :class:`Advance` takes, and that it gives.

    Args:
        units: of the network's one layer.
    """
    names = ("h", "c")
    before = tuple(Tensor(name, "FP32", (units,)) for name in names)
    return before, tuple(Tensor(f"{name}_next", "FP32", (units,)) for name in names)


def answer(scores: Tensor, *, label: str) -> tuple[Tensor, ...]:
    """Declare what :class:`modelport.serving.motion.Recognizer` answers.

    Args:
        scores: of each frame, FP32 [-1, classes], as the network gives them.
        label: what the label says at a frame, for people.
    """
    return (
        Tensor("label", "BYTES", (-1,), doc=label),
        Tensor("probability", "FP32", (-1,), doc="of the label, 0 to 1"),
        scores,
    )


def every_frame(
    *, label_smoothing: float = 0.0
) -> Callable[[torch.Tensor, torch.Tensor], torch.Tensor]:
    """Make a loss: cross entropy at each frame. The answer must be right early, and stay so.

    Args:
        label_smoothing: share of a target that is spread over all classes.

    Returns:
        A function of logits float32[batch, frames, classes] and targets int64[batch].
    """

    def loss(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        wanted = targets.repeat_interleave(logits.shape[1])
        return functional.cross_entropy(
            logits.flatten(0, 1), wanted, label_smoothing=label_smoothing
        )

    return loss


def at_the_end(
    *, rate_hz: float, earlier_s: Sequence[float]
) -> Callable[[np.ndarray, np.ndarray], dict[str, float]]:
    """Measure the last answer of each recording, and how often it was right before.

    Args:
        rate_hz: frames in a second.
        earlier_s: seconds after which the answer is looked at, too.

    Returns:
        A function of logits float32[recordings, frames, classes] and targets
        int64[recordings] that gives the figures of
        :func:`modelport.build.evaluation.classification` and ``accuracy_at_<seconds>_s``.
    """

    def figures(logits: np.ndarray, targets: np.ndarray) -> dict[str, float]:
        right = logits.argmax(-1) == targets[:, None]
        earlier = {
            f"accuracy_at_{s:g}_s": float(right[:, round(s * rate_hz) - 1].mean())
            for s in earlier_s
        }
        return evaluation.classification(logits[:, -1], targets) | earlier

    return figures

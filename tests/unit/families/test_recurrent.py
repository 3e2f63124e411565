"""Networks that answer at each frame: their state, their loss, their figures."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from modelport.families import recurrent
from modelport.families.recurrent import State
from modelport.serving.motion import Recognizer
from modelport.spec import Tensor

UNITS, LABELS = 5, ("still", "moving", "flying")


class Network(recurrent.Resumable):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(3, UNITS, batch_first=True)
        self.head = nn.Linear(UNITS, len(LABELS))

    def advance(self, frames: torch.Tensor, state: State = None) -> tuple[torch.Tensor, State]:
        hidden, state = self.lstm(frames, state)
        return self.head(hidden), state


def test_parts_are_answered_as_the_whole() -> None:
    torch.manual_seed(0)
    network = Network().eval()
    part, frames = recurrent.Advance(network), torch.randn(2, 9, 3)
    h = c = torch.zeros(2, UNITS)
    found = []
    with torch.no_grad():
        for some in torch.split(frames, 4, dim=1):
            scores, h, c = part(some, h, c)
            found.append(scores)
        expected = network(frames).softmax(-1)
    torch.testing.assert_close(torch.cat(found, 1), expected)


def test_what_is_declared_is_what_the_recognizer_calls_and_gives() -> None:
    before, after = recurrent.state(UNITS)
    scores = Tensor("scores", "FP32", (-1, len(LABELS)), labels=LABELS)
    declared = recurrent.answer(scores, label="what it does")
    part = recurrent.Advance(Network().eval())

    def call(_: str, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        assert list(inputs) == ["frames", *(tensor.name for tensor in before)]
        with torch.no_grad():
            outputs = part(*map(torch.from_numpy, inputs.values()))
        names = [scores.name, *(tensor.name for tensor in after)]
        return {name: tensor.numpy() for name, tensor in zip(names, outputs, strict=True)}

    frames = {"frames": np.zeros((1, 4, 3), np.float32)}
    (state,), given = Recognizer(LABELS, "network", UNITS).advance([None], frames, call)
    assert [array.shape for array in state] == [tensor.dims for tensor in after]
    for tensor in declared:
        assert given[tensor.name].shape == (1, 4, *tensor.dims[1:])


def test_each_frame_counts_in_the_loss() -> None:
    torch.manual_seed(0)
    logits, targets = torch.randn(2, 5, 3), torch.tensor([2, 0])
    single = nn.CrossEntropyLoss(label_smoothing=0.1)
    expected = torch.stack([single(logits[:, i], targets) for i in range(5)]).mean()
    loss = recurrent.every_frame(label_smoothing=0.1)(logits, targets)
    torch.testing.assert_close(loss, expected)


def test_figures_are_those_of_the_end_and_of_earlier() -> None:
    """Of 4 recordings, each is right from another frame on; 2 frames are a second."""
    targets = np.array([0, 1, 0, 1])
    right_from = np.array([0, 2, 4, 99])
    right = np.arange(6) >= right_from[:, None]
    told = np.where(right, targets[:, None], 1 - targets[:, None])
    figures = recurrent.at_the_end(rate_hz=2, earlier_s=(0.5, 2, 2.5))(np.eye(2)[told], targets)
    assert figures["accuracy"] == 0.75
    assert figures["accuracy_at_0.5_s"] == 0.25
    assert figures["accuracy_at_2_s"] == 0.5
    assert figures["accuracy_at_2.5_s"] == 0.75

"""Activities from a worn sensor, frame by frame: an LSTM whose state outlives each request."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from modelport.build import Dataset, Split, evaluation
from modelport.errors import DataError
from modelport.serving import motion
from modelport.spec import (
    Gate,
    ModelSequenceBatching,
    PythonModel,
    Sample,
    Serving,
    Source,
    StrategyOldest,
    Tensor,
    Tolerance,
    TorchModel,
    Training,
)

ACTIVITIES = ("Badminton", "Running", "Standing", "Walking")
UNITS = 32
TEST = "BasicMotions_TEST.ts"
TRAIN = "BasicMotions_TRAIN.ts"

BASIC_MOTIONS = Source(
    package="aeon",
    version="1.6.0",
    sha256="d05227086706f80111ac5fee8de4d5d3115bb3bcfd1c786c8629393055816409",
    member="aeon/datasets/data/BasicMotions",
    licence="not stated (BasicMotions, UEA archive, Bagnall et al. 2018, arXiv:1811.00075);"
    " packaged by aeon, BSD-3-Clause",
)


class Network(nn.Module):
    """LSTM over frames float32[batch, time, 6]; logits float32[batch, time, 4]."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(6, UNITS, batch_first=True)
        self.dropout = nn.Dropout(0.2)
        self.head = nn.Linear(UNITS, len(ACTIVITIES))

    def forward(self, frames: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.head(self.dropout(self.lstm(squeezed(frames))[0]))
        return logits


class Advance(nn.Module):
    """The same from any state on: also takes and gives ``h`` and ``c`` float32[batch, units]."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, frames: torch.Tensor, h: torch.Tensor, c: torch.Tensor) -> Any:
        hidden, (h, c) = self.network.lstm(squeezed(frames), (h.unsqueeze(0), c.unsqueeze(0)))
        scores = functional.softmax(self.network.head(hidden), -1)
        return scores, h.squeeze(0), c.squeeze(0)


def squeezed(frames: torch.Tensor) -> torch.Tensor:
    """Bring strokes of ±40 and tremors of ±0.1 to one scale: the inverse hyperbolic sine."""
    return torch.asinh(frames)


def every_frame(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Cross entropy at each frame: the answer must be right early, and stay so."""
    wanted = targets.repeat_interleave(logits.shape[1])
    return functional.cross_entropy(logits.flatten(0, 1), wanted, label_smoothing=0.05)


def worn_otherwise(frames: torch.Tensor) -> torch.Tensor:
    """Turn, amplify and disturb each recording, and let it begin up to 3 s later."""
    count, late = len(frames), 30
    turn, _ = torch.linalg.qr(torch.eye(3) + 0.1 * torch.randn(count, 3, 3))
    turn = turn * torch.sign(torch.diagonal(turn, dim1=1, dim2=2))[:, None]
    turned = torch.cat([frames[..., :3] @ turn, frames[..., 3:] @ turn], -1)
    louder = turned * torch.exp(0.2 * torch.randn(count, 1, 6))
    start = torch.randint(0, late + 1, (count, 1)) + torch.arange(frames.shape[1] - late)
    noisy = louder + 0.1 * torch.randn_like(louder)
    return torch.gather(noisy, 1, start[..., None].expand(-1, -1, 6))


def recordings(path: Path) -> Split:
    """Read one ``.ts`` file: frames float32[recordings, 100, 6]; axes stand one after another."""
    lines = path.read_text(encoding="utf-8").partition("@data\n")[2].splitlines()
    fields = [line.strip().split(":") for line in lines if line.strip()]
    shapes = {(len(axes) - 1, *{axis.count(",") + 1 for axis in axes[:-1]}) for axes in fields}
    if shapes != {(6, 100)} or any(axes[-1] not in ACTIVITIES for axes in fields):
        raise DataError(
            f"{path}: expected, after a line @data, lines of 6 axes of 100 values and one of"
            f" {', '.join(ACTIVITIES)}, separated by colons",
            next_step="write the recordings as the UEA archive's BasicMotions does",
            path=path,
        )
    values = [[np.array(axis.split(","), np.float32) for axis in axes[:-1]] for axes in fields]
    targets = [ACTIVITIES.index(axes[-1]) for axes in fields]
    return Split({"frames": np.stack(values).swapaxes(1, 2).copy()}, np.array(targets, np.int64))


def dataset(folder: Path) -> Dataset:
    """Keep the archive's own test half; of the other, one in five ends the training."""
    known, test = recordings(folder / TRAIN), recordings(folder / TEST)
    fifth = np.arange(len(known)) % 5 == 4  # two of each activity: they stand in order
    return Dataset(_chosen(known, ~fifth), _chosen(known, fifth), test)


def _chosen(split: Split, rows: np.ndarray) -> Split:
    return Split({name: a[rows] for name, a in split.inputs.items()}, split.targets[rows])


def at_the_end(logits: np.ndarray, targets: np.ndarray) -> dict[str, float]:
    """Measure the last answer of each recording, and how often it was right before."""
    right = logits.argmax(-1) == targets[:, None]
    earlier = {f"accuracy_at_{n / 10:g}_s": right[:, n - 1].mean() for n in (10, 25, 50)}
    return evaluation.classification(logits[:, -1], targets) | earlier


def logistic(data: Dataset) -> dict[str, float]:
    """Logistic regression on the mean and deviation of each axis over the whole recording."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    def features(split: Split) -> np.ndarray:
        frames = split.inputs["frames"]
        return np.concatenate([frames.mean(axis=1), frames.std(axis=1)], axis=1)

    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    known = np.concatenate([features(data.train), features(data.validation)])
    model.fit(known, np.concatenate([data.train.targets, data.validation.targets]))
    return evaluation.classification(model.predict_proba(features(data.test)), data.test.targets)


def questions(folder: Path) -> Sequence[Sample]:
    """Take a recording of each activity, each cut into requests of another number of frames."""
    test = recordings(folder / TEST)
    made = []
    for number, (activity, frames_each) in enumerate(zip(ACTIVITIES, (1, 10, 25, 7), strict=True)):
        frames = test.inputs["frames"][test.targets == number][0]
        cut = frames[: len(frames) // frames_each * frames_each].reshape(-1, frames_each, 6)
        title = f"10 s of {activity.lower()}, {frames_each} frames at once"
        made.append(Sample({"frames": cut}, title=title if number == 1 else ""))
    return made


FRAMES = Tensor(
    "frames", "FP32", (-1, 6), doc="10 a second: acceleration x, y, z; angular velocity x, y, z"
)
SCORES = Tensor("scores", "FP32", (-1, 4), labels=ACTIVITIES, doc="probability of each activity")
STATE = tuple(Tensor(name, "FP32", (UNITS,)) for name in ("h", "c"))

models = (
    TorchModel(
        name="activity_lstm",
        doc="LSTM that advances by some frames from a given state.",
        inputs=(FRAMES, *STATE),
        outputs=(SCORES, *(Tensor(f"{state.name}_next", "FP32", (UNITS,)) for state in STATE)),
        max_batch_size=256,
        network=Network,
        part=Advance,
        data=dataset,
        sources=(BASIC_MOTIONS,),
        training=Training(
            epochs=150,
            patience=40,
            batch_size=16,
            learning_rate=1e-2,
            weight_decay=1e-3,
            loss=every_frame,
            augment=worn_otherwise,
            inputs=("frames",),
        ),
        evaluate=at_the_end,
        baselines={"logistic regression on whole recordings": logistic},
        gates=(Gate("accuracy", at_least=0.95, on=BASIC_MOTIONS),),
    ),
    PythonModel(
        name="activity",
        doc="Tells what a wearer of a 6-axis sensor is doing, frame by frame of a sequence.",
        limits=(
            "Four people recorded 80 times 10 s, the same people in training and test: another"
            " wearer, watch or sport may be told wrongly. The archive's test half has 40"
            " recordings, so 40 right ones of 40 still mean only more than 91 % (95 % bound).",
            "Little data makes the seed matter: of six, five gave 97.5 to 100 %, one 87.5 %.",
            "The first second is a guess; a recording is told after about 2.5 s.",
            "A sequence silent for 10 s is forgotten; 4,096 may be live at once.",
        ),
        inputs=(FRAMES,),
        outputs=(
            Tensor("label", "BYTES", (-1,), doc="the activity at each frame"),
            Tensor("probability", "FP32", (-1,), doc="of the label, 0 to 1"),
            SCORES,
        ),
        max_batch_size=256,
        # More candidates than the model keeps: it refuses what is too many at once, where
        # Triton alone would let it wait until another sequence ends.
        sequence=ModelSequenceBatching(
            oldest=StrategyOldest(max_candidate_sequences=8192),
            max_sequence_idle_microseconds=10_000_000,
        ),
        serving=Serving(parameters={"max_live_sequences": "4096"}),
        # A model of its own: its weights keep their proof, and all sequences of an execution
        # advance in one call of it, on the CPU here and on a GPU elsewhere.
        calls=("activity_lstm",),
        reference=motion.Recognizer(ACTIVITIES, "activity_lstm", UNITS).whole,
        sources=(BASIC_MOTIONS,),
        samples=questions,
        tolerance=Tolerance(absolute=1e-5, relative=1e-4),
    ),
)

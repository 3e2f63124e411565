"""Activities from a worn sensor, frame by frame: an LSTM whose state outlives each request."""

from __future__ import annotations

from functools import partial

import torch
from torch import nn

from modelport import spec
from modelport.families import recordings, recurrent
from modelport.families.recurrent import State
from modelport.serving import motion
from modelport.spec import Tensor

UNITS = 32
ACTIVITIES = ("Badminton", "Running", "Standing", "Walking")
ARCHIVE = recordings.Archive("BasicMotions", ACTIVITIES, frames=100, axes=6)

BASIC_MOTIONS = spec.Source(
    package="aeon",
    version="1.6.0",
    sha256="d05227086706f80111ac5fee8de4d5d3115bb3bcfd1c786c8629393055816409",
    member="aeon/datasets/data/BasicMotions",
    licence="not stated (BasicMotions, UEA archive, Bagnall et al. 2018, arXiv:1811.00075);"
    " packaged by aeon, BSD-3-Clause",
)


class Network(recurrent.Resumable):
    """LSTM over frames float32[batch, time, 6]; logits float32[batch, time, 4]."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(6, UNITS, batch_first=True)
        self.dropout = nn.Dropout(0.2)
        self.head = nn.Linear(UNITS, len(ACTIVITIES))

    def advance(self, frames: torch.Tensor, state: State = None) -> tuple[torch.Tensor, State]:
        """Go on from a state, at first from none."""
        # The inverse hyperbolic sine brings strokes of ±40 and tremors of ±0.1 to one scale.
        hidden, state = self.lstm(torch.asinh(frames), state)
        return self.head(self.dropout(hidden)), state


FRAMES = Tensor(
    "frames", "FP32", (-1, 6), doc="10 a second: acceleration x, y, z; angular velocity x, y, z"
)
SCORES = Tensor("scores", "FP32", (-1, 4), labels=ACTIVITIES, doc="probability of each activity")
BEFORE, AFTER = recurrent.state(UNITS)

models = (
    spec.TorchModel(
        name="activity_lstm",
        doc="LSTM that advances by some frames from a given state.",
        inputs=(FRAMES, *BEFORE),
        outputs=(SCORES, *AFTER),
        max_batch_size=256,
        network=Network,
        part=recurrent.Advance,
        data=ARCHIVE.dataset,
        sources=(BASIC_MOTIONS,),
        training=spec.Training(
            epochs=150,
            patience=40,
            batch_size=16,
            learning_rate=1e-2,
            weight_decay=1e-3,
            loss=recurrent.every_frame(label_smoothing=0.05),
            augment=recordings.worn_otherwise(),
            inputs=("frames",),
        ),
        evaluate=recurrent.at_the_end(rate_hz=10, earlier_s=(1, 2.5, 5)),
        baselines={"logistic regression on whole recordings": recordings.logistic},
        gates=(spec.Gate("accuracy", at_least=0.95, on=BASIC_MOTIONS),),
    ),
    spec.PythonModel(
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
        outputs=spec.described(
            recurrent.answer(SCORES, label="the activity at each frame"),
            label=ACTIVITIES,
            probability=spec.PROBABILITY,
            scores=spec.PROBABILITY,
        ),
        max_batch_size=256,
        # More candidates than the model keeps: it refuses what is too many at once, where
        # Triton alone would let it wait until another sequence ends.
        sequence=spec.ModelSequenceBatching(
            oldest=spec.StrategyOldest(max_candidate_sequences=8192),
            max_sequence_idle_microseconds=10_000_000,
        ),
        serving=spec.Serving(parameters={"max_live_sequences": "4096"}),
        # A model of its own: its weights keep their proof, and all sequences of an execution
        # advance in one call of it, on the CPU here and on a GPU elsewhere.
        calls=("activity_lstm",),
        reference=motion.Recognizer(ACTIVITIES, "activity_lstm", UNITS).whole,
        sources=(BASIC_MOTIONS,),
        samples=partial(
            ARCHIVE.requests,
            frames_each=(1, 10, 25, 7),
            titles={"Running": "10 s of running, 10 frames at once"},
        ),
        tolerance=spec.Tolerance(absolute=1e-5, relative=1e-4),
    ),
)

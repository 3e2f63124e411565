"""Anomalies of a series: an autoencoder of its windows, and what it fails to reconstruct."""

from __future__ import annotations

from functools import partial

from torch import nn

from modelport import spec
from modelport.families import windows
from modelport.serving import series
from modelport.spec import Step, Tensor

# A quarter of a heartbeat; short windows blame few neighbours of a bad point.
WINDOW = 32
DETECTION = windows.Detection(
    window=WINDOW,
    # 1,200 of 7,501 points, which the archive writes into the file's name.
    normal=0.16,
    # How much worse than in all of a fifth of that is an anomaly: healthy signals drift, too.
    margin=3.0,
)

INTERNAL_BLEEDING = spec.Source(
    package="aeon",
    version="1.6.0",
    sha256="d05227086706f80111ac5fee8de4d5d3115bb3bcfd1c786c8629393055816409",
    member="aeon/datasets/data/KDD-TSAD_135/135_UCR_Anomaly_InternalBleeding16_TEST.csv",
    licence="not stated (UCR anomaly archive, Wu & Keogh 2021, arXiv:2009.13807);"
    " packaged by aeon, BSD-3-Clause",
)


def autoencoder() -> nn.Module:
    """Make what squeezes a window through eight numbers."""
    code = nn.Sequential(
        nn.Linear(WINDOW, 64), nn.ReLU(), nn.Linear(64, 8),
        nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, WINDOW),
    )  # fmt: skip
    return windows.Residual(code)


# The rest of the recording around the anomaly, of the least length, and of others.
questions = partial(
    DETECTION.samples,
    of="a pressure curve",
    pieces=((50, WINDOW), (700, WINDOW + 1), (3000, 500)),
)

SERIES = Tensor("series", "FP32", (-1,), doc=f"equally spaced values, {WINDOW} or more")
ANSWER = windows.answer()
# Sums of squares in another order; where an error is small, so is its square.
TOLERANCE = spec.Tolerance(absolute=1e-5, relative=1e-3)

models = (
    spec.PythonModel(
        name="anomaly_preprocess",
        doc="Refuses series that are too short or hold no numbers.",
        inputs=(SERIES,),
        outputs=(SERIES,),
        max_batch_size=8,
        reference=series.Check(shortest=WINDOW),
        sources=(INTERNAL_BLEEDING,),
        samples=questions,
    ),
    spec.TorchModel(
        name="anomaly_autoencoder",
        doc="Scores each point of a series by how badly its windows are reconstructed.",
        inputs=(SERIES,),
        outputs=ANSWER,
        max_batch_size=8,
        network=autoencoder,
        part=DETECTION.scores,
        data=DETECTION.dataset,
        sources=(INTERNAL_BLEEDING,),
        training=spec.Training(
            epochs=60,
            patience=20,
            learning_rate=4e-3,
            loss=windows.squares,
            inputs=("window",),
            finish=DETECTION.choose_threshold,
        ),
        measure=DETECTION.measure,
        baselines={
            "8 principal components": DETECTION.components(8),
            "distance from the mean": DETECTION.deviation,
        },
        gates=(spec.Gate("roc_auc", at_least=0.95, on=INTERNAL_BLEEDING),),
        samples=questions,
        tolerance=TOLERANCE,
    ),
    spec.Ensemble(
        name="anomaly",
        doc="Finds the points of a blood pressure curve that are not as usual.",
        limits=(
            "Knows one signal, of one animal; for another, build it with --data.",
            "One anomaly of 12 points is all there is to test on: no interval can be given.",
            "Principal components rank the points as well.",
            "A flat line at a usual level is not named: short windows of the pulse are as flat.",
            f"Points next to an anomaly share windows with it: up to {WINDOW - 1} are named too.",
        ),
        inputs=(SERIES,),
        outputs=spec.described(ANSWER, scores={"minimum": 0.0}, threshold={"minimum": 0.0}),
        max_batch_size=8,
        steps=(
            Step("anomaly_preprocess", {"series": "series"}, {"series": "checked"}),
            Step("anomaly_autoencoder", {"series": "checked"}, {t.name: t.name for t in ANSWER}),
        ),
        sources=(INTERNAL_BLEEDING,),
        samples=questions,
        tolerance=TOLERANCE,
    ),
)

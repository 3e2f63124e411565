"""Anomalies of a series: an autoencoder of its windows, and what it fails to reconstruct."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from modelport.build import Dataset, Split, tables
from modelport.errors import DataError
from modelport.serving import series
from modelport.spec import (
    Ensemble,
    Gate,
    PythonModel,
    Sample,
    Source,
    Step,
    Tensor,
    Tolerance,
    TorchModel,
    Training,
)

# A quarter of a heartbeat; short windows blame few neighbours of a bad point.
WINDOW = 32
# The share of a recording that is normal and known: 1,200 of 7,501 points, which the archive
# writes into the file's name. A fifth of it chooses the threshold.
NORMAL = 0.16
# How much worse than in all of that fifth is an anomaly: healthy signals drift, too.
MARGIN = 3.0

INTERNAL_BLEEDING = Source(
    package="aeon",
    version="1.6.0",
    sha256="d05227086706f80111ac5fee8de4d5d3115bb3bcfd1c786c8629393055816409",
    member="aeon/datasets/data/KDD-TSAD_135/135_UCR_Anomaly_InternalBleeding16_TEST.csv",
    licence="not stated (UCR anomaly archive, Wu & Keogh 2021, arXiv:2009.13807);"
    " packaged by aeon, BSD-3-Clause",
)


class Autoencoder(nn.Module):
    """What windows float32[batch, WINDOW] are, less what it makes of them, in deviations."""

    threshold: torch.Tensor

    def __init__(self) -> None:
        super().__init__()
        # Learns level and spread of the signal, so that clients send raw values.
        self.scale = nn.BatchNorm1d(1, affine=False)
        self.code = nn.Sequential(
            nn.Linear(WINDOW, 64), nn.ReLU(), nn.Linear(64, 8),
            nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, WINDOW),
        )  # fmt: skip
        self.register_buffer("threshold", torch.zeros(()))

    def forward(self, window: torch.Tensor) -> torch.Tensor:
        # No signal is a million deviations away; sums of what is finite stay finite so.
        scaled = self.scale(window.unsqueeze(1)).squeeze(1).clamp(-1e6, 1e6)
        residual: torch.Tensor = scaled - self.code(scaled)
        return residual


class Scores(nn.Module):
    """Mean squared residual of each point over all windows that hold it: float32[batch, n].

    Windows are cut, and their errors put back, by convolutions with the identity.
    """

    identity: torch.Tensor

    def __init__(self, autoencoder: Autoencoder) -> None:
        super().__init__()
        self.autoencoder = autoencoder
        self.register_buffer("identity", torch.eye(WINDOW).unsqueeze(1))

    def forward(self, values: torch.Tensor) -> Any:
        windows = functional.conv1d(values.unsqueeze(1), self.identity).transpose(1, 2)
        errors = self.autoencoder(windows.reshape(-1, WINDOW)).square()
        errors = errors.reshape(windows.shape).transpose(1, 2)
        total = functional.conv_transpose1d(errors, self.identity)
        count = functional.conv_transpose1d(torch.ones_like(errors), self.identity)
        scores = (total / count).squeeze(1)
        threshold = self.autoencoder.threshold
        return scores, scores > threshold, threshold.expand(len(values), 1)


def squares(residual: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
    """Mean squared error of the reconstruction."""
    return residual.square().mean()


def choose_threshold(network: Autoencoder, data: Dataset) -> None:
    """Set it above all that validation points score; no label is looked at."""
    scores, _, _ = Scores(network)(torch.from_numpy(_joined(data.validation))[None])
    network.threshold.fill_(MARGIN * float(scores.max()))


def recording(path: Path) -> dict[str, np.ndarray]:
    """Read a table with the columns ``value`` and ``is_anomaly`` (0 or 1), in order of time."""
    table = tables.read(path, {"value": float, "is_anomaly": int})
    known = int(NORMAL * len(table["value"]))
    if known < 10 * WINDOW or table["is_anomaly"][:known].any():
        raise DataError(
            f"{path}: the first {known} points ({NORMAL:.0%}) must be {10 * WINDOW} or more, and"
            " without anomalies",
            cause="the autoencoder learns from them what is normal",
            next_step="begin the recording earlier, or mend the column 'is_anomaly'",
            path=path,
        )
    return {"value": table["value"].astype(np.float32), "is_anomaly": table["is_anomaly"]}


def dataset(path: Path) -> Dataset:
    """Cut windows of the normal beginning; keep the rest, point by point, for the test."""
    table = recording(path)
    known = int(NORMAL * len(table["value"]))
    learnt = known * 4 // 5
    values, rest = table["value"], slice(known, None)
    return Dataset(
        _windows(values[:learnt]),
        _windows(values[learnt:known]),
        Split({"value": values[rest]}, table["is_anomaly"][rest]),
    )


def _windows(values: np.ndarray) -> Split:
    windows = np.lib.stride_tricks.sliding_window_view(values, WINDOW).copy()
    return Split({"window": windows}, np.zeros(len(windows), np.int64))


def _joined(split: Split) -> np.ndarray:
    """Give back the series that windows were cut from."""
    windows = split.inputs["window"]
    return np.concatenate([windows[:-1, 0], windows[-1]])


def measure(network: Autoencoder, data: Dataset) -> dict[str, float]:
    """Score the test points."""
    with torch.inference_mode():
        scores, _, _ = Scores(network)(torch.from_numpy(data.test.inputs["value"])[None])
    return _figures(scores[0].numpy(), data.test.targets, float(network.threshold))


def components(data: Dataset) -> dict[str, float]:
    """Reconstruct the same windows from 8 principal components; the same rule for the threshold."""
    from sklearn.decomposition import PCA

    fitted = PCA(8, random_state=0).fit(data.train.inputs["window"])

    def scores(values: np.ndarray) -> np.ndarray:
        windows = np.lib.stride_tricks.sliding_window_view(values, WINDOW)
        errors = np.square(windows - fitted.inverse_transform(fitted.transform(windows)))
        holds = np.arange(len(windows))[:, None] + np.arange(WINDOW)
        total = np.bincount(holds.ravel(), errors.ravel(), len(values))
        return np.asarray(total / np.bincount(holds.ravel(), minlength=len(values)))

    threshold = MARGIN * scores(_joined(data.validation)).max()
    return _figures(scores(data.test.inputs["value"]), data.test.targets, threshold)


def deviation(data: Dataset) -> dict[str, float]:
    """Score each point by its distance from the mean."""
    known = _joined(data.train)
    threshold = MARGIN * np.abs(_joined(data.validation) - known.mean()).max()
    scores = np.abs(data.test.inputs["value"] - known.mean())
    return _figures(scores, data.test.targets, threshold)


def _figures(scores: np.ndarray, anomalous: np.ndarray, threshold: float) -> dict[str, float]:
    from sklearn.metrics import precision_recall_fscore_support, roc_auc_score

    precision, recall, f1, _ = precision_recall_fscore_support(
        anomalous, scores > threshold, average="binary", zero_division=0
    )
    auc = roc_auc_score(anomalous, scores)
    return {"roc_auc": auc, "precision": precision, "recall": recall, "f1": f1}


def questions(path: Path) -> Sequence[Sample]:
    """Take pieces of the rest: around the anomaly, of the least length, and of others."""
    rest = dataset(path).test
    values, first = rest.inputs["value"], int(rest.targets.argmax())
    pieces = [values[i : i + n] for i, n in ((50, WINDOW), (700, WINDOW + 1), (3000, 500))]
    around = values[max(0, first - 200) : first + 200]
    title = f"{len(around)} points of a pressure curve, with an anomaly in the middle"
    return [Sample({"series": around}, title=title), *(Sample({"series": p}) for p in pieces)]


SERIES = Tensor("series", "FP32", (-1,), doc=f"equally spaced values, {WINDOW} or more")
ANSWER = (
    Tensor("scores", "FP32", (-1,), doc="of each point: mean squared error, in deviations"),
    Tensor("anomalous", "BOOL", (-1,), doc="whether the score is above the threshold"),
    Tensor("threshold", "FP32", (1,), doc="chosen on normal data"),
)
# Sums of squares in another order; where an error is small, so is its square.
TOLERANCE = Tolerance(absolute=1e-5, relative=1e-3)

models = (
    PythonModel(
        name="anomaly_preprocess",
        doc="Refuses series that are too short or hold no numbers.",
        inputs=(SERIES,),
        outputs=(SERIES,),
        max_batch_size=8,
        reference=series.Check(shortest=WINDOW),
        sources=(INTERNAL_BLEEDING,),
        samples=questions,
    ),
    TorchModel(
        name="anomaly_autoencoder",
        doc="Scores each point of a series by how badly its windows are reconstructed.",
        inputs=(SERIES,),
        outputs=ANSWER,
        max_batch_size=8,
        network=Autoencoder,
        part=Scores,
        data=dataset,
        sources=(INTERNAL_BLEEDING,),
        training=Training(
            epochs=60,
            patience=20,
            learning_rate=4e-3,
            loss=squares,
            inputs=("window",),
            finish=choose_threshold,
        ),
        measure=measure,
        baselines={"8 principal components": components, "distance from the mean": deviation},
        gates=(Gate("roc_auc", at_least=0.95, on=INTERNAL_BLEEDING),),
        samples=questions,
        tolerance=TOLERANCE,
    ),
    Ensemble(
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
        outputs=ANSWER,
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

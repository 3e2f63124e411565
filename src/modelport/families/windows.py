"""Anomalies of one long series: what a network that learned its windows fails to reconstruct.

A recording begins normal, and is known to; the network learns from windows of that. A point is
anomalous where the windows that hold it are reconstructed much worse than normal ones.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from modelport.build import tables
from modelport.build.dataset import Dataset, Split
from modelport.errors import DataError
from modelport.spec.parts import Sample, Tensor

COLUMNS = {"value": float, "is_anomaly": int}
# So many windows must be normal: fewer do not say what is.
_FEWEST_WINDOWS = 10
# No signal is so many deviations away; sums of what is finite stay finite so.
_FARTHEST = 1e6
# Points that a sample shows on either side of an anomaly's beginning, and a window at least.
_AROUND = 200


class Residual(nn.Module):
    """What windows float32[batch, window] are, less what a network makes of them, in deviations.

    Learns level and spread of the signal, so that clients send raw values.

    Args:
        code: makes windows of windows, float32[batch, window], by way of something narrower.
    """

    threshold: torch.Tensor

    def __init__(self, code: nn.Module) -> None:
        super().__init__()
        self.scale = nn.BatchNorm1d(1, affine=False)
        self.code = code
        self.register_buffer("threshold", torch.zeros(()))

    def forward(self, window: torch.Tensor) -> torch.Tensor:
        """Give the residual, of the shape of the windows."""
        scaled = self.scale(window.unsqueeze(1)).squeeze(1).clamp(-_FARTHEST, _FARTHEST)
        residual: torch.Tensor = scaled - self.code(scaled)
        return residual


class Scores(nn.Module):
    """Mean squared residual of each point over all windows that hold it.

    Takes series float32[batch, n], n at least ``window``; gives scores float32[batch, n],
    bool[batch, n] where they are above the threshold, and that float32[batch, 1]. Windows are
    cut, and their errors put back, by convolutions with the identity.

    Args:
        network: gives residuals of windows, and holds the ``threshold``.
        window: points of a window.
    """

    identity: torch.Tensor

    def __init__(self, network: Residual, window: int) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("identity", torch.eye(window).unsqueeze(1))

    def forward(self, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Score each point."""
        windows = functional.conv1d(values.unsqueeze(1), self.identity).transpose(1, 2)
        errors = self.network(windows.reshape(-1, len(self.identity))).square()
        errors = errors.reshape(windows.shape).transpose(1, 2)
        total = functional.conv_transpose1d(errors, self.identity)
        count = functional.conv_transpose1d(torch.ones_like(errors), self.identity)
        scores = (total / count).squeeze(1)
        threshold = self.network.threshold
        return scores, scores > threshold, threshold.expand(len(values), 1)


def answer() -> tuple[Tensor, ...]:
    """Declare what :class:`Scores` gives."""
    return (
        Tensor("scores", "FP32", (-1,), doc="of each point: mean squared error, in deviations"),
        Tensor("anomalous", "BOOL", (-1,), doc="whether the score is above the threshold"),
        Tensor("threshold", "FP32", (1,), doc="chosen on normal data"),
    )


def squares(residual: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
    """Mean squared error of the reconstruction."""
    return residual.square().mean()


@dataclass(frozen=True)
class Detection:
    """How a recording is learned from, and when a point of it is an anomaly.

    Args:
        window: points of a window.
        normal: share of the recording, from its beginning, that is normal and known. Four
            fifths of it are learned from, the last fifth chooses the threshold.
        margin: how many times the worst score of that fifth is the threshold.
    """

    window: int
    normal: float
    margin: float

    def read(self, path: Path) -> dict[str, np.ndarray]:
        """Read a table with the columns ``value`` and ``is_anomaly`` (0 or 1), in order of time.

        Raises:
            DataError: it is no such table, or its beginning is too short or not normal.
        """
        table = tables.read(path, COLUMNS)
        known, fewest = self._known(table["value"]), _FEWEST_WINDOWS * self.window
        if known < fewest or table["is_anomaly"][:known].any():
            raise DataError(
                f"{path}: the first {known} points ({self.normal:.0%}) must be {fewest} or more,"
                " and without anomalies",
                cause="the network learns from them what is normal",
                next_step="begin the recording earlier, or mend the column 'is_anomaly'",
                path=path,
            )
        return {"value": table["value"].astype(np.float32), "is_anomaly": table["is_anomaly"]}

    def dataset(self, path: Path) -> Dataset:
        """Cut windows of the normal beginning; keep the rest, point by point, for the test.

        Returns:
            ``window`` float32[windows, window] to train and to validate with, and ``value``
            float32[points] with what is an anomaly as the targets of the test.

        Raises:
            DataError: as of :meth:`read`.
        """
        table = self.read(path)
        values, known = table["value"], self._known(table["value"])
        learned = known * 4 // 5
        return Dataset(
            self._windows(values[:learned]),
            self._windows(values[learned:known]),
            Split({"value": values[known:]}, table["is_anomaly"][known:]),
        )

    def samples(
        self, path: Path, *, of: str, pieces: Sequence[tuple[int, int]], name: str = "series"
    ) -> Sequence[Sample]:
        """Take pieces of the rest: around its first anomaly, and others.

        Args:
            path: of the table.
            of: what it records, for people.
            pieces: where each begins, and of how many points it is; one that would end behind
                the recording begins earlier, one that is longer is left out.
            name: of the input tensor, float32[points].
        """
        rest = self.dataset(path).test
        values, first = rest.inputs["value"], int(rest.targets.argmax())
        beside = max(_AROUND, self.window)
        around = values[max(0, first - beside) : first + beside]
        title = f"{len(around)} points of {of}, with an anomaly in the middle"
        starts = [(min(at, len(values) - n), n) for at, n in pieces if n <= len(values)]
        others = [Sample({name: values[at : at + n]}) for at, n in starts]
        return [Sample({name: around}, title=title), *others]

    def scores(self, network: Residual) -> Scores:
        """Make of a network of windows one that scores the points of a series."""
        return Scores(network, self.window)

    def choose_threshold(self, network: Residual, dataset: Dataset) -> None:
        """Set it above all that validation points score; no label is looked at."""
        scores, _, _ = self.scores(network)(torch.from_numpy(_joined(dataset.validation))[None])
        network.threshold.fill_(self.margin * float(scores.max()))

    def measure(self, network: Residual, dataset: Dataset) -> dict[str, float]:
        """Score the test points; see :func:`figures`."""
        values = torch.from_numpy(dataset.test.inputs["value"])[None]
        with torch.inference_mode():
            scores, _, _ = self.scores(network)(values)
        return figures(scores[0].numpy(), dataset.test.targets, float(network.threshold))

    def components(self, count: int) -> Callable[[Dataset], dict[str, float]]:
        """Make a method to beat: the same windows from ``count`` principal components.

        The rule for the threshold is the same.
        """

        def measured(dataset: Dataset) -> dict[str, float]:
            from sklearn.decomposition import PCA

            fitted = PCA(count, random_state=0).fit(dataset.train.inputs["window"])

            def scores(values: np.ndarray) -> np.ndarray:
                windows = np.lib.stride_tricks.sliding_window_view(values, self.window)
                made = fitted.inverse_transform(fitted.transform(windows))
                return _put_back(np.square(windows - made))

            return self._by(scores, dataset)

        return measured

    def deviation(self, dataset: Dataset) -> dict[str, float]:
        """Figures of a method to beat: score each point by its distance from the mean."""
        mean = _joined(dataset.train).mean()
        return self._by(lambda values: np.abs(values - mean), dataset)

    def _by(self, scores: Callable[[np.ndarray], np.ndarray], dataset: Dataset) -> dict[str, float]:
        threshold = self.margin * scores(_joined(dataset.validation)).max()
        return figures(scores(dataset.test.inputs["value"]), dataset.test.targets, threshold)

    def _known(self, values: np.ndarray) -> int:
        return int(self.normal * len(values))

    def _windows(self, values: np.ndarray) -> Split:
        windows = np.lib.stride_tricks.sliding_window_view(values, self.window).copy()
        return Split({"window": windows}, np.zeros(len(windows), np.int64))


def _joined(split: Split) -> np.ndarray:
    """Give back the series that windows were cut from."""
    windows = split.inputs["window"]
    return np.concatenate([windows[:-1, 0], windows[-1]])


def _put_back(errors: np.ndarray) -> np.ndarray:
    """Give the mean error of each point over all windows that hold it, float64[points].

    Args:
        errors: of consecutive windows, float[windows, window].
    """
    count, window = errors.shape
    points = count + window - 1
    holds = np.arange(count)[:, None] + np.arange(window)
    total = np.bincount(holds.ravel(), errors.ravel(), points)
    return np.asarray(total / np.bincount(holds.ravel(), minlength=points))


def figures(scores: np.ndarray, anomalous: np.ndarray, threshold: float) -> dict[str, float]:
    """Measure scores of points.

    Args:
        scores: float[points].
        anomalous: of each, whether it is (0 or 1).
        threshold: above it, a point is named.

    Returns:
        ``roc_auc`` of the scores, and precision, recall and F1 of what is named.
    """
    from sklearn.metrics import precision_recall_fscore_support, roc_auc_score

    precision, recall, f1, _ = precision_recall_fscore_support(
        anomalous, scores > threshold, average="binary", zero_division=0
    )
    auc = roc_auc_score(anomalous, scores)
    return {"roc_auc": auc, "precision": precision, "recall": recall, "f1": f1}

"""From a classifier's scores to labels and probabilities."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

# What builders write into a version folder for `from_folder`: a name of a class on each line.
FILE_NAME = "labels.txt"


@dataclass(frozen=True)
class Softmax:
    """Softmax over the last dimension, and the most probable class.

    Args:
        labels: name of each class, in the order of the scores.
        scores: name of the input tensor, float32[batch, classes].
    """

    labels: Sequence[str]
    scores: str = "logits"

    @classmethod
    def from_file(cls, path: Path, *, scores: str = "logits") -> Softmax:
        """Read the labels from a file, one a line."""
        return cls(path.read_text(encoding="utf-8").splitlines(), scores)

    @classmethod
    def from_folder(cls, folder: Path, *, scores: str = "logits") -> Softmax:
        """Read the labels from ``labels.txt`` in a version folder."""
        return cls.from_file(folder / FILE_NAME, scores=scores)

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Answer a batch.

        Returns:
            ``label`` bytes[batch, 1], ``probability`` float32[batch, 1] and
            ``scores`` float32[batch, classes], which sum to 1.
        """
        logits = inputs[self.scores].astype(np.float64)
        # Shifting by the maximum keeps exp within range and changes nothing else.
        powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
        scores = (powers / powers.sum(axis=-1, keepdims=True)).astype(np.float32)
        best = scores.argmax(axis=-1)
        names = np.array([name.encode() for name in self.labels], dtype=np.object_)
        return {
            "label": names[best][:, np.newaxis],
            "probability": np.take_along_axis(scores, best[:, np.newaxis], axis=-1),
            "scores": scores,
        }


@dataclass(frozen=True)
class Names:
    """Names of the best classes, whose numbers and probabilities the network gives.

    Args:
        labels: name of each class, in the order of the network's classes.
    """

    labels: Sequence[str]

    @classmethod
    def from_folder(cls, folder: Path) -> Names:
        """Read ``labels.txt``, one name a line, in a version folder."""
        return cls((folder / FILE_NAME).read_text(encoding="utf-8").splitlines())

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Answer a batch.

        Args:
            inputs: ``classes`` int64[batch, k], best first, and their ``probabilities``
                float32[batch, k].

        Returns:
            ``label`` bytes[batch, 1] and ``probability`` float32[batch, 1] of the best, and
            ``labels`` bytes[batch, k].
        """
        names = np.array([name.encode() for name in self.labels], dtype=np.object_)
        labels = names[inputs["classes"]]
        best = inputs["probabilities"][:, :1]
        return {"label": labels[:, :1], "probability": best, "labels": labels}

"""Recordings of a worn sensor: files of the UEA archive, and their changes in training.

All arrays of frames are float32[recordings, frames, axes], in order of time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from modelport.build.dataset import Dataset, Split
from modelport.errors import DataError
from modelport.families import classification
from modelport.spec.parts import Sample

# Of a class's recordings that may be learned from, every so manieth ends the training.
_VALIDATION = 5
_DATA = "@data\n"


@dataclass(frozen=True)
class Archive:
    """A problem of the UEA archive: ``<problem>_TRAIN.ts`` and ``<problem>_TEST.ts`` in a folder.

    The archive: Bagnall et al. 2018, arXiv:1811.00075. Its files hold, after a line ``@data``,
    one recording a line: its axes one after another, then its class, separated by colons;
    values of an axis are separated by commas.

    Args:
        problem: its name.
        labels: the classes, in the order of the targets.
        frames: of each recording.
        axes: of each frame.
        name: of the input tensor, float32[frames, axes].
    """

    problem: str
    labels: Sequence[str]
    frames: int
    axes: int
    name: str = "frames"

    def dataset(self, folder: Path) -> Dataset:
        """Keep the archive's own test half; of the other, one in five of a class ends the training.

        Raises:
            DataError: as of :meth:`read`, or no class has five recordings to learn from.
        """
        known, test = self.read(folder, "TRAIN"), self.read(folder, "TEST")
        held = np.zeros(len(known), bool)
        for number in range(len(self.labels)):
            held[np.flatnonzero(known.targets == number)[_VALIDATION - 1 :: _VALIDATION]] = True
        if not held.any():
            raise DataError(
                f"{self._path(folder, 'TRAIN')}: expected {_VALIDATION} recordings or more of a"
                f" class, found {len(known)} in all",
                cause=f"every {_VALIDATION}th of a class says when to end the training",
                next_step="record more",
                path=self._path(folder, "TRAIN"),
            )
        return Dataset(_rows(known, ~held), _rows(known, held), test)

    def requests(
        self, folder: Path, *, frames_each: Sequence[int], titles: Mapping[str, str]
    ) -> Sequence[Sample]:
        """Take a test recording of each class, each cut into requests as long as told.

        Args:
            folder: of the archive's files.
            frames_each: frames of one request, by class; what is left at the end is left out.
            titles: of some classes' samples.

        Returns:
            Samples of whole sequences, float32[requests, frames, axes].
        """
        test = self.read(folder, "TEST")
        made = []
        for number, (label, length) in enumerate(zip(self.labels, frames_each, strict=True)):
            for frames in test.inputs[self.name][test.targets == number][:1]:
                whole = self.frames // length * length
                cut = frames[:whole].reshape(-1, length, self.axes)
                made.append(Sample({self.name: cut}, title=titles.get(label, "")))
        return made

    def read(self, folder: Path, half: str) -> Split:
        """Read one file.

        Args:
            folder: where it lies.
            half: ``TRAIN`` or ``TEST``.

        Raises:
            DataError: it is missing, holds no recording, or holds one of other frames, axes
                or classes, or a value that is no finite number.
        """
        path = self._path(folder, half)
        if not path.is_file():
            raise DataError(
                f"{folder}: there is no file {path.name}",
                cause="this is another folder, or another problem of the archive",
                next_step=f"give the folder that holds {self.problem}_TRAIN.ts and _TEST.ts",
                path=path,
            )
        lines = path.read_text(encoding="utf-8").partition(_DATA)[2].splitlines()
        recordings = [line.strip().split(":") for line in lines if line.strip()]
        if not recordings:
            raise self._unexpected(path, "there are none")
        values = []
        for number, (*axes, label) in enumerate(recordings, start=1):
            found = _numbers(axes)
            if found is None or found.shape != (self.axes, self.frames) or label not in self.labels:
                raise self._unexpected(path, f"recording {number} is {_described(axes, label)}")
            values.append(found)
        targets = [self.labels.index(label) for *_, label in recordings]
        frames = np.stack(values).swapaxes(1, 2).copy()
        return Split({self.name: frames}, np.array(targets, np.int64))

    def _path(self, folder: Path, half: str) -> Path:
        return folder / f"{self.problem}_{half}.ts"

    def _unexpected(self, path: Path, found: str) -> DataError:
        return DataError(
            f"{path}: expected, after a line @data, lines of {self.axes} axes of {self.frames}"
            f" finite values and one of {', '.join(self.labels)}, separated by colons; {found}",
            next_step=f"write the recordings as the UEA archive's {self.problem} does",
            path=path,
        )


def _numbers(axes: Sequence[str]) -> np.ndarray | None:
    """Give float32[axes, frames], or nothing where axes differ in length or are no numbers."""
    try:
        values = np.array([axis.split(",") for axis in axes], np.float32)
    except ValueError:
        return None
    return values if np.isfinite(values).all() else None


def _described(axes: Sequence[str], label: str) -> str:
    counts = sorted({axis.count(",") + 1 for axis in axes})
    lengths = " or ".join(map(str, counts)) or "no"
    broken = "" if _numbers(axes) is not None or len(counts) != 1 else ", not all finite numbers,"
    return f"of {len(axes)} axes of {lengths} values{broken} and {label!r}"


def _rows(split: Split, chosen: np.ndarray) -> Split:
    inputs = {name: array[chosen] for name, array in split.inputs.items()}
    return Split(inputs, split.targets[chosen])


def worn_otherwise(
    *, turn: float = 0.1, louder: float = 0.2, noise: float = 0.1, late: int = 30
) -> Callable[[torch.Tensor], torch.Tensor]:
    """Turn, amplify and disturb each recording of a batch, and let it begin later.

    Args:
        turn: how crooked the sensor sits: the spread of what is added to the identity before
            it is made a rotation. Axes stand in threes (x, y, z), and all turn together.
        louder: spread of the logarithm of what an axis is multiplied by.
        noise: spread of what is added to each value.
        late: the most frames that are missing at the beginning; fewer than there are.

    Returns:
        A function of float32[batch, frames, axes] that gives ``late`` frames less.
    """

    def augment(frames: torch.Tensor) -> torch.Tensor:
        count, length, axes = frames.shape
        turned, _ = torch.linalg.qr(torch.eye(3) + turn * torch.randn(count, 3, 3))
        # A matrix has its factors but for signs: those that leave the axes pointing as they do.
        turned = turned * torch.sign(torch.diagonal(turned, dim1=1, dim2=2))[:, None]
        moved = torch.cat([three @ turned for three in torch.split(frames, 3, -1)], -1)
        amplified = moved * torch.exp(louder * torch.randn(count, 1, axes))
        start = torch.randint(0, late + 1, (count, 1)) + torch.arange(length - late)
        noisy = amplified + noise * torch.randn_like(amplified)
        return torch.gather(noisy, 1, start[..., None].expand(-1, -1, axes))

    return augment


def logistic(dataset: Dataset) -> Mapping[str, float]:
    """Figures of logistic regression on mean and deviation of each axis over a whole recording.

    It needs nothing to end its training, so it learns from the validation split, too.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    def features(split: Split) -> np.ndarray:
        (frames,) = split.inputs.values()
        return np.concatenate([frames.mean(axis=1), frames.std(axis=1)], axis=1)

    def estimator() -> Any:
        return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))

    known, others = dataset.train, dataset.validation
    inputs = {
        name: np.concatenate([known.inputs[name], others.inputs[name]]) for name in known.inputs
    }
    joined = Split(inputs, np.concatenate([known.targets, others.targets]))
    return classification.baseline(estimator, features)(Dataset(joined, others, dataset.test))

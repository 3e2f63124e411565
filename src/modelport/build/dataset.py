"""Arrays for training, validation and test, split once and never mixed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from modelport.spec.parts import Sample

Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Split:
    """Examples: one array per input tensor and one of targets, item dimension first."""

    inputs: Arrays
    targets: np.ndarray

    def __len__(self) -> int:
        return len(self.targets)

    def samples(self, count: int) -> list[Sample]:
        """Give the first ``count`` items as samples."""
        some = range(min(count, len(self)))
        return [Sample({name: array[i] for name, array in self.inputs.items()}) for i in some]


@dataclass(frozen=True)
class Dataset:
    """Three splits: ``train`` fits, ``validation`` ends the training, ``test`` is only measured."""

    train: Split
    validation: Split
    test: Split

    @classmethod
    def split(
        cls,
        inputs: Arrays,
        targets: np.ndarray,
        *,
        test: float = 0.2,
        validation: float = 0.1,
        seed: int = 0,
        stratify: bool = True,
    ) -> Dataset:
        """Split examples at random.

        Args:
            inputs: one array per input tensor, all of the same length.
            targets: classes or values, of that length.
            test: share held out for the figures in the manifest.
            validation: share (of the whole) that early stopping looks at.
            seed: of the shuffle.
            stratify: keep the share of each class equal in all splits.
        """
        from sklearn.model_selection import train_test_split

        def cut(indices: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
            classes = targets[indices] if stratify else None
            kept, held = train_test_split(
                indices, test_size=share, random_state=seed, stratify=classes
            )
            return kept, held

        rest, for_test = cut(np.arange(len(targets)), test)
        for_train, for_validation = cut(rest, validation / (1 - test))
        return cls(*(_take(inputs, targets, i) for i in (for_train, for_validation, for_test)))

    def map(self, function: Callable[[Arrays], Arrays]) -> Dataset:
        """Change the inputs of every split, by a function of named arrays; the targets stay."""
        splits = (self.train, self.validation, self.test)
        return Dataset(*(Split(function(split.inputs), split.targets) for split in splits))


def _take(inputs: Arrays, targets: np.ndarray, indices: np.ndarray) -> Split:
    return Split({name: array[indices] for name, array in inputs.items()}, targets[indices])

"""What builders of classifiers of many classes share: the few best answers, and their worth.

Where a thousand probabilities would travel for nothing, the network gives the numbers and the
probabilities of its best classes, and :class:`modelport.serving.classes.Names` names them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from modelport.build import training
from modelport.build.dataset import Dataset
from modelport.spec.parts import Sample, Tensor

_ROWS = 6


class Best(nn.Module):
    """The numbers of a network's best classes, and their probabilities.

    Args:
        network: of one input; gives logits float32[batch, classes].
        count: how many classes are given.
    """

    def __init__(self, network: nn.Module, count: int) -> None:
        super().__init__()
        self.network = network
        self.count = count

    def forward(self, items: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Give int64[batch, count] and float32[batch, count], the most probable first."""
        found = self.network(items).softmax(dim=-1).topk(self.count)
        return found.indices, found.values


@dataclass(frozen=True)
class TopK:
    """The best answers of a classifier; its methods are what a declaration takes.

    Args:
        count: how many answers are given.
        classes: among how many.
    """

    count: int
    classes: int

    @property
    def numbers(self) -> tuple[Tensor, Tensor]:
        """Declare the outputs of the served network, ``classes`` and ``probabilities``."""
        return (
            Tensor(
                "classes", "INT64", (self.count,), doc="numbers of the best classes, best first"
            ),
            Tensor("probabilities", "FP32", (self.count,), doc="of those classes, 0 to 1"),
        )

    def names(self, *, label: str) -> tuple[Tensor, ...]:
        """Declare what :class:`modelport.serving.classes.Names` makes of them.

        Args:
            label: what the label says, for people.
        """
        return (
            Tensor("label", "BYTES", (1,), doc=label),
            Tensor("probability", "FP32", (1,), doc="of the label, 0 to 1"),
            Tensor("labels", "BYTES", (self.count,), doc="names of the best classes, best first"),
        )

    def part(self, network: nn.Module) -> Best:
        """Make the network that is served: softmax and choice on top of the trained one."""
        return Best(network, self.count)

    def measure(self, network: nn.Module, dataset: Dataset) -> Mapping[str, float]:
        """Count the items whose class is the best answer, and is among the best ones.

        Args:
            network: takes the inputs in the order that the data set has them; gives logits, or
                what :class:`Best` gives.
            dataset: its test split is measured; the targets are int[items].

        Returns:
            ``top1`` and, of five answers, ``top5``, both shares 0 to 1.
        """
        answers = training.predict(network, dataset.test, list(dataset.test.inputs))
        targets = dataset.test.targets[:, np.newaxis]
        if isinstance(answers, tuple):
            found = answers[0] == targets
            return self._figures(np.where(found.any(axis=1), found.argmax(axis=1), self.classes))
        of_target = np.take_along_axis(answers, targets, axis=1)
        return self._figures((answers > of_target).sum(axis=1))

    def commonest(self, dataset: Dataset) -> Mapping[str, float]:
        """Measure the answers that need no network: the commonest classes of the test split."""
        targets = dataset.test.targets
        _, place, counts = np.unique(targets, return_inverse=True, return_counts=True)
        ranks = np.empty_like(counts)
        ranks[np.argsort(-counts)] = np.arange(len(counts))
        return self._figures(ranks[place])

    def samples(self, *_: object) -> Sequence[Sample]:
        """Make answers of a network: any classes, probabilities that fall."""
        random = np.random.default_rng(0)
        chosen = [
            random.choice(self.classes, self.count, replace=False).astype(np.int64)
            for _ in range(_ROWS)
        ]
        falling = (0.5 ** np.arange(1, self.count + 1)).astype(np.float32)
        return [Sample({"classes": classes, "probabilities": falling}) for classes in chosen]

    def _figures(self, ranks: np.ndarray) -> dict[str, float]:
        """Give the shares from int[items]: how many classes stand before the right one."""
        return {f"top{most}": float((ranks < most).mean()) for most in (1, self.count)}

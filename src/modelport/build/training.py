"""A seeded training loop with early stopping, for networks of any shape."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import nn

from modelport.build.dataset import Dataset, Split
from modelport.spec.parts import Training

Loss = Callable[[Any, torch.Tensor], torch.Tensor]
_EVALUATION_BATCH = 512


@dataclass(frozen=True)
class Epoch:
    """What one pass over the training split gave."""

    number: int
    of: int
    training_loss: float
    validation_loss: float


@dataclass(frozen=True)
class History:
    """How a training run went; the weights kept are those of epoch ``best``."""

    epochs: int
    best: int
    validation_loss: float
    seed: int

    def as_dict(self) -> dict[str, float]:
        """Give the fields as a dictionary that JSON can hold."""
        return asdict(self)


def fit(
    network: nn.Module,
    dataset: Dataset,
    training: Training,
    inputs: Sequence[str],
    *,
    on_epoch: Callable[[Epoch], None] = lambda _: None,
) -> History:
    """Train ``network`` in place and leave it with its best weights, in evaluation mode.

    AdamW under a one-cycle schedule; stops when the validation loss has not
    fallen for ``training.patience`` epochs.

    Args:
        network: its ``forward`` takes the tensors named by ``inputs``, in order.
        dataset: the test split is not looked at.
        training: how; see :class:`modelport.spec.Training`.
        inputs: names of the input tensors.
        on_epoch: called after each epoch.
    """
    seed_everything(training.seed)
    torch.set_num_threads(training.threads)
    loss = _loss(training)
    optimizer = torch.optim.AdamW(
        network.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay
    )
    batches = _Batches(dataset.train, inputs, training)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=training.learning_rate, total_steps=training.epochs * len(batches)
    )
    best = History(0, 0, float("inf"), training.seed)
    best_weights = copy.deepcopy(network.state_dict())
    for number in range(1, training.epochs + 1):
        network.train()
        losses = [_step(network, loss, optimizer, schedule, *batch) for batch in batches]
        validation = mean_loss(network, dataset.validation, inputs, loss)
        on_epoch(Epoch(number, training.epochs, float(np.mean(losses)), validation))
        if validation < best.validation_loss:
            best = History(number, number, validation, training.seed)
            best_weights = copy.deepcopy(network.state_dict())
        elif number - best.best >= training.patience:
            break
    network.load_state_dict(best_weights)
    network.eval()
    if training.finish is not None:
        with torch.no_grad():
            training.finish(network, dataset)
    return History(number, best.best, best.validation_loss, training.seed)


def seed_everything(seed: int) -> None:
    """Seed torch and numpy, and ask torch for deterministic kernels where it has them."""
    torch.manual_seed(seed)
    np.random.seed(seed)
    torch.use_deterministic_algorithms(True, warn_only=True)


def predict(network: nn.Module, split: Split, inputs: Sequence[str]) -> Any:
    """Give the network's outputs on a whole split, as numpy arrays on the item dimension."""
    network.eval()
    parts = []
    with torch.inference_mode():
        for start in range(0, len(split), _EVALUATION_BATCH):
            batch = (split.inputs[name][start : start + _EVALUATION_BATCH] for name in inputs)
            parts.append(_as_tuple(network(*(torch.from_numpy(array) for array in batch))))
    columns = [np.concatenate([part[i].numpy() for part in parts]) for i in range(len(parts[0]))]
    return columns[0] if len(columns) == 1 else tuple(columns)


def mean_loss(network: nn.Module, split: Split, inputs: Sequence[str], loss: Loss) -> float:
    """Give the loss on a whole split."""
    outputs = predict(network, split, inputs)
    tensors = (
        tuple(torch.from_numpy(o) for o in outputs)
        if isinstance(outputs, tuple)
        else torch.from_numpy(outputs)
    )
    return float(loss(tensors, torch.from_numpy(split.targets)))


def _loss(training: Training) -> Loss:
    if callable(training.loss):
        return training.loss
    if training.loss == "mse":
        return nn.MSELoss()
    return nn.CrossEntropyLoss(label_smoothing=training.label_smoothing)


def _step(
    network: nn.Module,
    loss: Loss,
    optimizer: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
    inputs: tuple[torch.Tensor, ...],
    targets: torch.Tensor,
) -> float:
    optimizer.zero_grad()
    value = loss(network(*inputs), targets)
    value.backward()  # type: ignore[no-untyped-call]
    optimizer.step()
    schedule.step()
    return float(value.detach())


class _Batches:
    """Shuffled, augmented batches of a split; the order is the seed's."""

    def __init__(self, split: Split, inputs: Sequence[str], training: Training) -> None:
        self._inputs = [torch.from_numpy(split.inputs[name]) for name in inputs]
        self._targets = torch.from_numpy(split.targets)
        self._size = training.batch_size
        self._augment = training.augment
        self._random = torch.Generator().manual_seed(training.seed)

    def __len__(self) -> int:
        return len(self._split(torch.arange(len(self._targets))))

    def _split(self, order: torch.Tensor) -> list[torch.Tensor]:
        parts = list(torch.split(order, self._size))
        # Batch normalization cannot learn from one item alone: it joins the batch before it.
        if len(parts) > 1 and len(parts[-1]) == 1:
            parts[-2:] = [torch.cat(parts[-2:])]
        return parts

    def __iter__(self) -> Any:
        order = torch.randperm(len(self._targets), generator=self._random)
        for chosen in self._split(order):
            inputs = tuple(array[chosen] for array in self._inputs)
            if self._augment is not None:
                inputs = tuple(self._augment(tensor) for tensor in inputs)
            yield inputs, self._targets[chosen]


def _as_tuple(outputs: Any) -> tuple[torch.Tensor, ...]:
    return tuple(outputs) if isinstance(outputs, (tuple, list)) else (outputs,)

"""Training: seeded, stopped early, and with its best weights."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import nn

from modelport.build import Dataset, Split, training
from modelport.families import augment
from modelport.spec import Training


def blobs(count: int = 150, seed: int = 0) -> Dataset:
    """Three classes of points around three corners: float32[items, 2]."""
    random = np.random.default_rng(seed)
    targets = np.arange(count) % 3
    corners = np.array([[0, 0], [4, 0], [0, 4]])
    points = corners[targets] + random.normal(scale=0.5, size=(count, 2))
    return Dataset.split({"x": points.astype(np.float32)}, targets.astype(np.int64))


def network() -> nn.Module:
    return nn.Sequential(
        nn.Linear(2, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 3)
    )


SETTINGS = Training(epochs=6, batch_size=16, learning_rate=0.02)


def trained(
    settings: Training = SETTINGS, dataset: Dataset | None = None
) -> tuple[nn.Module, training.History, list[training.Epoch]]:
    training.seed_everything(settings.seed)
    net, epochs = network(), []
    history = training.fit(net, dataset or blobs(), settings, ["x"], on_epoch=epochs.append)
    return net, history, epochs


def same(one: nn.Module, other: nn.Module) -> bool:
    states = one.state_dict(), other.state_dict()
    return all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_it_learns() -> None:
    net, history, epochs = trained()
    assert epochs[-1].training_loss < epochs[0].training_loss / 2
    assert history.validation_loss == min(epoch.validation_loss for epoch in epochs)
    test = blobs().test
    answers = training.predict(net, test, ["x"]).argmax(axis=1)
    assert (answers == test.targets).mean() > 0.95


def test_the_same_seed_gives_the_same_weights_to_the_bit() -> None:
    first, history, _ = trained()
    second, again, _ = trained()
    assert same(first, second)
    assert history == again


def test_another_seed_gives_others() -> None:
    assert not same(trained()[0], trained(dataclasses.replace(SETTINGS, seed=1))[0])


def test_it_stops_when_the_validation_loss_no_longer_falls() -> None:
    settings = dataclasses.replace(SETTINGS, epochs=60, patience=2, learning_rate=0.1)
    _, history, epochs = trained(settings)
    assert history.epochs == len(epochs) == history.best + 2 < 60
    assert [epoch.number for epoch in epochs] == list(range(1, len(epochs) + 1))


def test_the_best_weights_stay_not_the_last() -> None:
    settings = dataclasses.replace(SETTINGS, epochs=60, patience=3, learning_rate=0.1)
    net, history, epochs = trained(settings)
    loss = training.mean_loss(net, blobs().validation, ["x"], nn.CrossEntropyLoss())
    assert loss == pytest.approx(history.validation_loss, rel=1e-6)
    assert loss < epochs[-1].validation_loss
    assert not net.training


@pytest.mark.parametrize("batch_size", [4, 8, 13, 52, 104, 105, 1000])
def test_every_item_is_seen_and_none_alone(batch_size: int) -> None:
    """105 items in batches of 8 leave one over, from which BatchNorm cannot learn."""
    sizes: list[int] = []

    def count(images: torch.Tensor) -> torch.Tensor:
        sizes.append(len(images))
        return images

    settings = dataclasses.replace(SETTINGS, epochs=1, batch_size=batch_size, augment=count)
    dataset = blobs()
    assert len(dataset.train) == 105
    trained(settings, dataset)
    assert sum(sizes) == 105
    assert min(sizes) > 1
    assert max(sizes) <= batch_size + 1


def test_a_custom_loss_and_several_inputs_and_outputs() -> None:
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer = nn.Linear(2, 1)

        def forward(self, a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            return self.layer(a), self.layer(b)

    random = np.random.default_rng(0)
    inputs = {name: random.normal(size=(40, 2)).astype(np.float32) for name in ("b", "a")}
    targets = inputs["a"].sum(axis=1, keepdims=True)
    dataset = Dataset.split(inputs, targets, stratify=False)

    def loss(outputs: tuple[torch.Tensor, torch.Tensor], wanted: torch.Tensor) -> torch.Tensor:
        return ((outputs[0] - wanted) ** 2).mean() + 0 * outputs[1].sum()

    epochs: list[training.Epoch] = []
    settings = Training(epochs=20, learning_rate=0.1, batch_size=8, loss=loss)
    net = Two()
    training.fit(net, dataset, settings, ["a", "b"], on_epoch=epochs.append)
    assert epochs[-1].validation_loss < epochs[0].validation_loss / 5
    first, second = training.predict(net, dataset.test, ["a", "b"])
    assert first.shape == second.shape == (len(dataset.test), 1)


def test_mean_squared_error() -> None:
    x = np.linspace(-1, 1, 60, dtype=np.float32)[:, None]
    dataset = Dataset.split({"x": x}, 3 * x, stratify=False)
    net = nn.Linear(1, 1)
    history = training.fit(net, dataset, Training(epochs=60, learning_rate=0.5, loss="mse"), ["x"])
    assert history.validation_loss < 0.1


class TestDataset:
    """The splits share nothing."""

    def test_every_item_is_in_one_split(self) -> None:
        x = np.arange(300)
        dataset = Dataset.split({"x": x}, x % 3)
        splits = (dataset.train, dataset.validation, dataset.test)
        assert [len(split) for split in splits] == [210, 30, 60]
        together = np.concatenate([split.inputs["x"] for split in splits])
        assert sorted(together) == list(x)
        for split in splits:
            assert (split.inputs["x"] % 3 == split.targets).all()
            assert np.bincount(split.targets).tolist() == [len(split) // 3] * 3

    def test_the_seed_chooses(self) -> None:
        x = np.arange(60)
        chosen = [
            Dataset.split({"x": x}, x % 3, seed=s).test.inputs["x"].tolist() for s in (0, 0, 1)
        ]
        assert chosen[0] == chosen[1] != chosen[2]

    def test_map_changes_inputs_of_all_splits(self) -> None:
        x = np.arange(60)
        dataset = Dataset.split({"x": x}, x % 3).map(lambda inputs: {"y": inputs["x"] * 2})
        for split in (dataset.train, dataset.validation, dataset.test):
            assert (split.inputs["y"] // 2 % 3 == split.targets).all()

    def test_samples_are_single_items(self) -> None:
        split = Split({"x": np.arange(6).reshape(3, 2)}, np.zeros(3))
        assert [s.inputs["x"].tolist() for s in split.samples(2)] == [[0, 1], [2, 3]]
        assert len(split.samples(9)) == 3


class TestAffine:
    """Augmentation keeps shape and class."""

    def test_shape_and_range_stay(self) -> None:
        torch.manual_seed(0)
        images = torch.rand(5, 2, 28, 28)
        changed = augment.affine()(images)
        assert changed.shape == images.shape
        assert 0 <= changed.min() <= changed.max() <= 1.00001
        assert not torch.equal(changed, images)

    def test_nothing_to_change_changes_nothing(self) -> None:
        images = torch.rand(3, 1, 28, 28)
        still = augment.affine(rotation_degrees=0, scale=0, shear=0, shift_pixels=0)
        torch.testing.assert_close(still(images), images, atol=1e-4, rtol=0)

    def test_the_seed_decides(self) -> None:
        images = torch.rand(3, 1, 28, 28)
        results = []
        for _ in range(2):
            torch.manual_seed(5)
            results.append(augment.affine()(images))
        assert torch.equal(*results)

    def test_the_shift_is_in_pixels(self) -> None:
        dot = torch.zeros(200, 1, 29, 29)
        dot[:, :, 14, 14] = 1
        moved = augment.affine(rotation_degrees=0, scale=0, shear=0, shift_pixels=2)(dot)
        places = (moved * torch.arange(29)).sum(dim=(1, 2, 3)) / moved.sum(dim=(1, 2, 3))
        assert 1.5 < (places - 14).abs().max() <= 2.01


def test_what_is_chosen_after_training_sees_the_best_weights() -> None:
    seen = {}

    def finish(network: nn.Module, dataset: Dataset) -> None:
        seen["weights"] = {name: t.clone() for name, t in network.state_dict().items()}
        seen["training"] = network.training
        seen["validation"] = len(dataset.validation)

    net, _, _ = trained(dataclasses.replace(SETTINGS, finish=finish))
    assert all(torch.equal(net.state_dict()[name], t) for name, t in seen["weights"].items())
    assert (seen["training"], seen["validation"]) == (False, 15)

"""Networks with fewer channels: which go, what stays, and what cannot be pruned."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from modelport.build import loader, pruning
from modelport.build.dataset import Dataset
from modelport.build.network import NetworkBuild
from modelport.build.pruned import PrunedBuild
from modelport.build.references import References
from modelport.build.steps import Progress, Report
from modelport.errors import BuilderError
from modelport.families.backbones import _InvertedResidual
from modelport.spec import Tensor, TorchModel, Training
from modelport.spec.precision import Pruned
from modelport.verify import in_process

pytest.importorskip("torch_pruning")

BUILDER = Path("builders/tiny.py")
IMAGE = (1, 6, 6)


def data(shape: tuple[int, ...] = IMAGE, *, count: int = 60) -> Dataset:
    random = np.random.default_rng(0)
    targets = np.arange(count) % 3
    x = random.normal(size=(count, *shape)) + targets.reshape(-1, *(1 for _ in shape))
    return Dataset.split({"x": x.astype(np.float32)}, targets.astype(np.int64))


def declared(shape: tuple[int, ...] = IMAGE, **more: Any) -> TorchModel:
    fields = {"training": Training(epochs=2, learning_rate=0.01), "data": data} | more
    return TorchModel(
        name="tiny",
        inputs=(Tensor("x", "FP32", shape),),
        outputs=(Tensor("y", "FP32", (3,)),),
        network=nn.Module,
        **fields,
    )


def pruned(
    network: nn.Module, variant: Pruned, shape: tuple[int, ...] = IMAGE, **more: Any
) -> pruning.Pruning:
    model, dataset = declared(shape, **more), data(shape)
    return pruning.prune(network, model, dataset, variant, builder=BUILDER)


def chain() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        nn.Conv2d(16, 32, 3), nn.BatchNorm2d(32), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Dropout(0.1), nn.Linear(32, 24), nn.ReLU(), nn.Linear(24, 3),
    )  # fmt: skip


class Residual(nn.Module):
    """Expands, convolves each channel and adds, as EfficientNet does, then averages."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 16, 1)
        self.block = _InvertedResidual(16, 16, 2, 3, 1)
        self.head = nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.head(self.block(self.stem(x)).mean((2, 3)))
        return scores


def shapes(network: nn.Module) -> dict[str, list[int]]:
    return {name: list(weight.shape) for name, weight in network.named_parameters()}


def test_a_chain_loses_channels_everywhere_but_at_its_output() -> None:
    network = chain()
    before = {name: weight.clone() for name, weight in network.state_dict().items()}
    made = pruned(network, Pruned(share=0.5, epochs=1))
    facts = made.facts
    assert facts["channels"] == {"0": [16, 8], "3": [32, 16], "9": [24, 16], "11": [3, 3]}
    assert list(facts["left"]) == ["11"]
    assert facts["left"]["11"].startswith("3 channels are few")
    found = shapes(made.network)
    assert found["0.weight"] == [8, 1, 3, 3]
    assert found["1.weight"] == [8]
    assert found["3.weight"] == [16, 8, 3, 3]
    assert found["9.weight"] == [16, 16]
    assert found["11.weight"] == [3, 16]
    counts = [sum(p.numel() for p in n.parameters()) for n in (network, made.network)]
    assert facts["parameters"] == counts
    # 4 × 4 and 2 × 2 positions, then the linear layers.
    macs = [9 * 16 * 16 + 9 * 16 * 32 * 4 + 32 * 24 + 24 * 3]
    macs.append(9 * 8 * 16 + 9 * 8 * 16 * 4 + 16 * 16 + 16 * 3)
    assert facts["macs"] == macs
    assert facts["epochs"] == 1
    assert json.loads(json.dumps(facts)) == facts
    # What was trained stays as it was.
    assert all(torch.equal(before[name], weight) for name, weight in network.state_dict().items())


def test_a_residual_block_with_a_depthwise_convolution() -> None:
    made = pruned(Residual(), Pruned(share=0.5, epochs=1))
    assert made.facts["channels"] == {
        "stem": [16, 8],
        "block._expand_conv": [32, 16],
        "block._depthwise_conv": [32, 16],
        "block._project_conv": [16, 8],
        "head": [3, 3],
    }
    assert made.network.get_submodule("block._depthwise_conv").groups == 16
    assert made.network(torch.zeros(4, *IMAGE)).shape == (4, 3)


def test_kept_modules_keep_their_channels() -> None:
    made = pruned(chain(), Pruned(share=0.5, epochs=1, keep=("0", "1?", "9*")))
    assert made.facts["channels"] == {"0": [16, 16], "3": [32, 16], "9": [24, 24], "11": [3, 3]}
    assert made.facts["left"]["0"] == made.facts["left"]["9"] == "named in `keep`"


def test_what_a_kept_name_holds_is_kept_and_what_is_added_to_it() -> None:
    network = nn.Sequential(nn.Conv2d(1, 16, 1), nn.ReLU(), nn.Conv2d(16, 1, 1), Residual())
    made = pruned(network, Pruned(share=0.5, epochs=1, keep=("3.block",)))
    changed = {name for name, (before, after) in made.facts["channels"].items() if before != after}
    assert changed == {"0"}
    assert made.facts["left"]["3.block._expand_conv"] == "named in `keep`"
    shared = "3.block._project_conv, named in `keep`, has the same channels"
    assert shared in (made.facts["left"]["3.stem"], shared)


def test_a_kept_name_that_is_none() -> None:
    with pytest.raises(BuilderError) as caught:
        pruned(chain(), Pruned(keep=("features.*",)))
    assert caught.value.what == (
        f"{BUILDER}: model 'tiny': variant 'pruned': `keep` of spec.Pruned names 'features.*', and"
        " the network has no such module"
    )
    assert "0, 1, 3, 4, 9, 11" in str(caught.value.next_step)


@settings(max_examples=15, deadline=None)
@given(channels=st.integers(1, 80), share=st.floats(0.05, 0.95))
def test_channels_stay_in_blocks(channels: int, share: float) -> None:
    """A convolution costs as many blocks of 8 as it has begun; the output is never touched."""
    network = nn.Sequential(nn.Linear(4, channels), nn.ReLU(), nn.Linear(channels, 3))
    example = (torch.randn(2, 4),)
    proposed = dict(pruning._proposed(network, example, share, set()))
    for cut, reason in proposed.items():
        width = network.get_submodule(cut.layer).out_features
        assert isinstance(width, int)
        left = width - len(cut.channels)
        assert bool(reason) != bool(cut.channels)
        if not reason:
            assert left % 8 == 0
            assert abs(left - width * (1 - share)) <= 8
            assert sorted(set(cut.channels)) == list(cut.channels)


def test_the_smallest_channels_go() -> None:
    network = chain()
    with torch.no_grad():
        network[0].weight[4:12] *= 0.01
        network[1].weight[4:12] *= 0.01
    cuts = pruned(network, Pruned(share=0.5, epochs=1)).cuts
    assert pruning.Cut("0", tuple(range(4, 12))) in cuts


# --- what cannot be pruned ---------------------------------------------------------


class Recurrent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(6, 32, batch_first=True)
        self.head = nn.Linear(32, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.head(self.lstm(x)[0][:, -1])
        return scores


class Attending(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up = nn.Linear(6, 16)
        self.attention = nn.MultiheadAttention(16, 2, batch_first=True)
        self.head = nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.up(x)
        scores: torch.Tensor = self.head(self.attention(x, x, x)[0].mean(1))
        return scores


class ChannelsLast(nn.Module):
    """torch-pruning takes its flattened channels for another order than they have."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, 16, 3)
        self.head = nn.Linear(16 * 4 * 4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        flat = self.convolution(x).relu().permute(0, 2, 3, 1).flatten(1)
        scores: torch.Tensor = self.head(flat)
        return scores


class Shaped(nn.Module):
    """Has a number of channels in its code."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(1, 16, 3)
        self.head = nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        scores: torch.Tensor = self.head(self.convolution(x).view(-1, 16, 16).mean(2))
        return scores


class Grouped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 16, 3)
        self.second = nn.Conv2d(16, 16, 3, groups=4)
        self.head = nn.Linear(16, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        seen = functional.relu(self.second(self.first(x)))
        scores: torch.Tensor = self.head(seen.mean((2, 3)))
        return scores


@pytest.mark.parametrize(
    ("make", "shape", "reason"),
    [
        (Recurrent, (5, 6), "its LSTM cannot be pruned; head: 3 channels are few"),
        (Attending, (5, 6), "attention (MultiheadAttention) depends on its channels"),
        (ChannelsLast, IMAGE, "the layers that read its channels expect them in another order"),
        (Shaped, IMAGE, "convolution: the network does not run without some of its channels"),
        (Grouped, IMAGE, "second convolves in 4 groups"),
    ],
)
def test_networks_that_cannot_be_pruned(
    make: Callable[[], nn.Module], shape: tuple[int, ...], reason: str
) -> None:
    with pytest.raises(BuilderError) as caught:
        pruned(make(), Pruned(share=0.5, epochs=1), shape)
    assert caught.value.what.startswith(
        f"{BUILDER}: model 'tiny': variant 'pruned': no layer can be pruned: "
    )
    assert reason in caught.value.what
    assert caught.value.next_step


def test_an_output_is_left_alone_however_wide() -> None:
    network = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 16))
    (reason,) = (
        pruning._trial(network, cut, (torch.randn(2, 4),))
        for cut, _ in pruning._proposed(network, (torch.randn(2, 4),), 0.5, set())
        if cut.layer == "2"
    )
    assert reason == "its channels are those of an output [16]"


def test_a_network_that_comes_trained() -> None:
    with pytest.raises(BuilderError, match="a network that comes trained cannot be pruned"):
        pruned(chain(), Pruned(), training=None)


def test_a_training_that_learns_nothing() -> None:
    with pytest.raises(BuilderError, match="never a finite number in 2 epochs"):
        pruned(
            chain(), Pruned(epochs=2), training=Training(loss=lambda o, _: o.sum() * float("nan"))
        )


# --- its steps ---------------------------------------------------------------------

TINY = """
def network():
    return nn.Sequential(nn.Linear(2, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, 3))

def part(network):
    return nn.Sequential(network, nn.Softmax(1))

def data():
    random = np.random.default_rng(0)
    targets = np.arange(150) % 3
    points = np.array([[0, 0], [4, 0], [0, 4]])[targets] + random.normal(size=(150, 2))
    return Dataset.split({"x": points.astype(np.float32)}, targets.astype(np.int64))

model = TorchModel(
    name="tiny",
    inputs=(X,),
    outputs=(Y,),
    network=network,
    part=part,
    data=data,
    training=Training(epochs=4, learning_rate=0.05),
)
"""
Write = Callable[..., Path]


def steps_of(path: Path, events: list[Report | Progress] | None = None) -> PrunedBuild:
    builder = loader.load(path)
    (model,) = builder.models
    assert isinstance(model, TorchModel)
    heard: list[Report | Progress] = [] if events is None else events
    build = NetworkBuild(builder, model, [], heard.append)
    return PrunedBuild(build, Pruned(share=0.5, epochs=2))


def test_the_steps_and_their_file_answers_as_the_network(
    write: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    events: list[Report | Progress] = []
    variant = steps_of(write(TINY), events)
    references = References(variant.build.builder, lambda _: variant.network)
    model = variant.build.model
    cases = references.cases(model, variant.build.dataset.test.samples(4))
    assert cases[0].outputs["y"].sum() == pytest.approx(1)  # the part, with its softmax
    assert not in_process.parity(variant.onnx_file, cases, model.tolerance).problems
    facts = variant.exported.facts()
    assert facts["channels"]["0"] == [32, 16]
    assert facts["exporter"] == "dynamo"
    assert [file.name for file in sorted(variant.exported.folder.iterdir())] == [
        "facts.json",
        "model.onnx",
    ]
    said = {event.step for event in events if isinstance(event, Report)}
    assert said == {"train", "prune", "export"}

    again = steps_of(write(TINY))
    assert again.exported.cached
    assert again.exported.key == variant.exported.key
    deeper = PrunedBuild(again.build, Pruned(share=0.75, epochs=2)).trained
    assert not deeper.cached

    # A build from nothing gives the same weights and the same file, bit by bit.
    monkeypatch.setenv("MODELPORT_CACHE", str(tmp_path / "another"))
    anew = steps_of(write(TINY))
    assert not anew.trained.cached
    before, after = variant.trained_network.state_dict(), anew.trained_network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert anew.onnx_file.read_bytes() == variant.onnx_file.read_bytes()

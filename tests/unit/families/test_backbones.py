"""Checkpoints that others published: which network they are for, and what is refused."""

from __future__ import annotations

import io
import pickle
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from modelport.errors import DataError
from modelport.families import backbones

STEM = {"conv1.weight": (64, 3, 7, 7)}
SUFFIXES = ("weight", "bias", "running_mean", "running_var")


def resnet18_shapes(classes: int) -> dict[str, tuple[int, ...]]:
    """The names and sizes of the ResNet-18 that torchvision publishes, from the paper's table."""

    def normalization(name: str, channels: int) -> dict[str, tuple[int, ...]]:
        return {f"{name}.{suffix}": (channels,) for suffix in SUFFIXES}

    shapes = dict(STEM) | normalization("bn1", 64)
    before = 64
    for stage, channels in enumerate((64, 128, 256, 512), start=1):
        for block in (0, 1):
            at = f"layer{stage}.{block}"
            shapes[f"{at}.conv1.weight"] = (channels, before, 3, 3)
            shapes |= normalization(f"{at}.bn1", channels)
            shapes[f"{at}.conv2.weight"] = (channels, channels, 3, 3)
            shapes |= normalization(f"{at}.bn2", channels)
            if before != channels:
                shapes[f"{at}.downsample.0.weight"] = (channels, before, 1, 1)
                shapes |= normalization(f"{at}.downsample.1", channels)
            before = channels
    return shapes | {"fc.weight": (classes, 512), "fc.bias": (classes,)}


def random_weights(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, torch.Tensor]:
    """Weights that keep activations of about one, so that answers differ between pictures."""
    random = torch.Generator().manual_seed(0)
    made = {}
    for name, shape in shapes.items():
        if len(shape) > 1:
            fan_in = int(np.prod(shape[1:]))
            made[name] = torch.randn(shape, generator=random) * (2 / fan_in) ** 0.5
        else:
            made[name] = torch.full(shape, 1.0 if name.endswith(("var", "weight")) else 0.0)
    return made


@pytest.fixture
def resnet18(tmp_path: Path) -> Path:
    path = tmp_path / "resnet18.pth"
    torch.save(random_weights(resnet18_shapes(1000)), path)
    return path


def test_resnet18_has_the_parameters_of_the_paper(resnet18: Path) -> None:
    network = backbones.load(resnet18, classes=1000)
    assert isinstance(network, backbones.ResNet18)
    assert not network.training
    # torchvision's documentation: 11,689,512 parameters.
    assert sum(p.numel() for p in network.parameters()) == 11_689_512


def test_efficientnet_lite0_has_the_parameters_of_the_paper() -> None:
    # Its authors' table: 4.7 million.
    network = backbones.EfficientNetLite0(1000)
    assert sum(p.numel() for p in network.parameters()) == 4_652_008


@pytest.mark.parametrize("make", [backbones.EfficientNetLite0, backbones.ResNet18])
def test_a_saved_network_comes_back(tmp_path: Path, make: type[torch.nn.Module]) -> None:
    torch.manual_seed(0)
    network = make(7).eval()
    torch.save(network.state_dict(), tmp_path / "weights.pt")
    pixels = torch.randint(0, 256, (2, 64, 64, 3), dtype=torch.uint8)
    again = backbones.load(tmp_path / "weights.pt", classes=7)
    with torch.inference_mode():
        torch.testing.assert_close(again(pixels), network(pixels), rtol=0, atol=0)


def test_the_first_source_is_the_checkpoint(tmp_path: Path) -> None:
    torch.save(backbones.ResNet18(3).state_dict(), tmp_path / "weights.pth")
    network = backbones.pretrained(classes=3)(tmp_path / "weights.pth", tmp_path / "labels.txt")
    assert isinstance(network, backbones.ResNet18)


def test_resnet18_scales_pixels_as_its_training_did(resnet18: Path) -> None:
    """The mean and the deviation are those of pixels from 0 to 1, channel by channel."""
    network = backbones.load(resnet18, classes=1000)
    pixels = torch.tensor([124, 116, 104], dtype=torch.uint8).expand(1, 32, 32, 3)
    seen: list[torch.Tensor] = []
    network.conv1.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with torch.inference_mode():
        network(pixels)
    expected = [
        (value / 255 - mean) / deviation
        for value, mean, deviation in zip(
            (124, 116, 104), (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), strict=True
        )
    ]
    assert seen[0].shape == (1, 3, 32, 32)
    np.testing.assert_allclose(seen[0][0, :, 5, 5], expected, atol=1e-6)


def spoiled(path: Path, **changes: torch.Tensor | None) -> Path:
    state = torch.load(path, weights_only=True)
    for name, value in changes.items():
        key = name.replace("__", ".")
        state.pop(key, None)
        if value is not None:
            state[key] = value
    torch.save(state, path)
    return path


def test_another_architecture_is_told_by_its_first_unexpected_key(resnet18: Path) -> None:
    path = spoiled(resnet18, layer1__0__conv3__weight=torch.zeros(256, 64, 1, 1))
    with pytest.raises(DataError, match=r"unexpected key 'layer1\.0\.conv3\.weight'") as caught:
        backbones.load(path, classes=1000)
    assert caught.value.next_step == "give the state dict of EfficientNet-Lite0 or ResNet-18"


def test_a_missing_key_is_named(resnet18: Path) -> None:
    with pytest.raises(DataError, match=r"key 'layer4\.1\.bn2\.weight' is missing"):
        backbones.load(spoiled(resnet18, layer4__1__bn2__weight=None), classes=1000)


def test_other_classes_are_told(tmp_path: Path) -> None:
    torch.save(random_weights(resnet18_shapes(10)), tmp_path / "ten.pth")
    with pytest.raises(DataError, match=r"not the weights of ResNet-18: size mismatch") as caught:
        backbones.load(tmp_path / "ten.pth", classes=1000)
    assert "1,000" in str(caught.value.cause)


class Trap:
    """What a hostile checkpoint may hold: loading it whole would call this."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return pytest.fail, ("code of the file was run",)


def as_torch(content: object) -> bytes:
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"not a checkpoint",
        pickle.dumps(Trap()),
        as_torch({"fc.weight": Trap()}),
        as_torch({"epoch": 3, "state_dict": {}}),
        as_torch([torch.zeros(2)]),
        as_torch(torch.nn.Linear(1, 1)),
    ],
    ids=["empty", "text", "pickle", "trap", "training state", "list", "module"],
)
def test_only_tensors_are_read(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "weights.pth").write_bytes(content)
    with pytest.raises(DataError) as caught:
        backbones.load(tmp_path / "weights.pth", classes=1000)
    assert "state_dict()" in str(caught.value.next_step)

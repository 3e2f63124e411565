"""Networks for photographs, in plain torch, that take the checkpoints others published.

Module names are those of the published state dicts, so that their files load
unchanged. Every network takes ``uint8[batch, side, side, 3]`` as a picture is decoded and
gives logits ``float32[batch, classes]``: the scaling of its training is part of it.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn
from torch.nn import functional

from modelport.errors import DataError

# Counts batches seen in training; checkpoints older than torch 0.4.1 lack it.
_COUNTER = "num_batches_tracked"


class _Scaled(nn.Module):
    """Bytes, channels last, to the values and the order that the convolutions were trained on."""

    mean: torch.Tensor
    deviation: torch.Tensor

    def __init__(self, mean: tuple[float, ...], deviation: tuple[float, ...]) -> None:
        super().__init__()
        for name, values in (("mean", mean), ("deviation", deviation)):
            buffer = torch.tensor(values).reshape(1, 3, 1, 1)
            self.register_buffer(name, buffer, persistent=False)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        return (pixels.permute(0, 3, 1, 2).float() - self.mean) / self.deviation


class _SameConvolution(nn.Conv2d):
    """A convolution that pads as TensorFlow's ``SAME`` does on even sides: more below and right."""

    def __init__(
        self, channels_in: int, channels_out: int, kernel: int, *, stride: int = 1, groups: int = 1
    ) -> None:
        super().__init__(
            channels_in, channels_out, kernel, stride=stride, groups=groups, bias=False
        )
        missing = kernel - stride
        before, after = missing // 2, missing - missing // 2
        self._border = (before, after, before, after)
        if before == after:
            self.padding = (before, before)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        before, after, *_ = self._border
        return super().forward(x if before == after else functional.pad(x, self._border))


class _InvertedResidual(nn.Module):
    """Expand, convolve each channel, project; the input is added where the shapes allow it."""

    def __init__(
        self, channels_in: int, channels_out: int, expansion: int, kernel: int, stride: int
    ) -> None:
        super().__init__()
        wide = channels_in * expansion
        if expansion > 1:
            self._expand_conv = _SameConvolution(channels_in, wide, 1)
            self._bn0 = nn.BatchNorm2d(wide, eps=1e-3)
        self._depthwise_conv = _SameConvolution(wide, wide, kernel, stride=stride, groups=wide)
        self._bn1 = nn.BatchNorm2d(wide, eps=1e-3)
        self._project_conv = _SameConvolution(wide, channels_out, 1)
        self._bn2 = nn.BatchNorm2d(channels_out, eps=1e-3)
        self._adds = stride == 1 and channels_in == channels_out
        self._expands = expansion > 1

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        wide = functional.relu6(self._bn0(self._expand_conv(x))) if self._expands else x
        wide = functional.relu6(self._bn1(self._depthwise_conv(wide)))
        narrow: torch.Tensor = self._bn2(self._project_conv(wide))
        return x + narrow if self._adds else narrow


class EfficientNetLite0(nn.Module):
    """EfficientNet-B0 (Tan & Le 2019, arXiv:1905.11946) without squeeze-and-excitation, with ReLU6.

    The Lite variant, its sizes and its scaling of pixels are those that the authors
    published with their TPU models in 2020. Sees 224 by 224 pixels.
    """

    # Of each stage: expansion, channels, blocks, stride of the first block, kernel.
    STAGES = (
        (1, 16, 1, 1, 3),
        (6, 24, 2, 2, 3),
        (6, 40, 2, 2, 5),
        (6, 80, 3, 2, 3),
        (6, 112, 3, 1, 5),
        (6, 192, 4, 2, 5),
        (6, 320, 1, 1, 3),
    )

    def __init__(self, classes: int) -> None:
        super().__init__()
        self.scaled = _Scaled((127.0,) * 3, (128.0,) * 3)
        self._conv_stem = _SameConvolution(3, 32, 3, stride=2)
        self._bn0 = nn.BatchNorm2d(32, eps=1e-3)
        self._blocks = nn.Sequential(*self._stages(32))
        self._conv_head = _SameConvolution(320, 1280, 1)
        self._bn1 = nn.BatchNorm2d(1280, eps=1e-3)
        self._fc = nn.Linear(1280, classes)

    def _stages(self, channels: int) -> Iterator[nn.Module]:
        for expansion, wide, blocks, stride, kernel in self.STAGES:
            for block in range(blocks):
                first = stride if block == 0 else 1
                yield _InvertedResidual(channels, wide, expansion, kernel, first)
                channels = wide

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Give the logits of a batch of pictures."""
        x = functional.relu6(self._bn0(self._conv_stem(self.scaled(pixels))))
        x = functional.relu6(self._bn1(self._conv_head(self._blocks(x))))
        logits: torch.Tensor = self._fc(x.mean(dim=(2, 3)))
        return logits


class _BasicBlock(nn.Module):
    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels_out)
        self.downsample = nn.Sequential()
        if stride != 1 or channels_in != channels_out:
            shortcut = nn.Conv2d(channels_in, channels_out, 1, stride, bias=False)
            self.downsample = nn.Sequential(shortcut, nn.BatchNorm2d(channels_out))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        changed = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        return functional.relu(changed + self.downsample(x))


class ResNet18(nn.Module):
    """ResNet-18 (He et al. 2015, arXiv:1512.03385), named as torchvision's checkpoints name it.

    Pixels are scaled by the mean and deviation of ImageNet that torchvision trains with.
    """

    def __init__(self, classes: int) -> None:
        super().__init__()
        mean, deviation = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
        self.scaled = _Scaled(tuple(255 * v for v in mean), tuple(255 * v for v in deviation))
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        for number, channels in enumerate((64, 128, 256, 512), start=1):
            stride = 1 if number == 1 else 2
            first = _BasicBlock(channels // stride, channels, stride)
            setattr(
                self, f"layer{number}", nn.Sequential(first, _BasicBlock(channels, channels, 1))
            )
        self.fc = nn.Linear(512, classes)

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Give the logits of a batch of pictures."""
        x = functional.relu(self.bn1(self.conv1(self.scaled(pixels))))
        x = functional.max_pool2d(x, 3, stride=2, padding=1)
        for number in (1, 2, 3, 4):
            x = self.get_submodule(f"layer{number}")(x)
        logits: torch.Tensor = self.fc(x.mean(dim=(2, 3)))
        return logits


class Architecture(NamedTuple):
    """A network that :func:`load` knows, by its published name."""

    title: str
    make: Callable[[int], nn.Module]


ARCHITECTURES = (
    Architecture("EfficientNet-Lite0", EfficientNetLite0),
    Architecture("ResNet-18", ResNet18),
)


def load(path: Path, *, classes: int) -> nn.Module:
    """Make the network that a checkpoint's keys tell, with its weights.

    Args:
        path: a state dict, as ``torch.save`` writes it. Only tensors are read from it:
            a file that would run code is refused.
        classes: how many it must tell apart.

    Raises:
        DataError: it is no state dict, of an architecture that is not known here, or of
            other classes.
    """
    state = _state(path)
    architecture = _recognised(path, state)
    network = architecture.make(classes)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise DataError(
            f"{path}: not the weights of {architecture.title}: {_first_line(error)}",
            cause=f"another variant, or trained for other classes than the {classes:,} expected",
            next_step="for classes of your own, copy the builder and give it your labels",
            path=path,
        ) from error
    return network.eval()


def pretrained(*, classes: int) -> Callable[..., nn.Module]:
    """Make what a declaration takes as its ``network``: :func:`load` of its first source.

    Args:
        classes: how many the checkpoint must tell apart.
    """

    def network(weights: Path, *_: Path) -> nn.Module:
        return load(weights, classes=classes)

    return network


def _state(path: Path) -> Mapping[str, torch.Tensor]:
    cause = "the file is damaged, or holds a whole pickled object instead of a state dict"
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, OSError, EOFError, ValueError) as error:
        raise DataError(
            f"{path}: torch cannot read weights from it ({type(error).__name__})",
            cause=cause,
            next_step="save it with torch.save(network.state_dict(), path)",
            path=path,
        ) from error
    if not isinstance(state, Mapping) or not all(torch.is_tensor(v) for v in state.values()):
        raise DataError(
            f"{path}: holds a {type(state).__name__}, not a state dict of tensors",
            cause=cause,
            next_step="save it with torch.save(network.state_dict(), path)",
            path=path,
        )
    return state


def _recognised(path: Path, state: Mapping[str, torch.Tensor]) -> Architecture:
    keys = [key for key in state if not key.endswith(_COUNTER)]
    expected = {architecture: _keys(architecture) for architecture in ARCHITECTURES}
    for architecture, names in expected.items():
        if set(keys) == names:
            return architecture
    nearest = max(expected, key=lambda architecture: len(expected[architecture] & set(keys)))
    unexpected = [key for key in keys if key not in expected[nearest]]
    missing = sorted(expected[nearest] - set(keys))
    odd = f"unexpected key {unexpected[0]!r}" if unexpected else f"key {missing[0]!r} is missing"
    raise DataError(
        f"{path}: weights of no architecture that is known here: {odd}",
        cause=f"the nearest is {nearest.title}",
        next_step=_known(),
        path=path,
    )


def _keys(architecture: Architecture) -> set[str]:
    with torch.device("meta"):
        names = architecture.make(1).state_dict()
    return {name for name in names if not name.endswith(_COUNTER)}


def _known() -> str:
    titles = " or ".join(architecture.title for architecture in ARCHITECTURES)
    return f"give the state dict of {titles}"


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines()[1:]]
    return lines[0] if lines else str(error)

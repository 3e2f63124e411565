"""Coloured digits on photographs (MNIST-M), or CIFAR-10 where you have it: a LeNet.

The digits are the 5,000 that `digits` reads, and the photographs come with scikit-image: no
photograph is used in two splits.

    modelport build digits_color --data /path/to/cifar-10-batches-bin

trains the same network on CIFAR-10 instead; the labels follow the data.
"""

from __future__ import annotations

from pathlib import Path

from _mnist import BATCHING, MNIST_5K
from _photographs import PHOTOGRAPHS
from torch import nn

from modelport import spec
from modelport.build import Dataset
from modelport.families import blending, cifar, classification, handwriting, pictures
from modelport.serving import classes, photographs

SOURCES = (MNIST_5K, PHOTOGRAPHS)
# The test photographs are the busiest: a garage with a motorcycle, and a cat's fur.
TRAIN = ("astronaut.png", "coffee.png", "retina.jpg", "hubble_deep_field.jpg", "ihc.png")
VALIDATION = ("rocket.jpg",)
TEST = ("motorcycle_left.png", "chelsea.png")


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


def drawn(digits: Path, photos: Path) -> Dataset:
    """Make the pictures as a client sends them: uint8[item, 32, 32, 3]."""
    if digits.is_dir():
        return cifar.read(digits)
    ink = handwriting.drawings(digits)
    # Each training digit appears on three patches, from the second on a little turned.
    return blending.dataset(ink, photos, train=TRAIN, validation=VALIDATION, test=TEST, copies=3)


def names(digits: Path, _photos: Path) -> list[str]:
    """Give the names of the classes: they follow the data."""
    return cifar.names(digits) if digits.is_dir() else list("0123456789")


def questions(digits: Path, photos: Path) -> list[spec.Sample]:
    """Ask the first picture of each class; the first five of the digits it reads rightly.

    Of twenty pictures the network misreads one, of CIFAR-10 more: there nothing is known.
    """
    known = 0 if digits.is_dir() else 5
    return pictures.questions(drawn(digits, photos).test, names(digits, photos), known=known)


LOGITS = spec.Tensor("logits", "FP32", (10,))
LIMITS = (
    "It says a digit for every picture; a low probability is the only sign of none.",
    "It was trained on MNIST's handwriting, filling most of a square picture; it finds none in"
    " a larger scene.",
)

preprocess = spec.PythonModel(
    name="digits_color_preprocess",
    doc="A colour image of any size to 32 × 32.",
    inputs=pictures.RGB,
    outputs=(pictures.THUMBNAIL,),
    reference=photographs.thumbnails,
    sources=SOURCES,
    samples=questions,
)
lenet = spec.TorchModel(
    name="digits_color_cnn",
    doc="LeNet that scores a colour picture of 32 × 32.",
    inputs=(pictures.THUMBNAIL,),
    outputs=(LOGITS,),
    serving=spec.Serving(dynamic_batching=BATCHING),
    network=network,
    data=pictures.seen_data(drawn, photographs.thumbnails),
    sources=SOURCES,
    training=spec.Training(epochs=8, patience=6, learning_rate=1e-2, weight_decay=1e-2),
    baselines={"ridge on pixels": classification.ridge("thumbnail", alpha=100.0)},
    # The second is what CIFAR-10 allows a LeNet.
    gates=(spec.Gate("accuracy", at_least=0.85, on=MNIST_5K), spec.Gate("accuracy", at_least=0.55)),
    limits=LIMITS,
    tolerance=spec.Tolerance(absolute=1e-4, relative=1e-4),
)
postprocess = spec.PythonModel(
    name="digits_color_postprocess",
    doc="Scores to a label and probabilities.",
    inputs=(LOGITS,),
    outputs=classification.answer(10, label="'0' to '9', or the name of the CIFAR-10 class"),
    load=classes.Softmax.from_folder,
    files=classification.names_file(names),
    sources=SOURCES,
    samples=classification.scores(10),
)
parts = (preprocess, lenet, postprocess)
digits_color = spec.Ensemble.chain(
    *parts,
    name="digits_color",
    doc="Reads one handwritten digit in front of a photograph.",
    inputs=spec.described(pictures.RGB, image="image", pixels={"instead_of": "image"}),
    outputs=spec.described(
        postprocess.outputs, label="text", probability=spec.PROBABILITY, scores=spec.PROBABILITY
    ),
    limits=LIMITS,
    tolerance=spec.Tolerance(absolute=1e-4, relative=1e-3),
)
models = (*parts, digits_color)

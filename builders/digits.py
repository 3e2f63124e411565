"""Handwritten digits: a small CNN on 5,000 MNIST images, asked with a PNG, a JPEG or raw pixels."""

from __future__ import annotations

from pathlib import Path

from _mnist import BATCHING, MNIST_5K
from torch import nn

from modelport import spec
from modelport.families import augment, classification, handwriting, pictures
from modelport.serving import classes, glyphs

LABELS = tuple("0123456789")


def network() -> nn.Module:
    """Make conv–pool–conv–pool–conv–dense–dense: float32[batch, 1, 28, 28] to [batch, 10]."""
    return nn.Sequential(
        *_convolution(1, 16), nn.MaxPool2d(2),
        *_convolution(16, 32), nn.MaxPool2d(2),
        *_convolution(32, 64),
        nn.Flatten(), nn.Dropout(0.3),
        nn.Linear(64 * 7 * 7, 128), nn.ReLU(), nn.Dropout(0.3),
        nn.Linear(128, 10),
    )  # fmt: skip


def _convolution(channels_in: int, channels_out: int) -> tuple[nn.Module, ...]:
    return (
        nn.Conv2d(channels_in, channels_out, 3, padding=1, bias=False),
        nn.BatchNorm2d(channels_out),
        nn.ReLU(),
    )


def questions(mnist: Path) -> list[spec.Sample]:
    """Draw the first image of each class in the test split large, in several ways."""
    return handwriting.questions(handwriting.drawings(mnist).test, LABELS)


LOGITS = spec.Tensor("logits", "FP32", (10,), labels=LABELS)

preprocess = spec.PythonModel(
    name="digits_preprocess",
    doc="An image of any size to a centred 28 × 28 glyph.",
    inputs=pictures.GREY,
    outputs=(pictures.GLYPH,),
    reference=glyphs.digits,
    sources=(MNIST_5K,),
    samples=questions,
)
cnn = spec.TorchModel(
    name="digits_cnn",
    doc="CNN that scores a centred glyph.",
    inputs=(pictures.GLYPH,),
    outputs=(LOGITS,),
    serving=spec.Serving(dynamic_batching=BATCHING),
    network=network,
    data=pictures.seen_data(handwriting.drawings, glyphs.digits),
    sources=(MNIST_5K,),
    training=spec.Training(epochs=14, patience=6, learning_rate=4e-3, augment=augment.affine()),
    gates=(spec.Gate("accuracy", at_least=0.975, on=MNIST_5K),),
    variants=(spec.Int8(method="percentile"), spec.Pruned(share=0.5, epochs=14)),
    budgets=(spec.Budget("accuracy", drop=0.005), spec.Budget("cosine", at_least=0.99)),
    # Logits reach about 20; float32 sums of 3,136 products in another order differ by 1e-5.
    tolerance=spec.Tolerance(absolute=1e-4, relative=1e-4),
)
postprocess = spec.PythonModel(
    name="digits_postprocess",
    doc="Scores to a label and probabilities.",
    inputs=(LOGITS,),
    outputs=classification.answer(10, label="the digit, '0' to '9'", labels=LABELS),
    reference=classes.Softmax(LABELS),
    samples=classification.scores(10),
)
parts = (preprocess, cnn, postprocess)
digits = spec.Ensemble.chain(
    *parts,
    name="digits",
    doc="Reads one handwritten digit from an image.",
    inputs=spec.described(pictures.GREY, image="image", pixels={"instead_of": "image"}),
    outputs=spec.described(
        postprocess.outputs, label=LABELS, probability=spec.PROBABILITY, scores=spec.PROBABILITY
    ),
    limits=(
        "One digit for a picture: of several it reads none rightly; a letter is read as one.",
        "A picture of one shade is refused; any other gets a digit.",
    ),
    tolerance=spec.Tolerance(absolute=1e-4, relative=1e-3),
)
models = (*parts, digits)

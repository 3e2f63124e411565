"""ResNet-18 with random weights: for the figures of perf/precision.py, not for answers."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "builders"))

from _photographs import PHOTOGRAPHS
from torch import nn

from modelport import spec
from modelport.build import Dataset, Split
from modelport.families import backbones, pictures
from modelport.serving import photographs

PHOTOS = ("astronaut.png", "coffee.png", "chelsea.png", "motorcycle_left.png", "rocket.jpg")
CLASSES = 1000


def network(_: Path) -> nn.Module:
    """Make the network with seeded random weights and statistics of a batch of noise."""
    torch.manual_seed(0)
    made = backbones.ResNet18(CLASSES)
    with torch.no_grad():
        # As training would: else each layer's values would be far larger than the last one's.
        made.train()(torch.randint(0, 256, (8, 224, 224, 3), dtype=torch.uint8))
    return made.eval()


def data(folder: Path) -> Dataset:
    """Cut squares out of photographs; nobody knows their classes."""
    side = photographs.CROP_SIDE
    splits = (
        pictures.patches(folder, PHOTOS, count=count, side=side, seed=seed)
        for seed, count in enumerate((128, 1, 32))
    )
    return Dataset(*(Split({"crop": s}, np.zeros(len(s), np.int64)) for s in splits))


model = spec.TorchModel(
    name="resnet18",
    inputs=(pictures.CROP,),
    outputs=(spec.Tensor("logits", "FP32", (CLASSES,)),),
    max_batch_size=8,
    network=network,
    data=data,
    sources=(PHOTOGRAPHS,),
    evaluate=lambda *_: {},
    variants=("int8",),
    budgets=(spec.Budget("cosine", at_least=0.99),),
    tolerance=spec.Tolerance(absolute=1e-3, relative=1e-3),
)

"""Random changes of training images that leave their class as it is."""

from __future__ import annotations

from collections.abc import Callable
from math import radians

import torch
from torch.nn import functional


def affine(
    *,
    rotation_degrees: float = 10.0,
    scale: float = 0.1,
    shear: float = 0.1,
    shift_pixels: float = 1.5,
) -> Callable[[torch.Tensor], torch.Tensor]:
    """Rotate, scale, shear and shift each image of a batch, each by its own random amount.

    Args:
        rotation_degrees: at most this much either way.
        scale: at most this share larger or smaller, each axis by itself.
        shear: at most this slope.
        shift_pixels: at most this far along each axis.

    Returns:
        A function of float32[batch, channels, height, width] that gives the same shape.
    """

    def augment(images: torch.Tensor) -> torch.Tensor:
        count, side = len(images), images.shape[-1]

        def amount(most: float) -> torch.Tensor:
            return (torch.rand(count) * 2 - 1) * most

        angle, slope = amount(radians(rotation_degrees)), amount(shear)
        x_scale, y_scale = 1 + amount(scale), 1 + amount(scale)
        cosine, sine = torch.cos(angle), torch.sin(angle)
        rows = [
            torch.stack([cosine * x_scale, sine + slope, amount(2 * shift_pixels / side)], 1),
            torch.stack([-sine, cosine * y_scale, amount(2 * shift_pixels / side)], 1),
        ]
        grid = functional.affine_grid(torch.stack(rows, 1), list(images.shape), align_corners=False)
        return functional.grid_sample(images, grid, align_corners=False)

    return augment

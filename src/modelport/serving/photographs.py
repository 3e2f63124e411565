"""From a colour picture of any size to the square that a network sees."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from PIL import Image

from modelport.serving import images

THUMBNAIL_SIDE = 32
CROP_SIDE = 224
# A photograph is scaled to a shorter side of 256, of which the middle 224 are seen.
CROP_SHARE = 224 / 256
# A JPEG is decoded to at least this many times the pixels asked for: resampling from there
# and from the whole picture differ by less than a grey level on average.
_DETAIL = 2


def square(rgb: np.ndarray, side: int, *, share: float = 1.0) -> np.ndarray:
    """Cut the square in the middle of a picture and scale it.

    Args:
        rgb: uint8[height, width, 3].
        side: of what is given back; a picture that has this size already is left as it is.
        share: of the picture's shorter side that the square takes in.

    Returns:
        ``uint8[side, side, 3]``.
    """
    height, width = rgb.shape[:2]
    edge = min(height, width) * share
    left, top = (width - edge) / 2, (height - edge) / 2
    resized = Image.fromarray(rgb).resize(
        (side, side),
        Image.Resampling.BILINEAR,
        box=(left, top, left + edge, top + edge),
        # Halves large pictures by plain averages first; three is as good as all detail.
        reducing_gap=3.0,
    )
    return np.asarray(resized)


def thumbnails(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Preprocess a batch: the work of the model ``digits_color_preprocess``.

    Args:
        inputs: ``image`` bytes[batch, 1], or ``pixels`` uint8[batch, height, width, 3].

    Returns:
        ``thumbnail`` float32[batch, 3, 32, 32], 0 to 1: the middle square, channels first.

    Raises:
        BadItemError: an item is no image, or both or neither input was given.
    """

    def thumbnail(rgb: np.ndarray) -> np.ndarray:
        return np.moveaxis(square(rgb, THUMBNAIL_SIDE), -1, 0).astype(np.float32) / 255

    least = _DETAIL * THUMBNAIL_SIDE
    return {"thumbnail": images.each(inputs, thumbnail, least_side=least)}


def crops(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Preprocess a batch: the work of the model ``image_classifier_preprocess``.

    The evaluation transform of ImageNet classifiers (resize to 256, centre crop of 224) in
    one resampling. Values stay bytes, a quarter of what floats would take between the
    models; the network scales them.

    Args:
        inputs: ``image`` bytes[batch, 1], or ``pixels`` uint8[batch, height, width, 3].

    Returns:
        ``crop`` uint8[batch, 224, 224, 3].

    Raises:
        BadItemError: an item is no image, or both or neither input was given.
    """

    def crop(rgb: np.ndarray) -> np.ndarray:
        return square(rgb, CROP_SIDE, share=CROP_SHARE)

    least = round(_DETAIL * CROP_SIDE / CROP_SHARE)
    return {"crop": images.each(inputs, crop, least_side=least)}

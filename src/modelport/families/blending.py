"""Drawings in front of photographs: the recipe of MNIST-M.

Ganin & Lempitsky 2015 (arXiv:1409.7495) take the difference of a drawing and a random patch of
a photograph, channel by channel: the patch where there is no ink, its negative where there is.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from modelport.build.dataset import Dataset, Split
from modelport.errors import DataError
from modelport.families import augment

# Of MNIST-M's pictures.
SIDE = 32


def dataset(
    drawn: Dataset,
    folder: Path,
    *,
    train: Sequence[str],
    validation: Sequence[str],
    test: Sequence[str],
    side: int = SIDE,
    copies: int = 1,
) -> Dataset:
    """Blend each split with photographs of its own.

    Args:
        drawn: see :func:`blend`.
        folder: that the photographs lie in.
        train: names of the files whose patches lie behind the training drawings.
        validation: the same of the validation split.
        test: the same of the test split; no photograph may be in two.
        side: of each picture.
        copies: each training drawing appears on so many patches; see :func:`blend`.

    Returns:
        Splits of ``pixels``, uint8[item, side, side, 3].

    Raises:
        DataError: a photograph is in two splits, or missing, or smaller than the pictures.
    """
    names = [*train, *validation, *test]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(
            f"{twice[0]}: expected each photograph in one split, found it named twice",
            cause="what a network has learned by heart it would find again in the test",
            next_step="give each split photographs of its own",
            path=folder / twice[0],
        )
    return Dataset(
        blend(drawn.train, [folder / name for name in train], side=side, copies=copies, seed=0),
        blend(drawn.validation, [folder / name for name in validation], side=side, seed=1),
        blend(drawn.test, [folder / name for name in test], side=side, seed=2),
    )


def blend(
    drawn: Split, photographs: Sequence[Path], *, side: int = SIDE, copies: int = 1, seed: int
) -> Split:
    """Blend drawings with random patches of photographs.

    Args:
        drawn: its ``pixels`` are uint8[item, height, width], ink light on 0, and are centred in
            the pictures.
        photographs: files that Pillow reads.
        side: of each picture.
        copies: each drawing appears so many times, from the second on a little turned. Of more
            than one the patches change too: their colours change places, some are negatives,
            and they are turned by right angles.
        seed: of all that is random.

    Returns:
        ``pixels`` uint8[item * copies, side, side, 3]: all drawings, then all again.

    Raises:
        DataError: a photograph cannot be read, or one or a drawing does not fit ``side``.
    """
    random = np.random.default_rng(seed)
    torch.manual_seed(seed)
    photos = [_photograph(file, side) for file in photographs]
    ink = _centred(drawn.inputs["pixels"], side)
    turned = torch.from_numpy(ink[:, np.newaxis].astype(np.float32))
    inks = [ink, *(augment.affine()(turned)[:, 0].numpy() for _ in range(copies - 1))]
    pixels = [
        np.abs(
            _patch(random, photos, side, vary=copies > 1) - one[..., np.newaxis].astype(np.int16)
        )
        for drawings in inks
        for one in drawings
    ]
    return Split({"pixels": np.stack(pixels).astype(np.uint8)}, np.tile(drawn.targets, copies))


def _photograph(file: Path, side: int) -> np.ndarray:
    try:
        photo = np.asarray(Image.open(file).convert("RGB"))
    except OSError as error:  # not there, not an image, cut short
        raise DataError(
            f"{file}: expected a photograph, found none that can be read: {error}",
            next_step="name files of the folder that are images",
            path=file,
        ) from error
    height, width = photo.shape[:2]
    if min(height, width) < side:
        raise DataError(
            f"{file}: expected at least {side} × {side} pixels, found {width} × {height}",
            next_step="name a larger photograph",
            path=file,
        )
    return photo


def _centred(drawings: np.ndarray, side: int) -> np.ndarray:
    missing = [side - length for length in drawings.shape[1:]]
    if min(missing) < 0:
        height, width = drawings.shape[1:]
        raise DataError(
            f"expected drawings of at most {side} × {side} pixels, found {width} × {height}",
            next_step="make the pictures larger, or the drawings smaller",
        )
    return np.pad(drawings, [(0, 0), *((short // 2, short - short // 2) for short in missing)])


def _patch(
    random: np.random.Generator, photos: Sequence[np.ndarray], side: int, *, vary: bool
) -> np.ndarray:
    photo = photos[int(random.integers(len(photos)))]
    top, left = (random.integers(length - side + 1) for length in photo.shape[:2])
    patch: np.ndarray = photo[top : top + side, left : left + side].astype(np.int16)
    if not vary:
        return patch
    # Other colours, negatives and turns of a patch make a few photographs go further.
    patch = patch[:, :, random.permutation(3)]
    patch = 255 - patch if random.random() < 0.5 else patch
    return np.rot90(patch, int(random.integers(4)))

"""From a drawing to what a digit classifier sees.

:func:`digit` is the preprocessing of MNIST itself (LeCun et al. 1998, section
III-A: the glyph in a 20 by 20 box, placed by its centre of mass in 28 by 28),
made to hold for photographs and drawings too: it finds out whether the ink is
dark or light, and drops a background that is not even.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from PIL import Image

from modelport.serving import images
from modelport.serving.python_model import BadItemError

SIDE = 28
GLYPH_SIDE = 20
_ANALYSIS_SIDE = 256
# Ink is what stands out by at least this share of the brightest stroke.
_INK_SHARE = 0.3
# With this many of 9 set around it a pixel belongs to a stroke; noise makes single specks.
_STROKE = 5
# Below this share a pixel is sheet even on a clean ground.
_CLEAN = 0.05
# Less contrast than this (of 255) is an empty sheet.
_LEAST_CONTRAST = 12


def digit(grey: np.ndarray) -> np.ndarray:
    """Bring one drawn digit to the form of MNIST.

    Args:
        grey: ``uint8[height, width]`` or float, any size; ink dark on light or light on dark.

    Returns:
        ``float32[1, 28, 28]``, ink 1 on ground 0; all 0 for an empty sheet.
    """
    ink = _ink(_shrunk(np.asarray(grey)))
    rows, columns = np.flatnonzero(ink.any(axis=1)), np.flatnonzero(ink.any(axis=0))
    if not rows.size:
        return np.zeros((1, SIDE, SIDE), np.float32)
    glyph = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    return _centred(_scaled(glyph))[np.newaxis]


def digits(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Preprocess a batch: the work of the model ``digits_preprocess``.

    Args:
        inputs: ``image`` bytes[batch, 1], or ``pixels`` uint8[batch, height, width].

    Returns:
        ``glyph`` float32[batch, 1, 28, 28].

    Raises:
        BadItemError: an item is no image or an empty sheet, or both or neither input was given.
    """
    return {"glyph": images.each(inputs, _drawn, mode="L", least_side=2 * _ANALYSIS_SIDE)}


def _drawn(grey: np.ndarray) -> np.ndarray:
    glyph = digit(grey)
    if not glyph.any():
        # A network names a digit for anything, and is sure of it: 0.96 for a white sheet.
        raise BadItemError("nothing is drawn in the image: it has one shade only")
    return glyph


def _shrunk(grey: np.ndarray) -> np.ndarray:
    """Limit the longer side, which also averages sensor noise away."""
    longest = max(grey.shape)
    if longest <= _ANALYSIS_SIDE:
        return grey.astype(np.float32)
    height, width = (max(1, round(side * _ANALYSIS_SIDE / longest)) for side in grey.shape)
    picture = Image.fromarray(grey if grey.dtype == np.uint8 else grey.astype(np.float32))
    return np.asarray(picture.resize((width, height), Image.Resampling.BOX), dtype=np.float32)


def _ink(grey: np.ndarray) -> np.ndarray:
    """Give float32[height, width] in 0..1: how much ink lies on each pixel."""
    ground = _ground(grey)
    difference = grey - ground
    dark, light = np.clip(-difference, 0, None), np.clip(difference, 0, None)
    # Ink is the side with more energy: squares let few strong strokes outweigh much faint noise.
    ink = dark if np.vdot(dark, dark) > np.vdot(light, light) else light
    top = float(ink.max())
    if top < _LEAST_CONTRAST:
        return np.zeros_like(ink)
    ink = ink / top
    if not _noisy(ink):
        return np.where(ink >= _CLEAN, ink, 0).astype(np.float32)
    # The faint edge of a stroke is kept where it touches the stroke.
    strokes = _around(_around(ink >= _INK_SHARE) >= _STROKE) > 0
    return np.where(strokes & (ink >= _CLEAN), ink, 0).astype(np.float32)


def _ground(grey: np.ndarray) -> np.ndarray | float:
    """Estimate the sheet's brightness: a plane through the border for photographs, else its median.

    A lamp at one side makes a photograph's sheet brighter there; a plane is the
    simplest shape that takes it away. Small images have drawn, even grounds.
    """
    border = np.concatenate([grey[0], grey[-1], grey[:, 0], grey[:, -1]])
    middle = float(np.median(border))
    spread = np.abs(border - middle)
    if min(grey.shape) < 2 * SIDE or not np.median(spread):
        return middle
    height, width = grey.shape
    down, across = np.arange(height) / height, np.arange(width) / width
    rows = np.concatenate([np.zeros(width), np.full(width, down[-1]), down, down])
    columns = np.concatenate([across, across, np.zeros(height), np.full(height, across[-1])])
    # Ink that touches the border would tilt the plane: leave what lies far from the median out.
    sheet = spread <= max(3 * float(np.median(spread)), _LEAST_CONTRAST)
    terms = np.stack([np.ones_like(rows), rows, columns], axis=-1)[sheet]
    (base, slope_down, slope_across), *_ = np.linalg.lstsq(terms, border[sheet], rcond=None)
    return np.asarray(base + slope_down * down[:, np.newaxis] + slope_across * across, np.float32)


def _noisy(ink: np.ndarray) -> bool:
    """Tell a photographed sheet, whose border is speckled, from a drawn one."""
    border = np.concatenate([ink[0], ink[-1], ink[:, 0], ink[:, -1]])
    return bool(np.count_nonzero(border) > border.size / 4)


def _around(mask: np.ndarray) -> np.ndarray:
    """Count the pixels of each 3 by 3 neighbourhood that are set."""
    padded = np.pad(mask, 1).astype(np.uint8)
    columns = padded[:, :-2] + padded[:, 1:-1] + padded[:, 2:]
    return np.asarray(columns[:-2] + columns[1:-1] + columns[2:])


def _scaled(glyph: np.ndarray) -> np.ndarray:
    """Fit the glyph's longer side to 20 pixels, keeping its proportions."""
    height, width = glyph.shape
    scale = GLYPH_SIDE / max(height, width)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    if size == (width, height):
        return glyph
    resized = Image.fromarray(glyph).resize(
        size, Image.Resampling.BOX if scale < 1 else Image.Resampling.BILINEAR
    )
    scaled = np.asarray(resized, dtype=np.float32)
    return scaled / max(float(scaled.max()), 1e-6)


def _centred(glyph: np.ndarray) -> np.ndarray:
    """Place the centre of mass in the middle of 28 by 28."""
    height, width = glyph.shape
    mass = glyph.sum()
    row = float((glyph.sum(axis=1) @ np.arange(height)) / mass)
    column = float((glyph.sum(axis=0) @ np.arange(width)) / mass)
    top = int(np.clip(round(SIDE / 2 - 0.5 - row), 0, SIDE - height))
    left = int(np.clip(round(SIDE / 2 - 0.5 - column), 0, SIDE - width))
    sheet = np.zeros((SIDE, SIDE), np.float32)
    sheet[top : top + height, left : left + width] = glyph
    return sheet

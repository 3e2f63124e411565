"""Handwriting as people send it: drawn in a paint program, or photographed on paper."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image, ImageFilter

from modelport.client import Client

COUNT = 250
BATCH = 50
# Strokes are drawn this much finer than they are shown, which smooths their edges.
FINE = 2

Random = np.random.Generator
Picture = Callable[[np.ndarray, Random], bytes]


def strokes(ink: np.ndarray, side: int, *, boldness: int = 0) -> Image.Image:
    """The digit with crisp, smoothed edges: L[side, side], ink 255 on 0."""
    middle = 4 * ink.shape[0]
    soft = Image.fromarray(ink).resize((middle, middle), Image.Resampling.BICUBIC)
    soft = soft.filter(ImageFilter.GaussianBlur(2 + boldness / 2))
    large = soft.resize((side * FINE, side * FINE), Image.Resampling.BICUBIC)
    crisp = large.point(lambda value: 255 * (value > 110 - 20 * boldness))
    return crisp.resize((side, side), Image.Resampling.BOX)


def somewhere(glyph: Image.Image, width: int, height: int, random: Random) -> Image.Image:
    """The glyph anywhere on a larger sheet, all of its ink on it."""
    sheet = Image.new("L", (width, height))
    left, top, right, bottom = glyph.getbbox() or (0, 0, 1, 1)
    x = int(random.integers(2, width - (right - left) - 2))
    y = int(random.integers(2, height - (bottom - top) - 2))
    sheet.paste(glyph.crop((left, top, right, bottom)), (x, y))
    return sheet


def encoded(picture: Image.Image, form: str, **options: object) -> bytes:
    file = io.BytesIO()
    picture.save(file, form, **options)
    return file.getvalue()


def drawing(ink: np.ndarray, random: Random, *, light: bool, form: str) -> bytes:
    """A thick brush on a canvas of a paint program, in two colours."""
    side = int(random.integers(200, 420))
    glyph = strokes(ink, side, boldness=int(random.integers(0, 3)))
    mask = somewhere(glyph, side + int(random.integers(10, 300)), side + 20, random)
    dark_colour, light_colour = random.integers(0, 70, 3), random.integers(215, 256, 3)
    pen, sheet = (light_colour, dark_colour) if light else (dark_colour, light_colour)
    picture = Image.new("RGB", mask.size, tuple(int(c) for c in sheet))
    picture.paste(Image.new("RGB", mask.size, tuple(int(c) for c in pen)), mask=mask)
    return encoded(picture, form)


def photograph(ink: np.ndarray, random: Random) -> bytes:
    """A pen on paper under a lamp at one side, askew, a little unsharp, with sensor noise."""
    side = int(random.integers(180, 360))
    glyph = strokes(ink, side).rotate(float(random.uniform(-8, 8)), Image.Resampling.BICUBIC)
    width, height = side + int(random.integers(60, 400)), side + int(random.integers(40, 200))
    mask = somewhere(glyph, width, height, random)
    mask = mask.filter(ImageFilter.GaussianBlur(float(random.uniform(0.5, 1.6))))
    cover = np.asarray(mask, np.float64) / 255
    down, across = np.mgrid[0:height, 0:width] / max(width, height)
    slope_down, slope_across = random.uniform(-45, 45, 2)
    paper = random.uniform(160, 205) + slope_down * (down - 0.5) + slope_across * (across - 0.5)
    grey = paper * (1 - cover) + random.uniform(25, 75) * cover
    grey = grey + random.normal(0, random.uniform(2, 9), grey.shape)
    picture = Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8)).convert("RGB")
    return encoded(picture, "JPEG", quality=int(random.integers(70, 92)))


def accuracy(
    client: Client, unseen: tuple[np.ndarray, np.ndarray], make: Picture, *, seed: int
) -> float:
    """Share of right answers to ``COUNT`` pictures, asked in batches."""
    random = np.random.default_rng(seed)
    chosen = random.choice(len(unseen[1]), COUNT, replace=False)
    files = [[make(unseen[0][i], random)] for i in chosen]
    labels = [
        client.infer("digits", {"image": np.array(files[begin : begin + BATCH], np.object_)})
        for begin in range(0, COUNT, BATCH)
    ]
    answered = np.concatenate([answer["label"][:, 0] for answer in labels]).astype(int)
    return float(np.mean(answered == unseen[1][chosen]))


@pytest.mark.parametrize("light", [False, True], ids=["dark-on-light", "light-on-dark"])
@pytest.mark.parametrize("form", ["PNG", "JPEG"])
def test_drawings_are_read(
    grpc: Client, unseen: tuple[np.ndarray, np.ndarray], light: bool, form: str
) -> None:
    def make(ink: np.ndarray, random: Random) -> bytes:
        return drawing(ink, random, light=light, form=form)

    assert accuracy(grpc, unseen, make, seed=2 * light + (form == "PNG")) >= 0.96


def test_photographs_are_read(grpc: Client, unseen: tuple[np.ndarray, np.ndarray]) -> None:
    assert accuracy(grpc, unseen, photograph, seed=4) >= 0.95

"""From drawings to glyphs: what may change in a picture and leave the glyph."""

from __future__ import annotations

import io

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn
from PIL import Image, ImageDraw

from modelport.serving import glyphs
from modelport.serving.glyphs import SIDE, digit, digits
from modelport.serving.python_model import BadItemError

CENTRE = (SIDE - 1) / 2


@st.composite
def drawings(draw: st.DrawFn) -> np.ndarray:
    """Ink of strokes on a clean sheet: uint8[40..90, 40..90], 255 where the pen was."""
    width, height = draw(st.integers(40, 90)), draw(st.integers(40, 90))
    point = st.tuples(st.integers(8, width - 9), st.integers(8, height - 9))
    points = draw(st.lists(point, min_size=3, max_size=6, unique=True))
    sheet = Image.new("L", (width, height))
    ImageDraw.Draw(sheet).line(points, fill=255, width=draw(st.integers(3, 6)), joint="curve")
    return np.asarray(sheet)


LAW = settings(deadline=None, max_examples=60)


@LAW
@given(drawings())
def test_ink_may_be_dark_or_light(ink: np.ndarray) -> None:
    np.testing.assert_allclose(digit(255 - ink), digit(ink), atol=1e-5)


@LAW
@given(drawings(), st.integers(0, 80), st.integers(0, 80), st.integers(0, 80), st.integers(0, 80))
def test_the_place_on_the_sheet_does_not_matter(
    ink: np.ndarray, top: int, bottom: int, left: int, right: int
) -> None:
    moved = np.pad(ink, ((top, bottom), (left, right)))
    np.testing.assert_array_equal(digit(moved), digit(ink))


@LAW
@given(drawings(), st.integers(2, 8))
def test_the_size_does_not_matter(ink: np.ndarray, factor: int) -> None:
    """Resampling blurs an edge here or there; the picture stays the same."""
    # A glyph smaller than its box is drawn larger, which is a blur of another kind.
    assume(min(np.ptp(np.argwhere(ink), axis=0)) >= glyphs.GLYPH_SIDE)
    large = np.asarray(Image.fromarray(ink).resize([s * factor for s in ink.shape[::-1]], 0))
    one, other = blurred(digit(ink)[0]), blurred(digit(large)[0])
    difference = min(
        np.abs(np.roll(other, (down, across), (0, 1)) - one).sum() / one.sum()
        for down in (-1, 0, 1)
        for across in (-1, 0, 1)
    )
    # 20,000 random drawings gave 0.34 at most; two drawings that differ give about 1.
    assert difference < 0.5


def blurred(glyph: np.ndarray) -> np.ndarray:
    """Average 3 by 3 neighbourhoods, so that an edge half a pixel off counts little."""
    wide = np.pad(glyph, 1)
    shifts = [(down, across) for down in range(3) for across in range(3)]
    return sum(wide[d : d + SIDE, a : a + SIDE] for d, a in shifts) / 9


@LAW
@given(drawings(), st.integers(0, 120), st.integers(0, 80))
def test_the_brightness_of_sheet_and_pen_does_not_matter(
    ink: np.ndarray, ground: int, missing: int
) -> None:
    pen = 255 - missing
    photographed = (ground + (pen - ground) * (ink > 0)).astype(np.uint8)
    np.testing.assert_allclose(digit(photographed), digit(np.uint8(255) * (ink > 0)), atol=1e-5)


@LAW
@given(drawings())
def test_the_centre_of_mass_lies_in_the_middle(ink: np.ndarray) -> None:
    glyph = digit(ink)[0]
    for axis in (0, 1):
        mass = glyph.sum(axis=1 - axis)
        centre = float(mass @ np.arange(SIDE) / mass.sum())
        # A glyph whose mass lies at one end of its box reaches the sheet's edge first.
        assert abs(centre - CENTRE) <= 0.51 or mass[0] or mass[-1]


@LAW
@given(drawings())
def test_the_longer_side_fills_twenty_pixels(ink: np.ndarray) -> None:
    glyph = digit(ink)[0]
    sides = [np.ptp(np.flatnonzero(glyph.any(axis=axis))) + 1 for axis in (0, 1)]
    assert 18 <= max(sides) <= 20
    assert glyph.max() == pytest.approx(1)


@LAW
@given(stn.arrays(np.uint8, stn.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=70)))
def test_any_pixels_give_a_glyph_of_the_right_form(pixels: np.ndarray) -> None:
    glyph = digit(pixels)
    assert (glyph.dtype, glyph.shape) == (np.float32, (1, SIDE, SIDE))
    assert np.isfinite(glyph).all()
    assert glyph.min() >= 0
    assert glyph.max() <= 1


@pytest.mark.parametrize("shape", [(1, 1), (1, 300), (300, 1), (2, 2), (28, 28), (3000, 20)])
@pytest.mark.parametrize("grey", [0, 7, 128, 255])
def test_an_empty_sheet_gives_zeros(shape: tuple[int, int], grey: int) -> None:
    glyph = digit(np.full(shape, grey, np.uint8))
    assert glyph.shape == (1, SIDE, SIDE)
    assert not glyph.any()


def test_noise_below_the_least_contrast_is_an_empty_sheet() -> None:
    noise = np.random.default_rng(0).integers(120, 126, (64, 64)).astype(np.uint8)
    assert not digit(noise).any()


def test_a_lamp_at_one_side_does_not_become_ink() -> None:
    sheet = np.tile(np.linspace(200, 120, 120), (120, 1))
    sheet[40:80, 54:66] -= 100
    lit = digit(sheet.astype(np.uint8))[0]
    even = np.full((120, 120), 160.0)
    even[40:80, 54:66] -= 100
    np.testing.assert_allclose(lit, digit(even.astype(np.uint8))[0], atol=0.15)


# --- batches -----------------------------------------------------------------

# A light sheet with a dark bar at the left: its orientation shows.
BAR = np.full((12, 20), 230, np.uint8)
BAR[2:10, 2:5] = 10


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


def files(*contents: bytes) -> np.ndarray:
    array = np.empty((len(contents), 1), dtype=np.object_)
    array[:, 0] = contents
    return array


def test_pixels_and_files_give_the_same_glyphs() -> None:
    by_pixels = digits({"pixels": np.stack([BAR, BAR[::-1]])})["glyph"]
    contents = [encoded(Image.fromarray(grey), "PNG") for grey in (BAR, BAR[::-1])]
    by_file = digits({"image": files(*contents)})["glyph"]
    assert (by_file.dtype, by_file.shape) == (np.float32, (2, 1, SIDE, SIDE))
    np.testing.assert_array_equal(by_file, by_pixels)


def test_items_of_a_batch_do_not_see_each_other() -> None:
    contents = [encoded(Image.fromarray(BAR), form) for form in ("PNG", "JPEG", "GIF", "TIFF")]
    whole = digits({"image": files(*contents)})["glyph"]
    for content, glyph in zip(contents, whole, strict=True):
        np.testing.assert_array_equal(digits({"image": files(content)})["glyph"][0], glyph)


def test_the_form_is_that_of_mnist() -> None:
    assert (glyphs.SIDE, glyphs.GLYPH_SIDE) == (28, 20)


def test_an_empty_sheet_among_others_is_named() -> None:
    with pytest.raises(BadItemError, match=r"^item 1: nothing is drawn"):
        digits({"pixels": np.stack([BAR, np.full_like(BAR, 90)])})

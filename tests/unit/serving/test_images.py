"""From image files and pixels to glyphs: what may change in a picture and leave the glyph."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn
from PIL import Image, ImageDraw

from modelport.serving import images
from modelport.serving.images import SIDE, decode, digit, digits
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
    assume(min(np.ptp(np.argwhere(ink), axis=0)) >= images.GLYPH_SIDE)
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


# --- files -------------------------------------------------------------------

# A light sheet with a dark bar at the left: its orientation shows.
BAR = np.full((12, 20), 230, np.uint8)
BAR[2:10, 2:5] = 10


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, form, **options)
    return file.getvalue()


@pytest.mark.parametrize("form", ["PNG", "GIF", "BMP", "TIFF", "PPM"])
def test_files_without_loss(form: str) -> None:
    np.testing.assert_array_equal(decode(encoded(Image.fromarray(BAR), form)), BAR)


@pytest.mark.parametrize("form", ["JPEG", "WEBP"])
def test_files_with_loss(form: str) -> None:
    got = decode(encoded(Image.fromarray(BAR), form, quality=95))
    np.testing.assert_allclose(got.astype(int), BAR.astype(int), atol=12)


WRAPPINGS: dict[str, Callable[[bytes], bytes]] = {
    "base64": base64.b64encode,
    "base64 in lines": base64.encodebytes,
    "data URL": lambda content: b"data:image/png;base64," + base64.b64encode(content),
}


@pytest.mark.parametrize("wrap", WRAPPINGS.values(), ids=WRAPPINGS)
@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"])
def test_base64_is_taken_off(wrap: Callable[[bytes], bytes], form: str) -> None:
    content = encoded(Image.fromarray(BAR), form)
    np.testing.assert_array_equal(decode(wrap(content)), decode(content))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_undone(orientation: int) -> None:
    turns = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # how the camera held the sheet
    upright = Image.fromarray(np.kron(BAR, np.ones((4, 4), np.uint8)))
    turn = turns[orientation]
    taken = upright if turn is None else upright.transpose(Image.Transpose(turn))
    exif = Image.Exif()
    exif[0x0112] = orientation
    got = decode(encoded(taken, "JPEG", exif=exif.tobytes(), quality=95))
    assert got.shape == upright.size[::-1]
    np.testing.assert_allclose(got.astype(int), np.asarray(upright).astype(int), atol=25)


def test_transparency_lies_on_white() -> None:
    rgba = np.zeros((4, 4, 4), np.uint8)  # black, and fully transparent
    rgba[0, 0] = (0, 0, 0, 255)
    got = decode(encoded(Image.fromarray(rgba), "PNG"))
    assert got[0, 0] == 0
    assert (np.delete(got.ravel(), 0) == 255).all()


def test_grey_with_alpha_lies_on_white() -> None:
    image = Image.merge("LA", [Image.new("L", (2, 1)), Image.fromarray(np.uint8([[255, 0]]))])
    assert decode(encoded(image, "PNG")).tolist() == [[0, 255]]


def test_a_palette_with_a_transparent_colour() -> None:
    image = Image.fromarray(np.uint8([[0, 1, 2]]), "P")
    image.putpalette([0, 0, 0, 100, 100, 100, 200, 200, 200])
    assert decode(encoded(image, "PNG", transparency=0)).tolist() == [[255, 100, 200]]
    assert decode(encoded(image, "GIF")).tolist() == [[0, 100, 200]]


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    grey = np.array([[0, 257, 128 * 257, 65535]], np.uint16)
    assert decode(encoded(Image.fromarray(grey), "PNG")).tolist() == [[0, 1, 128, 255]]


def test_sixteen_bits_with_a_transparent_grey() -> None:
    grey = np.array([[0, 257, 128 * 257, 65535]], np.uint16)
    content = encoded(Image.fromarray(grey), "PNG", transparency=0)
    assert decode(content).tolist() == [[255, 1, 128, 255]]


def test_thirty_two_bit_integers_and_floats() -> None:
    for dtype in (np.int32, np.float32):
        content = encoded(Image.fromarray(np.array([[0, 100, 255]], dtype)), "TIFF")
        assert decode(content).tolist() == [[0, 100, 255]]


def test_one_bit() -> None:
    image = Image.fromarray(BAR).convert("1", dither=Image.Dither.NONE)
    got = decode(encoded(image, "PNG"))
    assert set(np.unique(got)) == {0, 255}
    assert (got[4, 3], got[0, 0]) == (0, 255)


def test_cmyk() -> None:
    image = Image.fromarray(BAR).convert("CMYK")
    got = decode(encoded(image, "JPEG", quality=95))
    np.testing.assert_allclose(got.astype(int), BAR.astype(int), atol=15)


def test_colour_is_weighed_as_the_eye_does() -> None:
    rgb = np.uint8([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]])
    red, green, blue = decode(encoded(Image.fromarray(rgb), "PNG"))[0]
    assert green > red > blue


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_one_pixel(mode: str) -> None:
    pixel = decode(encoded(Image.new(mode, (1, 1)), "PNG"))
    assert (pixel.shape, pixel.dtype) == ((1, 1), np.uint8)
    assert not digit(pixel).any()


def test_a_large_photograph_is_read_small_enough_and_whole() -> None:
    large = np.kron(BAR, np.ones((150, 150), np.uint8))
    got = decode(encoded(Image.fromarray(large), "JPEG"))
    assert max(got.shape) >= 256
    assert got.shape[1] / got.shape[0] == pytest.approx(20 / 12, abs=0.02)
    np.testing.assert_allclose(digit(got), digit(large), atol=0.1)


# --- what is no image ---------------------------------------------------------


def _png_header(width: int, height: int) -> bytes:
    """The beginning of a PNG file that announces this many pixels, and has none."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    checked = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    return b"\x89PNG\r\n\x1a\n" + checked + struct.pack(">I", 0) + b"IDAT\x35\xaf\x06\x1e"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "the image is empty (0 bytes)"),
        (b"data:image/png;base64,", "the image is empty (0 bytes)"),
        (
            b"hello, this is text",
            "not a PNG, JPEG or other known image file (19 bytes, begins 68",
        ),
        (b"\0" * 40, "not a PNG, JPEG or other known image file (40 bytes, begins 00 00"),
        (base64.b64encode(b"no image"), "(8 bytes, begins 6e 6f"),
        ("{'a': 'ü'}".encode(), "not a PNG"),
        (b"\x89PNG\r\n\x1a\n", "not a PNG"),
        (_png_header(9000, 8000), "9000 × 8000 pixels; 64,000,000 pixels is the most"),
        (_png_header(60000, 60000), "far too many pixels; 64,000,000 pixels is the most"),
        (_png_header(100, 100), "the image file is damaged"),
    ],
)
def test_what_is_no_image_is_told_its_sender(content: bytes, words: str) -> None:
    with pytest.raises(BadItemError) as caught:
        decode(content)
    assert words in str(caught.value)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_between_the_limits_of_this_module_and_of_pillow() -> None:
    with pytest.raises(BadItemError, match="is the most"):
        decode(_png_header(10_000, 10_000))


FORMS = ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"]
SOUND = {
    form: encoded(Image.fromarray(np.kron(BAR, np.ones((3, 3), np.uint8))), form) for form in FORMS
}


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
@pytest.mark.parametrize("share", [0.3, 0.6])
def test_a_truncated_file_is_damaged(form: str, share: float) -> None:
    content = SOUND[form]
    with pytest.raises(BadItemError, match=r"damaged|not a PNG"):
        decode(content[: int(share * len(content))])


@settings(deadline=None, max_examples=300)
@given(
    form=st.sampled_from(FORMS),
    end=st.floats(0, 1),
    flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=4),
)
@pytest.mark.filterwarnings("ignore")
def test_damage_of_any_kind_never_gets_further_than_a_bad_item(
    form: str, end: float, flips: list[tuple[float, int]]
) -> None:
    """A request with a broken file is its sender's mistake, whatever Pillow makes of it."""
    content = bytearray(SOUND[form][: int(end * len(SOUND[form]))])
    for place, value in flips:
        if content:
            content[int(place * len(content))] = value
    try:
        grey = decode(bytes(content))
    except BadItemError:
        return
    assert grey.ndim == 2
    assert grey.dtype == np.uint8


# --- batches -----------------------------------------------------------------


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
    contents = [SOUND[form] for form in FORMS]
    whole = digits({"image": files(*contents)})["glyph"]
    for content, glyph in zip(contents, whole, strict=True):
        np.testing.assert_array_equal(digits({"image": files(content)})["glyph"][0], glyph)


@pytest.mark.parametrize(
    "inputs", [{}, {"image": files(SOUND["PNG"]), "pixels": BAR[np.newaxis]}], ids=["none", "both"]
)
def test_one_of_both_inputs_must_be_given(inputs: dict[str, np.ndarray]) -> None:
    with pytest.raises(BadItemError, match="send either `image`"):
        digits(inputs)


def test_a_bad_item_is_named_by_its_place() -> None:
    with pytest.raises(BadItemError, match=r"^item 1: not a PNG"):
        digits({"image": files(SOUND["PNG"], b"text", SOUND["JPEG"])})


@pytest.mark.parametrize("shape", [(2, 0, 5), (2, 5, 0), (1, 0, 0)])
def test_an_item_without_pixels_is_named(shape: tuple[int, ...]) -> None:
    with pytest.raises(BadItemError, match=r"^item 0: the image has no pixels"):
        digits({"pixels": np.zeros(shape, np.uint8)})


def test_the_form_is_that_of_mnist() -> None:
    assert (images.SIDE, images.GLYPH_SIDE) == (28, 20)

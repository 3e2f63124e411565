"""From image files to pixels: what cameras and drawing programs write, and what is no image."""

from __future__ import annotations

import base64
import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from modelport.serving import images
from modelport.serving.images import decode, each
from modelport.serving.python_model import BadItemError


def decoded_grey(content: bytes, *, least_side: int | None = None) -> np.ndarray:
    return decode(content, mode="L", least_side=least_side)


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
    np.testing.assert_array_equal(decoded_grey(encoded(Image.fromarray(BAR), form)), BAR)


@pytest.mark.parametrize("form", ["JPEG", "WEBP"])
def test_files_with_loss(form: str) -> None:
    got = decoded_grey(encoded(Image.fromarray(BAR), form, quality=95))
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
    np.testing.assert_array_equal(decoded_grey(wrap(content)), decoded_grey(content))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_rotation_is_undone(orientation: int) -> None:
    turns = {1: None, 2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # how the camera held the sheet
    upright = Image.fromarray(np.kron(BAR, np.ones((4, 4), np.uint8)))
    turn = turns[orientation]
    taken = upright if turn is None else upright.transpose(Image.Transpose(turn))
    exif = Image.Exif()
    exif[0x0112] = orientation
    got = decoded_grey(encoded(taken, "JPEG", exif=exif.tobytes(), quality=95))
    assert got.shape == upright.size[::-1]
    np.testing.assert_allclose(got.astype(int), np.asarray(upright).astype(int), atol=25)


def test_transparency_lies_on_white() -> None:
    rgba = np.zeros((4, 4, 4), np.uint8)  # black, and fully transparent
    rgba[0, 0] = (0, 0, 0, 255)
    got = decoded_grey(encoded(Image.fromarray(rgba), "PNG"))
    assert got[0, 0] == 0
    assert (np.delete(got.ravel(), 0) == 255).all()


def test_grey_with_alpha_lies_on_white() -> None:
    image = Image.merge("LA", [Image.new("L", (2, 1)), Image.fromarray(np.uint8([[255, 0]]))])
    assert decoded_grey(encoded(image, "PNG")).tolist() == [[0, 255]]


def test_a_palette_with_a_transparent_colour() -> None:
    image = Image.fromarray(np.uint8([[0, 1, 2]]), "P")
    image.putpalette([0, 0, 0, 100, 100, 100, 200, 200, 200])
    assert decoded_grey(encoded(image, "PNG", transparency=0)).tolist() == [[255, 100, 200]]
    assert decoded_grey(encoded(image, "GIF")).tolist() == [[0, 100, 200]]


def test_sixteen_bits_are_scaled_not_clipped() -> None:
    grey = np.array([[0, 257, 128 * 257, 65535]], np.uint16)
    assert decoded_grey(encoded(Image.fromarray(grey), "PNG")).tolist() == [[0, 1, 128, 255]]


def test_sixteen_bits_with_a_transparent_grey() -> None:
    grey = np.array([[0, 257, 128 * 257, 65535]], np.uint16)
    content = encoded(Image.fromarray(grey), "PNG", transparency=0)
    assert decoded_grey(content).tolist() == [[255, 1, 128, 255]]


def test_thirty_two_bit_integers_and_floats() -> None:
    for dtype in (np.int32, np.float32):
        content = encoded(Image.fromarray(np.array([[0, 100, 255]], dtype)), "TIFF")
        assert decoded_grey(content).tolist() == [[0, 100, 255]]


def test_one_bit() -> None:
    image = Image.fromarray(BAR).convert("1", dither=Image.Dither.NONE)
    got = decoded_grey(encoded(image, "PNG"))
    assert set(np.unique(got)) == {0, 255}
    assert (got[4, 3], got[0, 0]) == (0, 255)


def test_cmyk() -> None:
    image = Image.fromarray(BAR).convert("CMYK")
    got = decoded_grey(encoded(image, "JPEG", quality=95))
    np.testing.assert_allclose(got.astype(int), BAR.astype(int), atol=15)


def test_colour_is_weighed_as_the_eye_does() -> None:
    rgb = np.uint8([[[255, 0, 0], [0, 255, 0], [0, 0, 255]]])
    red, green, blue = decoded_grey(encoded(Image.fromarray(rgb), "PNG"))[0]
    assert green > red > blue


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_one_pixel(mode: str) -> None:
    pixel = decoded_grey(encoded(Image.new(mode, (1, 1)), "PNG"))
    assert (pixel.shape, pixel.dtype) == ((1, 1), np.uint8)


def test_a_large_photograph_is_read_small_enough_and_whole() -> None:
    large = np.kron(BAR, np.ones((150, 150), np.uint8))
    got = decoded_grey(encoded(Image.fromarray(large), "JPEG"), least_side=256)
    assert max(got.shape) >= 256
    assert got.shape[1] / got.shape[0] == pytest.approx(20 / 12, abs=0.02)
    assert max(got.shape) < max(large.shape)


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
        decoded_grey(content)
    assert words in str(caught.value)


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_between_the_limits_of_this_module_and_of_pillow() -> None:
    with pytest.raises(BadItemError, match="is the most"):
        decoded_grey(_png_header(10_000, 10_000))


FORMS = ["PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP"]
SOUND = {
    form: encoded(Image.fromarray(np.kron(BAR, np.ones((3, 3), np.uint8))), form) for form in FORMS
}


@pytest.mark.parametrize("form", ["PNG", "JPEG"])
@pytest.mark.parametrize("share", [0.3, 0.6])
def test_a_truncated_file_is_damaged(form: str, share: float) -> None:
    content = SOUND[form]
    with pytest.raises(BadItemError, match=r"damaged|not a PNG"):
        decoded_grey(content[: int(share * len(content))])


@settings(deadline=None, max_examples=300)
@given(
    form=st.sampled_from(FORMS),
    mode=st.sampled_from(["L", "RGB"]),
    end=st.floats(0, 1),
    flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=4),
)
@pytest.mark.filterwarnings("ignore")
def test_damage_of_any_kind_never_gets_further_than_a_bad_item(
    form: str, mode: images.Mode, end: float, flips: list[tuple[float, int]]
) -> None:
    """A request with a broken file is its sender's mistake, whatever Pillow makes of it."""
    content = bytearray(SOUND[form][: int(end * len(SOUND[form]))])
    for place, value in flips:
        if content:
            content[int(place * len(content))] = value
    try:
        decoded = decode(bytes(content), mode=mode, least_side=8)
    except BadItemError:
        return
    assert decoded.ndim == (2 if mode == "L" else 3)
    assert decoded.dtype == np.uint8


# --- colour ------------------------------------------------------------------

# Four quarters: red, green, blue, yellow.
QUARTERS = np.zeros((32, 48, 3), np.uint8)
QUARTERS[:16, :24] = (220, 30, 30)
QUARTERS[:16, 24:] = (30, 200, 40)
QUARTERS[16:, :24] = (20, 40, 210)
QUARTERS[16:, 24:] = (230, 220, 40)


def assert_quarters(rgb: np.ndarray, *, within: int) -> None:
    """Compare away from the edges, where a lossy format smears."""
    assert rgb.shape == QUARTERS.shape
    for rows in (slice(4, 12), slice(20, 28)):
        for columns in (slice(4, 20), slice(28, 44)):
            difference = np.abs(rgb[rows, columns].astype(int) - QUARTERS[rows, columns])
            assert difference.max() <= within


@pytest.mark.parametrize("form", ["PNG", "BMP", "TIFF", "PPM"])
def test_colours_without_loss(form: str) -> None:
    np.testing.assert_array_equal(decode(encoded(Image.fromarray(QUARTERS), form)), QUARTERS)


@pytest.mark.parametrize("form", ["JPEG", "WEBP"])
def test_colours_with_loss(form: str) -> None:
    content = encoded(Image.fromarray(QUARTERS), form, quality=95)
    assert_quarters(decode(content), within=12)


@pytest.mark.parametrize("form", ["JPEG", "TIFF"])
def test_cmyk_keeps_its_colours(form: str) -> None:
    content = encoded(Image.fromarray(QUARTERS).convert("CMYK"), form)
    assert_quarters(decode(content), within=15)


def test_a_palette_and_the_first_picture_of_an_animation() -> None:
    first, second = Image.fromarray(QUARTERS), Image.fromarray(255 - QUARTERS)
    assert_quarters(decode(encoded(first.convert("P", palette=1), "PNG")), within=5)
    animation = encoded(first, "GIF", save_all=True, append_images=[second])
    assert_quarters(decode(animation), within=5)


def test_grey_files_have_three_equal_channels() -> None:
    got = decode(encoded(Image.fromarray(BAR), "PNG"))
    np.testing.assert_array_equal(got, np.stack([BAR] * 3, axis=-1))


def test_sixteen_bit_grey_in_colour() -> None:
    values = np.array([[0, 257, 65535]], np.uint16)
    got = decode(encoded(Image.fromarray(values), "PNG"))
    assert got[0, :, 0].tolist() == got[0, :, 2].tolist() == [0, 1, 255]


def test_transparent_colours_lie_on_white() -> None:
    rgba = np.dstack([QUARTERS, np.zeros(QUARTERS.shape[:2], np.uint8)])
    assert (decode(encoded(Image.fromarray(rgba), "PNG")) == 255).all()


def test_black_is_a_picture() -> None:
    assert not decode(encoded(Image.new("RGB", (9, 7)), "PNG")).any()


@pytest.mark.parametrize("least_side", [8, 16, 64])
def test_a_jpeg_decoded_small_is_the_same_picture(least_side: int) -> None:
    large = np.kron(QUARTERS, np.ones((20, 20, 1), np.uint8))
    got = decode(encoded(Image.fromarray(large), "JPEG", quality=95), least_side=least_side)
    assert least_side <= min(got.shape[:2]) < min(large.shape[:2])
    small = np.asarray(Image.fromarray(got).resize((48, 32), Image.Resampling.BOX))
    assert_quarters(small, within=12)


def test_formats_that_run_other_programs_are_not_opened() -> None:
    postscript = encoded(Image.fromarray(QUARTERS), "EPS")
    with pytest.raises(BadItemError, match="not a PNG"):
        decode(postscript)


# --- batches -----------------------------------------------------------------


def files(*contents: bytes) -> np.ndarray:
    array = np.empty((len(contents), 1), dtype=np.object_)
    array[:, 0] = contents
    return array


def middle(pixels: np.ndarray) -> np.ndarray:
    return pixels[pixels.shape[0] // 2, pixels.shape[1] // 2]


def test_every_item_is_decoded_and_given_to_the_function() -> None:
    pictures = (QUARTERS, QUARTERS[::-1], 255 - QUARTERS)
    contents = [encoded(Image.fromarray(rgb), "PNG") for rgb in pictures]
    got = each({"image": files(*contents)}, middle)
    np.testing.assert_array_equal(got, [middle(rgb) for rgb in pictures])
    np.testing.assert_array_equal(each({"pixels": np.stack(pictures)}, middle), got)


@pytest.mark.parametrize(
    "inputs",
    [{}, {"image": files(SOUND["PNG"]), "pixels": QUARTERS[np.newaxis]}],
    ids=["none", "both"],
)
@pytest.mark.parametrize(("mode", "words"), [("L", "grey values"), ("RGB", "RGB values")])
def test_one_of_both_inputs_must_be_given(
    inputs: dict[str, np.ndarray], mode: images.Mode, words: str
) -> None:
    with pytest.raises(BadItemError, match=f"send either `image`.*{words}"):
        each(inputs, middle, mode=mode)


def test_a_bad_item_is_named_by_its_place() -> None:
    with pytest.raises(BadItemError, match=r"^item 1: not a PNG"):
        each({"image": files(SOUND["PNG"], b"text", SOUND["JPEG"])}, middle)


@pytest.mark.parametrize("shape", [(2, 0, 5, 3), (2, 5, 0, 3), (1, 0, 0, 3)])
def test_an_item_without_pixels_is_named(shape: tuple[int, ...]) -> None:
    with pytest.raises(BadItemError, match=r"^item 0: the image has no pixels"):
        each({"pixels": np.zeros(shape, np.uint8)}, middle)

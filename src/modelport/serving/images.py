"""From image files or raw pixels to arrays: the decoding that all image models share.

Whatever a camera, a phone or a drawing program writes comes out as 8-bit grey
or RGB values, upright, transparency on white. What cannot be decoded is a
:class:`BadItemError` with words for its sender.
"""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Callable, Mapping
from typing import Literal, TypeAlias

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from modelport.serving.python_model import BadItemError

Mode: TypeAlias = Literal["L", "RGB"]

# Pillow looks for its file formats when first asked; the first request should not wait for that.
Image.preinit()

# A photograph of a modern phone has 50 million pixels; a decompression bomb has more.
MAX_PIXELS = 64_000_000
# Pillow reads some forty formats more; one of them hands the file to Ghostscript.
_FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM")
_BASE64_PREFIX = b"data:"


def decode(content: bytes, *, mode: Mode = "RGB", least_side: int | None = None) -> np.ndarray:
    """Decode an image file; of an animation, its first picture.

    Args:
        content: a PNG, JPEG, GIF, BMP, WebP, TIFF or PPM file, or the same in base64 (also
            as a ``data:`` URL), which is how an image travels in plain JSON.
        mode: ``"L"`` for grey values, ``"RGB"`` for colours.
        least_side: a JPEG may come out smaller than it is, its sides at least this
            long, which spares the time to decode detail that is thrown away later.

    Returns:
        ``uint8[height, width]`` or ``uint8[height, width, 3]``; rotated as its EXIF
        says, transparency on white.

    Raises:
        BadItemError: not an image, cut short, or larger than ``MAX_PIXELS``.
    """
    content = _unwrapped(content)
    try:
        return np.asarray(_read(content, mode, least_side))
    except UnidentifiedImageError as error:
        raise BadItemError(_not_an_image(content)) from error
    except Image.DecompressionBombError as error:  # Pillow's own limit, at which it does not open
        raise BadItemError(_too_large("far too many pixels")) from error
    except BadItemError:
        raise
    except Exception as error:  # Pillow's parsers raise what they like on a damaged file
        raise BadItemError(f"the image file is damaged: {error}") from error


def each(
    inputs: Mapping[str, np.ndarray],
    function: Callable[[np.ndarray], np.ndarray],
    *,
    mode: Mode = "RGB",
    least_side: int | None = None,
) -> np.ndarray:
    """Preprocess the pictures of a batch one after the other.

    Args:
        inputs: ``image`` bytes[batch, 1], or ``pixels`` uint8[batch, height, width]
            (with a last dimension of 3 where ``mode`` is ``"RGB"``).
        function: takes what :func:`decode` gives; all its answers have one shape.
        mode: see :func:`decode`.
        least_side: see :func:`decode`.

    Returns:
        The function's answers, the batch dimension first.

    Raises:
        BadItemError: both or neither input was given, or an item is no picture, by its number.
    """
    if ("image" in inputs) == ("pixels" in inputs):
        values = "grey values" if mode == "L" else "RGB values"
        raise BadItemError(f"send either `image` (a file's bytes) or `pixels` (uint8 {values})")

    def answer(item: int, given: np.ndarray) -> np.ndarray:
        try:
            coded = "image" in inputs
            pixels = decode(given[0], mode=mode, least_side=least_side) if coded else given
            return function(_not_empty(pixels))
        except BadItemError as error:
            raise BadItemError(str(error), item=item) from error

    # One at a time: a batch of decoded photographs would fill the memory.
    items = inputs["image"] if "image" in inputs else inputs["pixels"]
    return np.stack([answer(item, given) for item, given in enumerate(items)])


def _read(content: bytes, mode: Mode, least_side: int | None) -> Image.Image:
    image = Image.open(io.BytesIO(content), formats=_FORMATS)
    if image.width * image.height > MAX_PIXELS:
        raise BadItemError(_too_large(f"{image.width} × {image.height} pixels"))
    if least_side is not None:
        image.draft(mode, (least_side, least_side))
    return _converted(ImageOps.exif_transpose(image), mode)


def _not_empty(pixels: np.ndarray) -> np.ndarray:
    if pixels.size == 0:
        raise BadItemError(f"the image has no pixels (shape {list(pixels.shape)})")
    return pixels


def _unwrapped(content: bytes) -> bytes:
    """Take base64 off; every image file begins with a byte or a word that base64 text does not."""
    if content.startswith(_BASE64_PREFIX):
        _, _, content = content.partition(b",")
    try:
        return base64.b64decode(b"".join(content.split()), validate=True)
    except (binascii.Error, ValueError):
        return content


def _too_large(has: str) -> str:
    return f"the image has {has}; {MAX_PIXELS:,} pixels is the most"


def _not_an_image(content: bytes) -> str:
    if not content:
        return "the image is empty (0 bytes)"
    begin = content[:8].hex(" ")
    return f"not a PNG, JPEG or other known image file ({len(content)} bytes, begins {begin})"


def _converted(image: Image.Image, mode: Mode) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        image = _eight_bits(image)
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        sheet = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(sheet, image)
    return image.convert(mode)


def _eight_bits(image: Image.Image) -> Image.Image:
    """Scale 16 and 32 bit grey to 8, transparency on white; Pillow's own conversion clips."""
    values = np.asarray(image, dtype=np.float64)
    top = 65535.0 if values.max(initial=0.0) > 255 else 255.0
    grey = np.clip(np.nan_to_num(values) * (255.0 / top), 0, 255).astype(np.uint8)
    grey[values == image.info.get("transparency")] = 255
    return Image.fromarray(grey)

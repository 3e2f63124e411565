"""Values of other packages: Pillow, pandas, polars, torch, and all that speak DLPack.

None of them is imported here. A value is known by the package that its class comes from, so that
the package is loaded already when it matters.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from modelport.client import refusals
from modelport.client.dtypes import DTYPES, Array
from modelport.client.metadata import ModelMetadata, TensorMetadata
from modelport.errors import InvalidInputError

_CPU_DEVICES = (1, 3)  # kDLCPU, kDLCUDAHost: https://dmlc.github.io/dlpack/latest/c_api.html


def plain(value: Any, tensor: TensorMetadata, metadata: ModelMetadata) -> Any:
    """Give what numpy understands for ``value``: an array, ``bytes``, or the value itself.

    Lists are looked at by their first element: a list of images or of torch tensors is a batch.

    Raises:
        InvalidInputError: the value cannot be read, or holds missing values.
    """
    if isinstance(value, (list, tuple)):
        if not value or _reader(value[0]) is None:
            return value
        return _stacked([plain(item, tensor, metadata) for item in value], tensor, metadata)
    reader = _reader(value)
    return value if reader is None else reader(value, tensor, metadata)


def is_frame(value: Any) -> bool:
    """Whether ``value`` is a pandas or polars data frame."""
    return any(
        kind.__module__.partition(".")[0] in ("pandas", "polars")
        and kind.__name__ in ("DataFrame", "LazyFrame")
        for kind in type(value).__mro__
    )


_Reader = Callable[[Any, TensorMetadata, ModelMetadata], Any]


def _reader(value: Any) -> _Reader | None:
    kind = type(value)
    if kind.__module__ == "builtins" or kind is np.ndarray or isinstance(value, np.generic):
        return None
    for base in kind.__mro__:
        reader = _BY_PACKAGE.get(base.__module__.partition(".")[0])
        if reader:
            return reader
    if hasattr(kind, "__array__") or not hasattr(kind, "__dlpack__"):
        return None  # numpy knows, or it is for nobody
    return _from_dlpack


def _stacked(items: list[Any], tensor: TensorMetadata, metadata: ModelMetadata) -> Any:
    if not all(isinstance(item, np.ndarray) for item in items):
        return items
    try:
        return np.stack(items)
    except ValueError as error:
        shapes = ", ".join(str(list(item.shape)) for item in items[:4])
        what = f"is a list of arrays of different shapes: {shapes}"
        raise refusals.refusal(tensor, metadata, what, "make them equal") from error


# --- numpy's own -------------------------------------------------------------


def _from_numpy(value: Any, tensor: TensorMetadata, metadata: ModelMetadata) -> Any:
    if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
        count = int(np.ma.getmaskarray(value).sum())
        what = f"is a masked array with {_count(count)}"
        raise refusals.refusal(tensor, metadata, what, "say what they are: array.filled(…)")
    return np.asarray(value)


# --- files -------------------------------------------------------------------


def _from_path(value: Any, tensor: TensorMetadata, metadata: ModelMetadata) -> bytes:
    if tensor.datatype != "BYTES":
        raise refusals.wrong_datatype(
            tensor, metadata, f"the path {str(value)!r}", "give the array that the file holds"
        )
    try:
        return Path(value).read_bytes()
    except OSError as error:
        what = f"is the file {str(value)!r}, which cannot be read: {error.strerror}"
        raise refusals.refusal(tensor, metadata, what) from error


# --- Pillow ------------------------------------------------------------------

# Modes that can be shown with more channels without losing anything.
_WIDER: Mapping[str, Mapping[int, str]] = {
    "1": {0: "L", 1: "L", 3: "RGB", 4: "RGBA"},
    "L": {3: "RGB", 4: "RGBA"},
    "P": {0: "RGB", 3: "RGB", 4: "RGBA"},
    "RGB": {4: "RGBA"},
}
_IN_PNG = ("1", "L", "LA", "I", "I;16", "P", "RGB", "RGBA")
_HEIGHT_WIDTH_CHANNELS = 3


def _from_image(value: Any, tensor: TensorMetadata, metadata: ModelMetadata) -> Any:
    """Encode the image for a BYTES tensor, and give its pixels for any other."""
    if not isinstance(value, sys.modules["PIL.Image"].Image):
        return value
    try:
        if tensor.datatype == "BYTES":
            return _encoded(value)
        return _pixels(value, tensor.shape[1:] if metadata.batching else tensor.shape)
    except (OSError, ValueError, SyntaxError) as error:  # truncated file; a mode without pixels
        raise refusals.refusal(tensor, metadata, f"is an image that fails: {error}") from error


def _encoded(image: Any) -> bytes:
    """Write an image as PNG, which loses nothing; its orientation (EXIF) goes along."""
    if image.mode not in _IN_PNG:
        image = image.convert("RGB")
    file = io.BytesIO()
    exif = image.info.get("exif")
    options = {"exif": exif} if exif else {}
    image.save(file, format="PNG", compress_level=1, **options)
    return file.getvalue()


def _pixels(image: Any, item: tuple[int, ...]) -> Array:
    """Give the pixels as the tensor's shape wants them: ``[H, W]``, ``[H, W, C]`` or ``[C, H, W]``.

    Only such conversions are made that lose nothing: palettes become colours, and grey becomes
    RGB. Shapes that still differ are refused later, with both shapes.
    """
    first = len(item) == _HEIGHT_WIDTH_CHANNELS and item[0] in (1, 3, 4)
    first = first and item[2] not in (1, 3, 4)
    channels = 0
    if len(item) == _HEIGHT_WIDTH_CHANNELS:
        channels = max(item[0] if first else item[2], 0)
    mode = _WIDER.get(image.mode, {}).get(channels)
    pixels: Array = np.asarray(image.convert(mode) if mode else image)
    if channels == 1 and pixels.ndim == _HEIGHT_WIDTH_CHANNELS - 1:
        pixels = pixels[..., np.newaxis]
    return pixels.transpose(2, 0, 1) if first and pixels.ndim == len(item) else pixels


# --- pandas and polars -------------------------------------------------------


def _from_pandas(value: Any, tensor: TensorMetadata, metadata: ModelMetadata) -> Any:
    if not hasattr(value, "to_numpy"):
        return value
    array: Array = value.to_numpy()
    own = any(not isinstance(dtype, np.dtype) for dtype in np.ravel(getattr(value, "dtypes", ())))
    if own or array.dtype.kind == "O":  # these can have gaps; in numpy's floats NaN is a value
        gaps = np.asarray(value.isna())
        if gaps.any():
            raise _gaps(tensor, metadata, int(gaps.sum()), "fillna")
    if array.dtype.kind == "O" and tensor.datatype != "BYTES":
        return _of_one_kind(value, array, tensor, metadata)
    return array


def _of_one_kind(
    value: Any, array: Array, tensor: TensorMetadata, metadata: ModelMetadata
) -> Array:
    """Make numbers of objects: nullable columns without gaps, and columns of several dtypes."""
    if hasattr(value, "dtypes") and hasattr(value, "columns"):
        kinds = {str(dtype).lower() for dtype in value.dtypes}
        if len(kinds) > 1:
            listed = ", ".join(f"{n} {d}" for n, d in zip(value.columns, value.dtypes, strict=True))
            got = f"columns of different types: {listed}"
            raise refusals.wrong_datatype(tensor, metadata, got, "convert: frame.astype(…)")
    numbers = np.asarray(array.tolist())
    return numbers if numbers.dtype.kind in "biuf" else array


def _from_polars(value: Any, tensor: TensorMetadata, metadata: ModelMetadata) -> Any:
    if not hasattr(value, "to_numpy"):
        lazy = type(value).__name__ == "LazyFrame"
        got = f"a polars {type(value).__name__}"
        raise refusals.wrong_datatype(tensor, metadata, got, "collect() it" if lazy else None)
    counts = value.null_count()
    gaps = counts if isinstance(counts, int) else sum(counts.row(0))
    if gaps:  # numpy would get NaN, and integers would become floats
        raise _gaps(tensor, metadata, gaps, "fill_null")
    return value.to_numpy()


def _gaps(
    tensor: TensorMetadata, metadata: ModelMetadata, count: int, method: str
) -> InvalidInputError:
    hint = f"say what they are, or leave the rows out: {method}(…)"
    return refusals.refusal(tensor, metadata, f"has {_count(count)}", hint)


def _count(gaps: int) -> str:
    return f"{gaps} missing value{'s' if gaps > 1 else ''}"


# --- torch, DLPack -----------------------------------------------------------


def _from_torch(value: Any, tensor: TensorMetadata, metadata: ModelMetadata) -> Any:
    """Give a torch tensor's values, copied only from a GPU; gradients stay behind."""
    torch = sys.modules["torch"]
    if not isinstance(value, torch.Tensor):
        return value
    try:
        if value.dtype is torch.bfloat16:  # numpy has none
            return _from_bfloat16(value, torch)
        return value.numpy(force=True)
    except (TypeError, ValueError, RuntimeError) as error:  # sparse, quantized, on "meta"
        got = f"a torch tensor ({value.dtype}, {value.layout}, on {value.device}): {error}"
        raise refusals.wrong_datatype(tensor, metadata, got, "make it dense numbers") from error


def _from_bfloat16(value: Any, torch: Any) -> Array:
    if DTYPES["BF16"] == np.float32:  # no ml_dtypes here, and tritonclient wants float32 then
        wide: Array = value.float().numpy(force=True)
        return wide
    bits = value.detach().contiguous().view(torch.int16).numpy(force=True)
    array: Array = bits.view(DTYPES["BF16"])
    return array


def _from_dlpack(value: Any, tensor: TensorMetadata, metadata: ModelMetadata) -> Any:
    try:
        if int(value.__dlpack_device__()[0]) in _CPU_DEVICES:
            return np.from_dlpack(value)
        return np.from_dlpack(value, device="cpu", copy=True)
    except (BufferError, RuntimeError, TypeError, ValueError) as error:
        what = f"is a {type(value).__name__} that gives no array through DLPack: {error}"
        raise refusals.refusal(tensor, metadata, what, "copy it to the CPU, or to numpy") from error


_BY_PACKAGE: Mapping[str, _Reader] = {
    "PIL": _from_image,
    "numpy": _from_numpy,
    "pandas": _from_pandas,
    "pathlib": _from_path,
    "polars": _from_polars,
    "torch": _from_torch,
}

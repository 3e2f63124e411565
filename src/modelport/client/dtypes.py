"""The datatypes of the protocol as numpy knows them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]


def _bfloat16() -> np.dtype[Any]:
    """Give ml_dtypes' bfloat16: numpy has none.

    A tritonclient that does without ml_dtypes takes and gives float32 instead.
    """
    try:
        from ml_dtypes import bfloat16
    except ModuleNotFoundError:
        return np.dtype(np.float32)
    dtype: np.dtype[Any] = np.dtype(bfloat16)
    return dtype


# Names of the V2 protocol: https://github.com/kserve/open-inference-protocol
DTYPES: Mapping[str, np.dtype[Any]] = {
    "BOOL": np.dtype(np.bool_),
    "UINT8": np.dtype(np.uint8),
    "UINT16": np.dtype(np.uint16),
    "UINT32": np.dtype(np.uint32),
    "UINT64": np.dtype(np.uint64),
    "INT8": np.dtype(np.int8),
    "INT16": np.dtype(np.int16),
    "INT32": np.dtype(np.int32),
    "INT64": np.dtype(np.int64),
    "FP16": np.dtype(np.float16),
    "FP32": np.dtype(np.float32),
    "FP64": np.dtype(np.float64),
    "BF16": _bfloat16(),
    "BYTES": np.dtype(np.object_),
}

# Without ml_dtypes BF16 and FP32 have the same dtype, which is FP32 to those who read its name.
_NAMES = {DTYPES[name]: name for name in reversed(tuple(DTYPES)) if name != "BYTES"}


def name_of(dtype: np.dtype[Any]) -> str:
    """Name a numpy dtype as the protocol does, where it can: ``FP32 (float32)``."""
    if dtype.kind in "SUT":
        return f"{dtype} (text)"
    name = _NAMES.get(dtype)
    return f"{name} ({dtype})" if name else str(dtype)

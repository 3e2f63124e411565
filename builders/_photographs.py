"""Photographs, and how the models that look at them take theirs."""

from __future__ import annotations

from modelport.spec import Source, Tensor

PHOTOGRAPHS = Source(
    package="scikit-image",
    version="0.25.2",
    sha256="24cc986e1f4187a12aa319f777b36008764e856e5013666a4a83f8df083c2641",
    member="skimage/data",
    licence="public domain and CC0 photographs, packaged by scikit-image, BSD-3-Clause",
    wheel="cp311-cp311-manylinux_2_17_x86_64",
)

IMAGE = (
    Tensor("image", "BYTES", (1,), optional=True, doc="an image file's bytes, or its base64 text"),
    Tensor("pixels", "UINT8", (-1, -1, 3), optional=True, doc="RGB [height, width, 3], any size"),
)

"""Photographs, as the models that look at them share them."""

from __future__ import annotations

from modelport.spec import Source

PHOTOGRAPHS = Source(
    package="scikit-image",
    version="0.25.2",
    sha256="24cc986e1f4187a12aa319f777b36008764e856e5013666a4a83f8df083c2641",
    member="skimage/data",
    licence="public domain and CC0 photographs, packaged by scikit-image, BSD-3-Clause",
    wheel="cp311-cp311-manylinux_2_17_x86_64",
)

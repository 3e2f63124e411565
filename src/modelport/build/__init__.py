"""The pipeline from a builder file to a published version, and what builder files import."""

import os

from modelport.build.dataset import Dataset, Split
from modelport.build.own import own_data

# From 1.29 on ONNX Runtime reports what it runs to its maker, unless this is there first.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__all__ = ["Dataset", "Split", "own_data"]

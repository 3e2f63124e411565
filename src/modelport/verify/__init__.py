"""Proof that a model answers as its reference does: in this process, and through the server."""

import os

from modelport.verify.cases import largest_batch, requests
from modelport.verify.parity import Comparison, Parity, compare

# From 1.29 on ONNX Runtime reports what it runs to its maker, unless this is there first.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

__all__ = ["Comparison", "Parity", "compare", "largest_batch", "requests"]

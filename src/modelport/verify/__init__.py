"""Proof that a model answers as its reference does: in this process, and through the server."""

from modelport.verify.cases import largest_batch, requests
from modelport.verify.parity import Comparison, Parity, compare

__all__ = ["Comparison", "Parity", "compare", "largest_batch", "requests"]

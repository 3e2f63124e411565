"""The pipeline from a builder file to a published version, and what builder files import."""

from modelport.build.dataset import Dataset, Split
from modelport.build.own import own_data

__all__ = ["Dataset", "Split", "own_data"]

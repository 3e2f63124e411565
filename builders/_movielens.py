"""Where ratings come from, and how the models that learn from them see them."""

from __future__ import annotations

from modelport.spec import Source, Tensor

MOVIELENS_100K = Source(
    package="recbole",
    version="1.2.1",
    sha256="9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407",
    member="recbole/dataset_example/ml-100k",
    licence="MovieLens 100K (GroupLens, University of Minnesota; Harper & Konstan 2015): for"
    " research; not to be redistributed nor used commercially without permission. Packaged by"
    " RecBole, MIT",
)

COUNT = Tensor("count", "INT32", (1,), optional=True, doc="how many, 1 to 100; 10 where left out")
ITEMS = Tensor("items", "BYTES", (-1,), doc="names of the items, the best first")
TITLES = Tensor("titles", "BYTES", (-1,), doc="of the items, UTF-8")

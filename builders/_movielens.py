"""Where the ratings of the models that recommend come from."""

from __future__ import annotations

from modelport.spec import Source

MOVIELENS_100K = Source(
    package="recbole",
    version="1.2.1",
    sha256="9c9948202011f37eb0a7c6768129313f00d6403ad221ec940d5e2d5d5f33a407",
    member="recbole/dataset_example/ml-100k",
    licence="MovieLens 100K (GroupLens, University of Minnesota; Harper & Konstan 2015): for"
    " research; not to be redistributed nor used commercially without permission. Packaged by"
    " RecBole, MIT",
)

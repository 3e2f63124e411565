"""What else the same people rated: item-item cosine similarity as a model, nothing learned."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from _movielens import MOVIELENS_100K
from torch import nn

from modelport import spec
from modelport.families import interactions
from modelport.families.recommenders import COUNT, ITEMS, TITLES, catalogue
from modelport.serving import recommendation
from modelport.spec import PythonModel, Sample, Tensor, TorchModel


class Cosine(nn.Module):
    """The similarities of all items, ordered once and looked up: int64[batch, 1] to [batch, 100].

    Row 0 is that of no item.
    """

    cosines: torch.Tensor
    neighbours: torch.Tensor

    def __init__(self, similarity: np.ndarray) -> None:
        super().__init__()
        # An item is not similar to itself but the same.
        np.fill_diagonal(similarity, 0)
        # A stable order: of equal cosines, the lower number comes first.
        order = np.argsort(-similarity, axis=1, kind="stable")[:, : recommendation.MOST]
        cosines = np.take_along_axis(similarity, order, axis=1)
        numbers = np.where(cosines > 0, order + 1, 0)
        for name, table in (("cosines", cosines), ("neighbours", numbers)):
            kind = np.float32 if name == "cosines" else np.int64
            missing = recommendation.MOST - table.shape[1]
            padded = np.pad(table, [(1, 0), (0, missing)]).astype(kind)
            self.register_buffer(name, torch.from_numpy(padded))

    def forward(self, number: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Give numbers and cosines of the most similar items; number 0 from cosine 0 on."""
        row = number.squeeze(1)
        return self.neighbours[row], self.cosines[row]


def network(ratings: Path) -> nn.Module:
    """Count who rated what, all ratings alike."""
    return Cosine(interactions.cosine(interactions.read(ratings).matrix()))


def tables(ratings: Path) -> dict[str, bytes]:
    """Make what lies beside model.py: names and titles."""
    return catalogue(interactions.read(ratings))


def numbers(ratings: Path) -> list[Sample]:
    """Take items from all over the catalogue, rated by many and by few."""
    count = len(interactions.read(ratings).items)
    chosen = np.linspace(1, count, min(count, 40)).astype(np.int64)
    return [Sample({"number": np.array([number])}) for number in chosen]


def requests(ratings: Path) -> list[Sample]:
    """Ask for the most rated items and for the least rated."""
    found = interactions.read(ratings)
    order = np.argsort(-found.matrix().sum(axis=0), kind="stable")
    chosen = [*order[:3], *order[-3:]]
    return [
        Sample(
            {"item": np.array([found.items[item].encode()], np.object_)}
            | ({} if place < 2 else {"count": np.array([place * 20], np.int32)}),
            title=f"what goes with {found.titles[item]}" if place < 2 else "",
        )
        for place, item in enumerate(chosen)
    ]


models = (
    TorchModel(
        name="similar_items_cosine",
        doc="Number of an item to the 100 most similar.",
        inputs=(Tensor("number", "INT64", (1,), doc="of an item, from 1"),),
        outputs=(
            Tensor("neighbours", "INT64", (100,), doc="numbers, the best first, 0 for none"),
            Tensor("cosines", "FP32", (100,), doc="0 to 1"),
        ),
        network=network,
        sources=(MOVIELENS_100K,),
        samples=numbers,
    ),
    PythonModel(
        name="similar_items",
        doc="Items that the same people rated, by cosine similarity.",
        inputs=spec.described(
            (Tensor("item", "BYTES", (1,), doc="name of an item", content="text"), COUNT),
            count={"minimum": 1.0, "maximum": 100.0},
        ),
        outputs=(
            *spec.described((ITEMS, TITLES), items="text", titles="text"),
            Tensor("cosines", "FP32", (-1,), doc="1 for all the same", minimum=0.0, maximum=1.0),
        ),
        load=recommendation.SimilarItems.from_folder,
        files=tables,
        calls=("similar_items_cosine",),
        # Not cached, often as the same is asked: Triton 2.51 keeps refusals of Python models too,
        # and gives them as successes without outputs the next time.
        sources=(MOVIELENS_100K,),
        samples=requests,
        limits=(
            "Items that few people rated are like others by chance: two people make a cosine of 1.",
            "Any rating counts, bad ones too: it tells what is watched together.",
        ),
    ),
)

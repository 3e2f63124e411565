"""Vectors of texts: against Hugging Face's own network, and figures with known values."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from modelport.build import Dataset
from modelport.build.dataset import Split
from modelport.errors import DataError
from modelport.families import embeddings, texts
from modelport.serving.text import Tokens

TINY: dict[str, Any] = {
    "vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2,
    "intermediate_size": 24, "max_position_embeddings": 32,
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny BERT as Hugging Face keeps it, its weights drawn."""
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("bert")
    BertModel(BertConfig(**TINY)).save_pretrained(path)
    return path


def drawn(lengths: list[int]) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(0)
    mask = (np.arange(max(lengths)) < np.array(lengths)[:, np.newaxis]).astype(np.int64)
    return random.integers(1, 50, mask.shape) * mask, mask


@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_a_text_is_encoded_as_by_the_library_alone(folder: Path, pooling: Any) -> None:
    from transformers import BertModel

    encoder = embeddings.SentenceEncoder(folder, pooling).eval()
    library = BertModel.from_pretrained(folder).eval()
    lengths = [3, 9, 1, 20]
    ids, mask = drawn(lengths)
    vectors = encoder(torch.from_numpy(ids), torch.from_numpy(mask))
    for index, length in enumerate(lengths):
        states = library(torch.from_numpy(ids[index : index + 1, :length])).last_hidden_state[0]
        expected = states.mean(0) if pooling == "mean" else states[0]
        torch.testing.assert_close(vectors[index], expected / expected.norm())


def test_many_texts_come_back_in_their_order(folder: Path) -> None:
    encoder = embeddings.SentenceEncoder(folder).eval()
    ids, mask = drawn([1 + (7 * i) % 23 for i in range(150)])
    vectors = embeddings.encode(encoder, ids, mask)
    with torch.inference_mode():
        whole = encoder(torch.from_numpy(ids), torch.from_numpy(mask)).numpy()
    np.testing.assert_allclose(vectors, whole, atol=1e-6)


@pytest.mark.parametrize(
    ("config", "words"),
    [(None, r"no config\.json"), ({"model_type": "t5"}, "of type 't5'")],
    ids=["no folder of a model", "another network"],
)
def test_what_is_no_bert_is_refused(
    tmp_path: Path, config: dict[str, str] | None, words: str
) -> None:
    if config:
        (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(DataError, match=words):
        embeddings.SentenceEncoder(tmp_path)


class Bag(torch.nn.Module):
    """Counts of words, as vectors of length 1."""

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        counts = torch.zeros(len(ids), 50).scatter_add_(1, ids, mask.float())
        return torch.nn.functional.normalize(counts, dim=1)


def test_pairs_that_share_their_words_are_found_by_either_way() -> None:
    kinds = np.tile(["shoes", "hats"], 100)
    places = [f"shelf{i // 20} box{i % 20}" for i in range(200)]
    asked = [f"{kind} on {place}" for kind, place in zip(kinds, places, strict=True)]
    given = [f"{text}, as all {text.split()[0]} are" for text in asked]
    both = {"asked": asked, "given": given}
    columns = {side: np.array(lines, object)[:, np.newaxis] for side, lines in both.items()}
    pairs = embeddings.Pairs("asked", "given", few=3, nearest=2)
    tokens = Tokens(texts.word_tokenizer(asked + given, words=50, longest=12))
    dataset = pairs.tokenized(Dataset.split(columns, kinds, test=0.4), tokens)
    names = {"accuracy_of_3_labels", "recall_at_2", "recall_at_1", "reciprocal_rank"}
    for figures in (pairs.measure(Bag(), dataset), pairs.tfidf(dataset)):
        assert set(figures) == names
        assert figures["accuracy_of_3_labels"] > 0.9
        assert figures["reciprocal_rank"] > 0.5
    alone = list(pairs.calibration(dataset.test))
    assert len(alone) == len(dataset.test)
    assert {item["input_ids"].shape for item in alone} == {(1, 9)}
    assert all(item["attention_mask"].all() for item in alone)
    sides = {name: array[::-1] for name, array in dataset.test.inputs.items() if "given" in name}
    mixed = Split({**dataset.test.inputs, **sides}, dataset.test.targets)
    others = replace(dataset, test=mixed)
    for figures in (pairs.measure(Bag(), others), pairs.tfidf(others)):
        assert figures["reciprocal_rank"] < 0.2


def test_recall_of_a_known_order() -> None:
    answers = np.eye(4)
    queries = np.array([[1, 0, 0, 0], [0.9, 0.1, 0, 0], [0.5, 0.4, 0.3, 0], [0.4, 0.3, 0.2, 0.1]])
    figures = embeddings.recall_at(queries, answers, 2)
    assert figures == {
        "recall_at_2": 0.5,
        "recall_at_1": 0.25,
        "reciprocal_rank": pytest.approx((1 + 1 / 2 + 1 / 3 + 1 / 4) / 4),
    }


def test_equal_vectors_are_no_find() -> None:
    same = np.ones((5, 3))
    assert embeddings.recall_at(same, same, 4)["recall_at_4"] == 0


def test_few_labels_are_enough_where_classes_lie_apart_and_none_where_they_do_not() -> None:
    random = np.random.default_rng(0)
    classes = np.repeat(["red", "green", "rare"], [60, 60, 5])
    apart = random.normal(size=(125, 6)) + 8 * (classes == "red")[:, np.newaxis]
    assert embeddings.few_labels(apart, classes, 4) == pytest.approx(1, abs=0.02)
    noise = random.normal(size=(125, 6))
    assert embeddings.few_labels(noise, classes, 4) == pytest.approx(0.5, abs=0.1)

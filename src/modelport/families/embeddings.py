"""Vectors of texts: a pretrained encoder, what its vectors are worth, and TF-IDF beside them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import nn

from modelport.build.dataset import Arrays, Dataset, Split
from modelport.errors import DataError
from modelport.families import padding
from modelport.serving.text import Tokens

# Texts that are encoded at once.
_BATCH = 32
# Draws of the few examples: one draw is luck.
_DRAWS = 20


class SentenceEncoder(nn.Module):
    """A pretrained BERT, its states over a text's tokens made one vector of length 1.

    Sentence-BERT's networks are such (Reimers & Gurevych 2019, arXiv:1908.10084).

    Args:
        folder: of a BERT encoder as Hugging Face keeps it.
        pooling: how it was trained: with the mean of the states, or the first one's, of [CLS].

    Raises:
        DataError: the folder has no ``config.json``, or holds another kind of network.
    """

    def __init__(self, folder: Path, pooling: Literal["mean", "cls"] = "mean") -> None:
        super().__init__()
        # Takes seconds to import, which a build with nothing to do should not pay.
        from transformers import BertModel, logging

        _check(folder)
        logging.set_verbosity_error()  # type: ignore[no-untyped-call]
        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        # Eager attention is a fifth faster in ONNX Runtime on CPUs than what SDPA exports to.
        self.bert = BertModel.from_pretrained(
            folder, attn_implementation="eager", add_pooling_layer=False
        )
        self._pooling = pooling

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Encode texts: int64[batch, length] twice to float32[batch, size]."""
        states = self.bert(ids, mask).last_hidden_state
        pooled = padding.mean(states, mask) if self._pooling == "mean" else states[:, 0]
        return nn.functional.normalize(pooled, dim=1)


def _check(folder: Path) -> None:
    path = folder / "config.json"
    kind = json.loads(path.read_text("utf-8")).get("model_type") if path.is_file() else None
    if kind != "bert":
        found = f"it holds a model of type {kind!r}" if kind else "there is no config.json"
        raise DataError(
            f"{folder}: is no BERT: {found}",
            cause="expected is the folder of a BERT encoder as Hugging Face keeps it",
            next_step="give a folder with config.json, tokenizer.json and model.safetensors",
            path=folder,
        )


def encode(encoder: nn.Module, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Encode texts, some at a time, each batch as long as its longest.

    Args:
        encoder: takes ids and mask.
        ids: int64[texts, length].
        mask: int64[texts, length], 1 on tokens and 0 on padding.

    Returns:
        float32[texts, size].
    """
    by_length = np.argsort(mask.sum(axis=1), kind="stable")
    batches = np.array_split(by_length, max(1, len(ids) // _BATCH))
    made = []
    with torch.inference_mode():
        for some in batches:
            longest = int(mask[some].sum(axis=1).max())
            batch = (torch.from_numpy(array[some, :longest]) for array in (ids, mask))
            made.append(encoder(*batch).numpy())
    vectors: np.ndarray = np.concatenate(made)[np.argsort(by_length)]
    return vectors


@dataclass(frozen=True)
class Pairs:
    """What vectors are worth, measured on pairs of texts, each of some kind (the target).

    Two things are asked: to tell the kind of an answer after a few labelled examples, for which
    the meaning counts; and to find the answer that belongs to a query among all of them, which
    is the home ground of shared words where one quotes the other.

    Args:
        query: name of the input with one side, str[pairs, 1].
        answer: name of the input with the other side.
        few: labelled examples of each kind.
        nearest: how many of the nearest answers count as found.
    """

    query: str
    answer: str
    few: int = 8
    nearest: int = 10

    def tokenized(self, dataset: Dataset, tokens: Tokens) -> Dataset:
        """Add the tokens of both sides, as ``<side>_ids`` and ``<side>_mask``."""

        def added(inputs: Arrays) -> Arrays:
            made = dict(inputs)
            for side in (self.query, self.answer):
                ids, mask = tokens.encode(list(inputs[side][:, 0]))
                made |= {f"{side}_ids": ids, f"{side}_mask": mask}
            return made

        return dataset.map(added)

    def calibration(self, split: Split) -> Iterator[Arrays]:
        """Give the answers of a split as a server gets them, one by one: a ``calibration``.

        Not the queries: two people may well give one title to what they wrote, and no item of
        the test split may be among those of the training split.

        Args:
            split: of :meth:`tokenized`.

        Yields:
            ``input_ids`` and ``attention_mask``, int64[1, length], without the padding that the
            longest text of the split brought.
        """
        names = (f"{self.answer}_ids", f"{self.answer}_mask")
        for ids, mask in zip(*(split.inputs[name] for name in names), strict=True):
            length = int(mask.sum())
            yield {
                "input_ids": ids[np.newaxis, :length],
                "attention_mask": mask[np.newaxis, :length],
            }

    def measure(self, encoder: nn.Module, dataset: Dataset) -> Mapping[str, float]:
        """Give the figures of an encoder's vectors: a declaration's ``measure``.

        Args:
            encoder: takes token numbers and mask, gives unit vectors.
            dataset: of :meth:`tokenized`; the test split is measured.
        """
        test = dataset.test.inputs
        queries, answers = (
            encode(encoder, test[f"{side}_ids"], test[f"{side}_mask"])
            for side in (self.query, self.answer)
        )
        return self._figures(queries, answers, dataset.test.targets)

    def tfidf(self, dataset: Dataset) -> Mapping[str, float]:
        """Give the same of TF-IDF, learned from the training split: a method to beat."""
        train, test = dataset.train.inputs, dataset.test.inputs
        corpus = [*train[self.query][:, 0], *train[self.answer][:, 0]]
        sides = (test[self.query][:, 0], test[self.answer][:, 0])
        queries, answers = tfidf_vectors(corpus, *sides)
        return self._figures(queries, answers, dataset.test.targets)

    def _figures(
        self, queries: np.ndarray, answers: np.ndarray, kinds: np.ndarray
    ) -> Mapping[str, float]:
        learned = few_labels(answers, kinds, self.few)
        found = recall_at(queries, answers, self.nearest)
        return {f"accuracy_of_{self.few}_labels": learned} | found


def tfidf_vectors(corpus: Iterable[str], *batches: Iterable[str]) -> list[np.ndarray]:
    """Give unit vectors of texts, float64[texts, words], weighted by TF-IDF over ``corpus``."""
    from sklearn.feature_extraction.text import TfidfVectorizer

    vectorizer = TfidfVectorizer(sublinear_tf=True).fit(corpus)
    return [vectorizer.transform(batch).toarray() for batch in batches]


def recall_at(queries: np.ndarray, answers: np.ndarray, most: int) -> dict[str, float]:
    """Say how often the right answer is among the nearest ones.

    Args:
        queries: unit vectors, float[pairs, size].
        answers: unit vectors, of that shape: the answer to query i is answer i.
        most: how many of the nearest count.

    Returns:
        ``recall_at_<most>``, ``recall_at_1`` and ``reciprocal_rank`` (the mean of 1/rank).
    """
    similarity = queries @ answers.T
    right = np.diagonal(similarity)[:, np.newaxis]
    # Ties count against the query: equal vectors must not look like a find.
    ranks = (similarity >= right).sum(axis=1)
    return {
        f"recall_at_{most}": float((ranks <= most).mean()),
        "recall_at_1": float((ranks == 1).mean()),
        "reciprocal_rank": float((1 / ranks).mean()),
    }


def few_labels(vectors: np.ndarray, classes: np.ndarray, few: int) -> float:
    """Say how well classes are told apart after a few labelled examples of each.

    Logistic regression learns from ``few`` items a class and answers all others; the
    figure is the share of right answers, averaged over classes and over 20 draws.

    Args:
        vectors: float[items, size].
        classes: of each item; those with fewer than ``5 * few`` items are left out.
        few: examples of each class.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import balanced_accuracy_score

    names, counts = np.unique(classes, return_counts=True)
    names = names[counts >= 5 * few]
    kept = np.isin(classes, names)
    vectors, classes = vectors[kept], classes[kept]
    random = np.random.default_rng(0)
    shares = []
    for _ in range(_DRAWS):
        sides = (np.flatnonzero(classes == name) for name in names)
        known = np.concatenate([random.choice(side, few, replace=False) for side in sides])
        asked = np.setdiff1d(np.arange(len(classes)), known)
        model = LogisticRegression(C=10, max_iter=1000).fit(vectors[known], classes[known])
        shares.append(balanced_accuracy_score(classes[asked], model.predict(vectors[asked])))
    return float(np.mean(shares))

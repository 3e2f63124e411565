"""Sentiment: two LSTM layers on customers' reviews of clothes, asked with any text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from _reviews import REVIEWS
from torch import nn

from modelport.build import Dataset, tables
from modelport.errors import DataError
from modelport.families import classification, texts
from modelport.serving import classes
from modelport.serving.text import FILE_NAME, Tokens, answers
from modelport.spec import (
    Ensemble,
    Gate,
    ModelDynamicBatching,
    PythonModel,
    Sample,
    Serving,
    Step,
    Tensor,
    Tolerance,
    TorchModel,
    Training,
)

LABELS = ("negative", "positive")
COLUMNS = {"Title": str, "Review Text": str, "Rating": float}
WORDS, VECTOR, HIDDEN = 8000, 100, 128
# Four times the longest review of the data; of a longer text its first 512 words are read.
LONGEST = 512
# Requests share an execution only where their lengths are equal (Triton joins no ragged ones
# unless it is given their offsets). Multiples of 16 leave 32 lengths instead of 512. Of a text of
# 60 words that costs 4 steps, 7 % of the time; eight that meet take 36 % less time than alone.
MULTIPLE = 16
# Words that training sees of a review at once, at a random place: half the time of an epoch.
WINDOW = 64


BATCHING = ModelDynamicBatching(max_queue_delay_microseconds=100)


class SentimentLSTM(nn.Module):
    """Word vectors, two LSTM layers, and their mean and maximum over the words of a text.

    Padding follows the text and the LSTM reads forward, so what it says of the words
    before is not touched; the mean and the maximum leave the padding out.
    """

    def __init__(self, vectors: torch.Tensor) -> None:
        super().__init__()
        self.vectors = nn.Embedding(len(vectors), VECTOR, _weight=vectors)
        self.lstm = nn.LSTM(VECTOR, HIDDEN, 2, batch_first=True, dropout=0.3)
        self.drop = nn.Dropout(0.3)
        self.scores = nn.Linear(2 * HIDDEN, len(LABELS))

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Score texts: int64[batch, length] twice to float32[batch, 2]."""
        if self.training:
            ids, mask = _windows(ids, mask)
        real = mask.unsqueeze(-1).bool()
        states, _ = self.lstm(self.drop(self.vectors(ids)))
        mean = (states * real).sum(1) / real.sum(1).clamp(min=1)
        # States lie between -1 and 1.
        highest = torch.where(real, states, -1.0).amax(1)
        scores: torch.Tensor = self.scores(self.drop(torch.cat([mean, highest], 1)))
        return scores


def _windows(ids: torch.Tensor, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Take a window of each text at random, and make one word in ten unknown."""
    lengths = mask.sum(1)
    starts = (torch.rand(len(lengths)) * (lengths - WINDOW + 1).clamp(min=1)).long()
    places = starts[:, None] + torch.arange(WINDOW)
    inside = (places < lengths[:, None]).long()
    ids = ids.gather(1, places.clamp(max=ids.shape[1] - 1))
    # 1 is the number of the unknown word: each word must be missable, as it is in other texts.
    return torch.where(torch.rand(ids.shape) < 0.1, 1, ids), inside


@lru_cache
def reviews(table: Path) -> tuple[Dataset, np.ndarray]:
    """Read the reviews: as many of 3 stars and less as of 5, split; and all others, unlabelled.

    No text is there twice, so none lies on both sides of the split.
    """
    columns = tables.read(table, COLUMNS)
    folded = [text.casefold().strip() for text in columns["Review Text"]]
    keys, first = np.unique(folded, return_index=True)
    first = np.sort(first[keys != ""])
    title, text, stars = (columns[name][first] for name in COLUMNS)
    whole = np.where(title == "", text, title + ". " + text)[:, np.newaxis]
    bad, good = np.flatnonzero(stars <= 3), np.flatnonzero(stars == 5)
    count = min(len(bad), len(good))
    if count < 100:
        raise DataError(
            f"{table}: {len(bad)} reviews have a rating of 3 or less and {len(good)} one of 5;"
            " at least 100 of each are needed",
            cause="ratings are expected as stars, 1 to 5",
            next_step="bring the column 'Rating' to 1 to 5, or give more reviews",
        )
    random = np.random.default_rng(0)
    chosen = np.concatenate([random.choice(side, count, replace=False) for side in (bad, good)])
    others = np.setdiff1d(np.arange(len(whole)), chosen)
    targets = (stars[chosen] == 5).astype(np.int64)
    return Dataset.split({"text": whole[chosen]}, targets), whole[others, 0]


@lru_cache
def tokens(table: Path) -> Tokens:
    """Make the tokenizer, from reviews that are not tested on."""
    split, others = reviews(table)
    corpus = [*split.train.inputs["text"].ravel(), *others]
    return Tokens(texts.word_tokenizer(corpus, words=WORDS, longest=LONGEST, multiple_of=MULTIPLE))


def dataset(table: Path) -> Dataset:
    """Turn the reviews into tokens as the server does; the texts stay for the baseline."""
    return reviews(table)[0].map(lambda inputs: {**inputs, **tokens(table)(inputs)})


def network(table: Path) -> nn.Module:
    """Make the network, its word vectors learned from reviews that are not tested on."""
    split, others = reviews(table)
    words = tokens(table)
    ids, mask = words.encode([*split.train.inputs["text"].ravel(), *others])
    vectors = texts.word_vectors(ids, mask, words=words.size, size=VECTOR)
    return SentimentLSTM(torch.from_numpy(vectors * 0.3))


def files(table: Path) -> Mapping[str, bytes]:
    """Give the tokenizer as it lies in the version folder."""
    return {FILE_NAME: tokens(table).tokenizer.to_str(pretty=True).encode()}


def questions(table: Path) -> Sequence[Sample]:
    """Ask of made-up sentences, of reviews of the test split, and of what is no review."""
    test = reviews(table)[0].test
    said = {
        "I love this dress, it fits perfectly and I get compliments every time.": "positive",
        "Fell apart after one wash. Cheap fabric, I returned it.": "negative",
    }
    asked = [_question(text, title="a customer's words", label=said[text]) for text in said]
    asked += [_question(text) for text in test.inputs["text"][:6, 0]]
    odd = ("Réturnêd ｉｔ 😡", "日本語のレビュー", "👍👍👍", "?", "word " * 10_000)
    return asked + [_question(text) for text in odd]


def _question(text: str, *, title: str = "", label: str = "") -> Sample:
    truth = {"label": answers([label])[0]} if label else {}
    return Sample({"text": answers([text])[0]}, title=title, truth=truth)


def token_rows(table: Path) -> Sequence[Sample]:
    """Give texts of several lengths as tokens, alone and with padding to spare."""
    rows = []
    for place, text in enumerate(reviews(table)[0].test.inputs["text"][:8, 0]):
        ids, mask = tokens(table).encode([text])
        spare = MULTIPLE * (place % 3)
        ids, mask = (np.pad(array[0], (0, spare)) for array in (ids, mask))
        rows.append(Sample({"input_ids": ids, "attention_mask": mask}))
    return rows


TEXT = Tensor("text", "BYTES", (1,), doc="UTF-8; its first 512 words and marks are read")
IDS = Tensor("input_ids", "INT64", (-1,), doc="numbers of the words, padded with 0")
MASK = Tensor("attention_mask", "INT64", (-1,), doc="1 on words, 0 on padding")
LOGITS = Tensor("logits", "FP32", (2,), labels=LABELS)
ANSWER = (
    Tensor("label", "BYTES", (1,), doc="'negative' or 'positive'"),
    Tensor("probability", "FP32", (1,), doc="of the label, 0.5 to 1"),
    Tensor("scores", "FP32", (2,), labels=LABELS, doc="probability of each label"),
)

models = (
    PythonModel(
        name="sentiment_tokens",
        doc="A text to the numbers of its words.",
        inputs=(TEXT,),
        outputs=(IDS, MASK),
        load=Tokens.from_folder,
        files=files,
        sources=(REVIEWS,),
        samples=questions,
    ),
    TorchModel(
        name="sentiment_lstm",
        doc="Two LSTM layers that score a text's words.",
        inputs=(IDS, MASK),
        outputs=(LOGITS,),
        serving=Serving(dynamic_batching=BATCHING),
        network=network,
        data=dataset,
        sources=(REVIEWS,),
        samples=token_rows,
        training=Training(
            epochs=6, patience=3, learning_rate=4e-3, weight_decay=1e-2, label_smoothing=0.05
        ),
        baselines={"TF-IDF and logistic regression": texts.tfidf_classifier},
        gates=(Gate("accuracy", at_least=0.89, on=REVIEWS),),
        # 512 steps of float32 sums in another order.
        tolerance=Tolerance(absolute=1e-4, relative=1e-4),
    ),
    PythonModel(
        name="sentiment_label",
        doc="Scores to a label and probabilities.",
        inputs=(LOGITS,),
        outputs=ANSWER,
        reference=classes.Softmax(LABELS, scores="logits"),
        samples=classification.scores(len(LABELS)),
    ),
    Ensemble(
        name="sentiment",
        doc="Says whether a text is positive or negative, and how sure that is.",
        limits=(
            "Trained on English reviews of women's clothes: elsewhere it knows fewer words.",
            "A text in another language is answered, near 0.5, from the marks and words it shares.",
            "Negation within a short sentence ('not bad at all') is often taken word by word.",
        ),
        inputs=(TEXT,),
        outputs=ANSWER,
        steps=(
            Step.same("sentiment_tokens", (TEXT,), (IDS, MASK)),
            Step.same("sentiment_lstm", (IDS, MASK), (LOGITS,)),
            Step.same("sentiment_label", (LOGITS,), ANSWER),
        ),
        sources=(REVIEWS,),
        samples=questions,
        tolerance=Tolerance(absolute=1e-4, relative=1e-3),
    ),
)

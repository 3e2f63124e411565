"""Sentiment: two LSTM layers on customers' reviews of clothes, asked with any text."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch
from _reviews import COLUMNS, REVIEWS
from torch import nn

from modelport import spec
from modelport.families import classification, corpora, padding, reviews, texts
from modelport.serving import classes, text

LABELS = ("negative", "positive")
VECTOR, HIDDEN = 100, 128
CORPUS = corpora.Corpus(
    partial(reviews.rated, **COLUMNS, rating="Rating", negative=3, positive=5),
    words=8000,
    # Four times the longest review of the data; of a longer text its first 512 words are read.
    longest=512,
    # Requests share an execution only where their lengths are equal (Triton joins no ragged ones
    # unless it is given their offsets). Multiples of 16 leave 32 lengths instead of 512. Of 60
    # words that costs 4 steps, 7 % of the time; eight texts that meet take 36 % less than alone.
    multiple_of=16,
)


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
            # 64 words at once, at a random place: half the time of an epoch.
            ids, mask = padding.windows(ids, mask, length=64, hidden=0.1)
        states, _ = self.lstm(self.drop(self.vectors(ids)))
        scores: torch.Tensor = self.scores(self.drop(padding.mean_and_maximum(states, mask)))
        return scores


def network(table: Path) -> nn.Module:
    """Make the network, its word vectors learned from reviews that are not tested on."""
    return SentimentLSTM(torch.from_numpy(CORPUS.vectors(table, VECTOR) * 0.3))


TEXT = spec.Tensor("text", "BYTES", (1,), doc="UTF-8; its first 512 words and marks are read")
TOKENS = corpora.tensors("words")
LOGITS = spec.Tensor("logits", "FP32", (2,), labels=LABELS)
BATCHING = spec.ModelDynamicBatching(max_queue_delay_microseconds=100)

tokens = spec.PythonModel(
    name="sentiment_tokens",
    doc="A text to the numbers of its words.",
    inputs=(TEXT,),
    outputs=TOKENS,
    load=text.Tokens.from_folder,
    files=CORPUS.files,
    sources=(REVIEWS,),
    samples=CORPUS.questions(
        {
            "I love this dress, it fits perfectly and I get compliments every time.": "positive",
            "Fell apart after one wash. Cheap fabric, I returned it.": "negative",
        },
        title="a customer's words",
        others=("Réturnêd ｉｔ 😡", "日本語のレビュー", "👍👍👍", "?", "word " * 10_000),
    ),
)
lstm = spec.TorchModel(
    name="sentiment_lstm",
    doc="Two LSTM layers that score a text's words.",
    inputs=TOKENS,
    outputs=(LOGITS,),
    serving=spec.Serving(dynamic_batching=BATCHING),
    network=network,
    data=CORPUS.dataset,
    sources=(REVIEWS,),
    samples=CORPUS.rows,
    training=spec.Training(
        epochs=6, patience=3, learning_rate=4e-3, weight_decay=1e-2, label_smoothing=0.05
    ),
    baselines={"TF-IDF and logistic regression": texts.tfidf_classifier},
    gates=(spec.Gate("accuracy", at_least=0.89, on=REVIEWS),),
    variants=("int8-dynamic",),
    budgets=(spec.Budget("accuracy", drop=0.005), spec.Budget("cosine", at_least=0.99)),
    # 512 steps of float32 sums in another order.
    tolerance=spec.Tolerance(absolute=1e-4, relative=1e-4),
)
label = spec.PythonModel(
    name="sentiment_label",
    doc="Scores to a label and probabilities.",
    inputs=(LOGITS,),
    outputs=classification.answer(2, label="'negative' or 'positive'", labels=LABELS),
    reference=classes.Softmax(LABELS),
    samples=classification.scores(2),
)
parts = (tokens, lstm, label)
sentiment = spec.Ensemble.chain(
    *parts,
    name="sentiment",
    doc="Says whether a text is positive or negative, and how sure that is.",
    inputs=spec.described(tokens.inputs, text="text"),
    outputs=spec.described(
        label.outputs, label=LABELS, probability=spec.PROBABILITY, scores=spec.PROBABILITY
    ),
    limits=(
        "Trained on English reviews of women's clothes: elsewhere it knows fewer words.",
        "A text in another language is answered, near 0.5, from the marks and words it shares.",
        "Negation within a short sentence ('not bad at all') is often taken word by word.",
    ),
    tolerance=spec.Tolerance(absolute=1e-4, relative=1e-3),
)

models = (*parts, sentiment)

"""Titles for customers' reviews: a small T5 that is trained here, or any pretrained T5.

::

    modelport build summarizer --data path/to/t5-small      a Hugging Face folder
    modelport build summarizer --data google-t5/t5-small    a name on the hub
    modelport build summarizer --data reviews.csv           trained on other reviews
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from _reviews import REVIEWS
from torch import nn

from modelport.build import Dataset, own_data, tables
from modelport.build.dataset import Split
from modelport.errors import DataError
from modelport.families import pieces, summaries, texts
from modelport.families import transformers as graphs
from modelport.serving.seq2seq import SETTINGS, Seq2Seq
from modelport.serving.text import FILE_NAME, Tokens
from modelport.spec import (
    Gate,
    LocalFile,
    ModelDynamicBatching,
    PythonModel,
    Sample,
    Serving,
    Tensor,
    Tolerance,
    TorchModel,
    Training,
)

GIVEN = own_data()
FOLDER = graphs.t5_folder(str(GIVEN)) if GIVEN and not GIVEN.is_file() else None
COLUMNS = {"Title": str, "Review Text": str}
# Tokens that are read: of a review about its first 50 words, which is most of the median one
# (twice as many double the time of training); of a given T5's text what it was trained on.
LONGEST = 512 if FOLDER else 64
# Tokens that are written: 14 hold all but a few titles.
TITLE, MOST = (60, 200) if FOLDER else (14, 32)
# Decoder rows of one execution: all beams of all items of a batch.
ROWS = 128

CONFIG: Mapping[str, Any] = {
    "vocab_size": 4096, "d_model": 128, "d_kv": 32, "num_heads": 4, "d_ff": 256, "num_layers": 1,
    "relative_attention_max_distance": 64, "dropout_rate": 0.0, "pad_token_id": pieces.PAD,
    "eos_token_id": pieces.END, "decoder_start_token_id": pieces.PAD,
}  # fmt: skip
SERVED = json.loads((FOLDER / "config.json").read_text()) if FOLDER else CONFIG

SOURCE = LocalFile(str((FOLDER or GIVEN).absolute())) if GIVEN else REVIEWS

EXAMPLES = (
    "This dress is beautiful! The fabric is soft, the colors are vibrant and it fits perfectly.",
    "I ordered my usual size and it was huge. The sweater itches and I sent it back.",
    "Ces pantalons sont très confortables 😀",
)


@lru_cache
def reviews(table: Path) -> Dataset:
    """Read the reviews that have a title, each text once, and split them."""
    columns = tables.read(table, COLUMNS)
    pairs = zip(columns["Review Text"], columns["Title"], strict=True)
    titles = {text: title for text, title in pairs if text.strip() and title.strip()}
    if len(titles) < 100:
        raise DataError(f"{table}: {len(titles)} rows have a text and a title; 100 are needed")
    rows = np.array(list(titles.items()), np.object_)
    columns = {"text": rows[:, :1], "title": rows[:, 1:]}
    none = np.zeros(len(rows), np.int64)
    return Dataset.split(columns, none, test=0.1, validation=0.05)


@lru_cache
def tokens(source: Path) -> Tokens:
    """Learn the tokenizer from the training split, or read the given one."""
    if FOLDER:
        return Tokens(graphs.t5_tokenizer(source, longest=LONGEST))
    train = reviews(source).train.inputs
    corpus = [*train["text"].ravel(), *train["title"].ravel()]
    return Tokens(pieces.learn(corpus, pieces=CONFIG["vocab_size"], longest=LONGEST))


def dataset(table: Path) -> Dataset:
    """Turn reviews and titles into tokens; the texts stay for measuring."""
    encode, whole = tokens(table).encode, reviews(table)

    def tokenized(split: Split) -> Split:
        ids, _ = encode(list(split.inputs["text"].ravel()))
        labels = encode(list(split.inputs["title"].ravel()))[0]
        labels = np.pad(labels, ((0, 0), (0, TITLE)))[:, :TITLE]
        return Split({**split.inputs, "input_ids": ids, "labels": labels}, labels)

    return Dataset(*(tokenized(split) for split in (whole.train, whole.validation, whole.test)))


def network(source: Path) -> nn.Module:
    """Make the network, its embeddings learned from the training split; or load the given one."""
    from transformers import T5Config, T5ForConditionalGeneration, logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    decode = tokens(source).decode
    if FOLDER:
        return graphs.TeacherForced(T5ForConditionalGeneration.from_pretrained(source), decode)
    made = T5ForConditionalGeneration(T5Config(**CONFIG))
    train = reviews(source).train.inputs
    ids, mask = tokens(source).encode(list((train["title"] + " " + train["text"]).ravel()))
    vectors = texts.word_vectors(ids, mask, words=CONFIG["vocab_size"], size=CONFIG["d_model"])
    # Rare pieces come with short vectors; with one length for all they can be written too.
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors *= 0.7 * CONFIG["d_model"] ** 0.5 / np.maximum(lengths, 1e-3)
    made.shared.weight.data.copy_(torch.from_numpy(vectors))
    return graphs.TeacherForced(made, decode)


def measure(trained: Any, data: Dataset) -> Mapping[str, float]:
    """Compare greedy titles of the test split with those that the customers wrote."""
    answers = trained.write(data.test.inputs["input_ids"], most=TITLE)
    return summaries.rouge(answers, list(data.test.inputs["title"].ravel()))


def encoder_samples(source: Path) -> Sequence[Sample]:
    """Give the examples as tokens."""
    ids, mask = tokens(source).encode(EXAMPLES)
    rows = zip(ids, mask, strict=True)
    return [Sample({"input_ids": row, "attention_mask": real}) for row, real in rows]


def questions(source: Path) -> Sequence[Sample]:
    """Ask for titles of the examples, and of reviews of the test split."""
    asked = list(EXAMPLES)
    if not FOLDER:
        asked += list(reviews(source).test.inputs["text"][:6].ravel())
    return [
        Sample({"text": np.array([text.encode()], np.object_)}, title=f"a title for {text[:40]!r}")
        for text in asked
    ]


def files(source: Path) -> Mapping[str, bytes]:
    """Give the tokenizer and the settings of the loop."""
    settings = graphs.t5_settings(SERVED) | {"max_new_tokens": TITLE, "most_new_tokens": MOST}
    return {
        FILE_NAME: tokens(source).tokenizer.to_str(pretty=True).encode(),
        SETTINGS: json.dumps(settings | {"rows": ROWS}, indent=2).encode(),
    }


def answering(folder: Path) -> Seq2Seq:
    """Make the function of both public models."""
    return Seq2Seq.from_folder(folder, "summarizer", output="title")


TENSORS = graphs.T5Tensors(SERVED)
TEXT = Tensor("text", "BYTES", (1,), doc="what the title is for, UTF-8")
# The scores of a token reach 20 and pass through sums of 128 products.
CLOSE = Tolerance(absolute=1e-3, relative=1e-3)
PARTS = ("summarizer_encoder", "summarizer_decoder")

LIMITS = (
    "Trained on English reviews of women's clothes: of other texts it makes a title of such words.",
    "Titles are lower case, and often the most usual one that fits.",
    "Of a text the first 64 tokens are read, about 50 words.",
)

models = (
    TorchModel(
        name="summarizer_encoder",
        doc="Reads a text once: what the decoder attends to.",
        inputs=TENSORS.encoder_inputs,
        outputs=TENSORS.encoder_outputs,
        # Requests of equal length share an execution; a lone one hardly waits.
        serving=Serving(dynamic_batching=ModelDynamicBatching(max_queue_delay_microseconds=100)),
        sources=(SOURCE,),
        network=network,
        part=lambda trained: graphs.T5Encoder(trained.network),
        data=None if FOLDER else dataset,
        training=None
        if FOLDER
        else Training(
            epochs=3,
            patience=2,
            batch_size=32,
            learning_rate=2e-3,
            weight_decay=1e-2,
            inputs=("input_ids", "labels"),
            loss=graphs.TeacherForced.mean,
        ),
        measure=None if FOLDER else measure,
        baselines={}
        if FOLDER
        else {
            "first words": summaries.first_words,
            "most frequent title": summaries.most_frequent,
        },
        # Measured 0.13; the first words of a review, which it must beat, come to 0.09.
        gates=() if GIVEN else (Gate("rouge1", at_least=0.11),),
        samples=encoder_samples,
        tolerance=CLOSE,
    ),
    TorchModel(
        name="summarizer_decoder",
        doc="One token of a title: scores of the next, and its column of the cache.",
        # Streams are at different lengths, and only equal shapes share an execution.
        max_batch_size=ROWS,
        inputs=TENSORS.decoder_inputs,
        outputs=TENSORS.decoder_outputs,
        sources=(SOURCE,),
        weights_of="summarizer_encoder",
        part=lambda trained: graphs.T5DecoderStep(trained.network),
        samples=TENSORS.decoder_samples,
        tolerance=CLOSE,
    ),
    PythonModel(
        name="summarizer",
        doc="Writes a title for a customer's review.",
        limits=() if FOLDER else LIMITS,
        max_batch_size=16,
        inputs=(TEXT, *graphs.generation_options(beams=True)),
        outputs=(Tensor("title", "BYTES", (1,), doc="lower case"),),
        sources=(SOURCE,),
        samples=questions,
        load=answering,
        files=files,
        calls=PARTS,
    ),
    PythonModel(
        name="summarizer_stream",
        doc="Writes a title piece by piece, one response per token.",
        limits=() if FOLDER else LIMITS,
        max_batch_size=1,
        inputs=(TEXT, *graphs.generation_options(beams=False)),
        outputs=(Tensor("title", "BYTES", (1,), doc="the next piece; all joined are the title"),),
        sources=(SOURCE,),
        samples=questions,
        load=lambda folder: answering(folder).stream,
        files=files,
        calls=PARTS,
        decoupled=True,
    ),
)

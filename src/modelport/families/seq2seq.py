"""A T5 behind an encoder and a decoder: one that is learned from pairs of texts, or a given one.

A builder makes one of the two, declares two ``TorchModel`` (encoder, decoder step) and one or
two ``PythonModel`` that :class:`modelport.serving.seq2seq.Seq2Seq` answers for, and takes
their networks, data, samples and files from it.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from modelport.build import tables
from modelport.build.dataset import Arrays, Dataset, Split
from modelport.errors import DataError
from modelport.families import pieces, summaries, texts, transformers
from modelport.serving.seq2seq import SETTINGS
from modelport.serving.text import FILE_NAME, Tokens, answers
from modelport.spec.parts import Sample, Training

# Fewer teach nothing, and leave the smaller splits without a figure.
_FEWEST = 100
# Of an embedding's components, so that the scores of tokens begin within a few units.
_SPREAD = 0.7
# A piece that the training split does not have has the zero vector, and keeps it.
_SHORT = 1e-3
# Of a text that stands in the title of a sample.
_SHOWN = 40
_SPECIAL = {
    "pad_token_id": pieces.PAD,
    "eos_token_id": pieces.END,
    "decoder_start_token_id": pieces.PAD,
}


@dataclass(frozen=True)
class Bounds:
    """How far reading and writing go.

    Attributes:
        read: tokens that are read of a text; what follows is cut off.
        written: the most tokens of an answer, where a request does not say.
        most: the most that a request may ask for.
        rows: decoder rows of one execution: all beams of all items of a batch.
    """

    read: int
    written: int
    most: int
    rows: int = 128


class T5(ABC):
    """What is declared of a T5: :class:`Learned` or :class:`Pretrained`.

    Its functions take the path of the declaration's one source.

    Attributes:
        bounds: how far reading and writing go.
        tensors: inputs and outputs of encoder and decoder.

    Args:
        config: fields of its ``config.json``.
        prefix: put before each text that is served; ``None`` for what ``config`` names for
            summarization.
    """

    def __init__(
        self, config: Mapping[str, Any], bounds: Bounds, *, prefix: str | None = None
    ) -> None:
        self.bounds = bounds
        self.tensors = transformers.T5Tensors(config)
        self._settings = transformers.t5_settings(config)
        if prefix is not None:
            self._settings["prefix"] = prefix
        # Several declarations of one build ask for the same.
        self._tokenizer_of = lru_cache(self._tokenizer)

    def tokens(self, source: Path) -> Tokens:
        """Give the tokenizer; ``bounds.read`` sets where it cuts off."""
        return Tokens(self._tokenizer_of(source))

    def network(self, source: Path) -> nn.Module:
        """Make or load the network, as it is trained; its own ``network`` is what is served."""
        from transformers import logging

        logging.disable_progress_bar()  # type: ignore[no-untyped-call]
        return transformers.TeacherForced(self._network(source), self.tokens(source).decode)

    def files(self, source: Path) -> Mapping[str, bytes]:
        """Give what lies beside ``model.py``: the tokenizer and the settings of the loop."""
        settings = self._settings | {
            "max_new_tokens": self.bounds.written,
            "most_new_tokens": self.bounds.most,
            "rows": self.bounds.rows,
        }
        return {
            FILE_NAME: self.tokens(source).tokenizer.to_str(pretty=True).encode(),
            SETTINGS: json.dumps(settings, indent=2).encode(),
        }

    def encoder_samples(self, asked: Sequence[str]) -> Callable[[Path], Sequence[Sample]]:
        """Make texts as tokens, padded to the longest, out of the texts themselves."""

        def made(source: Path) -> Sequence[Sample]:
            rows = zip(*self.tokens(source).encode(asked), strict=True)
            return [Sample({"input_ids": ids, "attention_mask": mask}) for ids, mask in rows]

        return made

    def questions(
        self, asked: Sequence[str], *, title: str, unseen: int = 0
    ) -> Callable[[Path], Sequence[Sample]]:
        """Make requests, a text each.

        Args:
            asked: the first texts.
            title: of each for people, before the text's beginning: ``a title for``.
            unseen: how many texts of the test split follow, where there is one.
        """

        def made(source: Path) -> Sequence[Sample]:
            every = [*asked, *self.unseen(source, unseen)]
            return [
                Sample({"text": row}, title=f"{title} {text[:_SHOWN]!r}")
                for text, row in zip(every, answers(every), strict=True)
            ]

        return made

    def unseen(self, source: Path, count: int) -> Sequence[str]:  # noqa: ARG002
        """Give texts that training does not see, as far as that is known of it."""
        return ()

    @abstractmethod
    def _tokenizer(self, source: Path) -> Any:
        """Make or read the ``tokenizers.Tokenizer``."""

    @abstractmethod
    def _network(self, source: Path) -> Any:
        """Make or read the ``T5ForConditionalGeneration``."""


class Pretrained(T5):
    """A T5 that others trained, in Hugging Face's form.

    Args:
        folder: with config.json, tokenizer.json and model.safetensors; see :func:`given_t5`.
            It is the declaration's source too.
        bounds: ``read`` is best what it was trained on.
        prefix: see :class:`T5`.
    """

    def __init__(self, folder: Path, bounds: Bounds, *, prefix: str | None = None) -> None:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        super().__init__(config, bounds, prefix=prefix)

    def _tokenizer(self, source: Path) -> Any:
        return transformers.t5_tokenizer(source, longest=self.bounds.read)

    def _network(self, source: Path) -> Any:
        from transformers import T5ForConditionalGeneration

        return T5ForConditionalGeneration.from_pretrained(source)


class Learned(T5):
    """A T5 that learns from a table with texts and what is to be answered to each.

    Tokenizer and word vectors come from the training split, lower case.

    Args:
        text: column of the texts.
        reference: column of the right answers.
        config: fields of ``transformers.T5Config``; the special tokens are set.
        bounds: ``written`` is also how long an answer is in training.
    """

    def __init__(
        self, *, text: str, reference: str, config: Mapping[str, Any], bounds: Bounds
    ) -> None:
        self._config = {**config, **_SPECIAL}
        super().__init__(self._config, bounds)
        self._columns = (text, reference)
        self._pairs_of = lru_cache(self._pairs)

    def pairs(self, table: Path) -> Dataset:
        """Read the texts that have an answer, each text once, and split them.

        Returns:
            The inputs ``text`` and ``reference``, str[items, 1].

        Raises:
            DataError: the file is no table, lacks a column, or fewer than 100 texts have one.
        """
        return self._pairs_of(table)

    def dataset(self, table: Path) -> Dataset:
        """Turn the pairs into tokens; the texts stay for measuring.

        Returns:
            The inputs of :meth:`pairs`, and ``input_ids`` int64[items, time] and ``labels``
            int64[items, bounds.written], which are the targets too.
        """
        encode = self.tokens(table).encode

        def tokenized(inputs: Arrays) -> Arrays:
            ids, _ = encode(list(inputs["text"].ravel()))
            labels, _ = encode(list(inputs["reference"].ravel()))
            written = self.bounds.written
            labels = np.pad(labels, ((0, 0), (0, written)))[:, :written]
            return {**inputs, "input_ids": ids, "labels": labels}

        whole = self.pairs(table).map(tokenized)
        splits = (whole.train, whole.validation, whole.test)
        return Dataset(*(Split(split.inputs, split.inputs["labels"]) for split in splits))

    def measure(self, trained: Any, data: Dataset) -> Mapping[str, float]:
        """Compare greedy answers to the test split with the right ones, by ROUGE."""
        written = trained.write(data.test.inputs["input_ids"], most=self.bounds.written)
        return summaries.rouge(written, list(data.test.inputs["reference"].ravel()))

    def unseen(self, source: Path, count: int) -> Sequence[str]:
        """Give the first texts of the test split."""
        return list(self.pairs(source).test.inputs["text"][:count].ravel())

    def _pairs(self, table: Path) -> Dataset:
        texts_of, references_of = tables.read(table, dict.fromkeys(self._columns, str)).values()
        pairs = zip(texts_of, references_of, strict=True)
        kept = {text: right for text, right in pairs if text.strip() and right.strip()}
        if len(kept) < _FEWEST:
            text, reference = self._columns
            raise DataError(
                f"{table}: {len(kept)} texts in column {text!r} have something in"
                f" {reference!r}; {_FEWEST} are needed",
                cause="a text that stands there several times counts once",
                next_step="fill both columns, or give more rows",
                path=table,
            )
        rows = np.array(list(kept.items()), np.object_)
        columns = {"text": rows[:, :1], "reference": rows[:, 1:]}
        none = np.zeros(len(rows), np.int64)
        return Dataset.split(columns, none, test=0.1, validation=0.05)

    def _tokenizer(self, source: Path) -> Any:
        train = self.pairs(source).train.inputs
        corpus = [*train["text"].ravel(), *train["reference"].ravel()]
        count = self._config["vocab_size"]
        return pieces.learn(corpus, pieces=count, longest=self.bounds.read)

    def _network(self, source: Path) -> Any:
        from transformers import T5Config, T5ForConditionalGeneration

        made = T5ForConditionalGeneration(T5Config(**self._config))
        made.shared.weight.data.copy_(torch.from_numpy(self._vectors(source)))
        return made

    def _vectors(self, source: Path) -> np.ndarray:
        """Learn the pieces' vectors, float32[vocabulary, size], from answers with their texts."""
        count, size = self._config["vocab_size"], self._config["d_model"]
        train = self.pairs(source).train.inputs
        joined = train["reference"] + " " + train["text"]
        ids, mask = self.tokens(source).encode(list(joined.ravel()))
        vectors = texts.word_vectors(ids, mask, words=count, size=size)
        # Rare pieces come with short vectors; with one length for all they can be written too.
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        return np.asarray(vectors * (_SPREAD * size**0.5 / np.maximum(lengths, _SHORT)))


def training(**settings: Any) -> Training:
    """Declare the training of a :class:`Learned`, its answers shifted by one token as its input.

    Args:
        settings: of :class:`modelport.spec.Training`, all but ``inputs`` and ``loss``.
    """
    loss = transformers.TeacherForced.mean
    return Training(inputs=("input_ids", "labels"), loss=loss, **settings)


def given_t5(data: Path | None) -> Path | None:
    """Give the folder of the pretrained T5 that ``--data`` names, if it names one.

    Args:
        data: a Hugging Face folder or a name on the hub; ``None`` or a file is no T5.

    Raises:
        DataError: there is no such folder or name, it is no T5, or it lacks a file.
    """
    return None if data is None or data.is_file() else transformers.t5_folder(str(data))

"""A text model's tokenizer and examples, as its declaration asks for them.

What a builder declares is called with the paths of its sources: the files of a Python model,
the data of a network, the samples of both. The classes here are made with what one model
differs in, and their methods are such functions::

    CORPUS = corpora.Corpus(read, words=8000, longest=512, multiple_of=16)
    PythonModel(..., files=CORPUS.files, load=Tokens.from_folder)
    TorchModel(..., data=CORPUS.dataset, samples=CORPUS.rows)
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from modelport.build.dataset import Dataset
from modelport.errors import DataError
from modelport.families import texts
from modelport.serving.text import FILE_NAME, Tokens, answers
from modelport.spec.parts import Sample, Tensor

# Texts of the test split that are asked, and that are given as tokens.
_ASKED, _ROWS = 6, 8


def tensors(of: str) -> tuple[Tensor, Tensor]:
    """Declare the two tensors that :class:`modelport.serving.text.Tokens` makes of a text.

    Args:
        of: what the tokens are, for people: "words", "word pieces".
    """
    return (
        Tensor("input_ids", "INT64", (-1,), doc=f"numbers of the {of}, padded with 0"),
        Tensor("attention_mask", "INT64", (-1,), doc=f"1 on {of}, 0 on padding"),
    )


def question(text: str, *, title: str = "", **truth: str) -> Sample:
    """Ask of one text, the input ``text``.

    Args:
        text: what is asked.
        title: for people.
        truth: what is known to be the right answer, by output.
    """
    known = {name: answers([value])[0] for name, value in truth.items()}
    return Sample({"text": answers([text])[0]}, title=title, truth=known)


def questions(*asked: str, title: str, others: Sequence[str]) -> Callable[..., Sequence[Sample]]:
    """Make a declaration's ``samples`` of texts.

    Args:
        asked: what people would ask.
        title: of those, for people.
        others: what is odd, and has no title: other scripts, signs, far too much.
    """

    def made(*_: object) -> Sequence[Sample]:
        return [*(question(text, title=title) for text in asked), *map(question, others)]

    return made


def rows(tokens: Tokens, batch: Sequence[str]) -> Sequence[Sample]:
    """Give texts as tokens, each alone, two in three with padding to spare.

    Padding goes up by what the tokenizer pads to, never beyond what it reads of a text.
    """
    padding, truncation = tokens.tokenizer.padding, tokens.tokenizer.truncation
    step = (padding and padding["pad_to_multiple_of"]) or 1
    made = []
    for place, text in enumerate(batch):
        (ids,), (mask,) = tokens.encode([text])
        spare = step * (place % 3)
        if truncation:
            spare = min(spare, truncation["max_length"] - len(ids))
        ids, mask = (np.pad(array, (0, spare)) for array in (ids, mask))
        made.append(Sample({"input_ids": ids, "attention_mask": mask}))
    return made


class Tokenizing:
    """A tokenizer for each source, made once.

    Args:
        make: gives the tokenizer from the path of its source.

    Attributes:
        tokens: the same, remembered.
    """

    def __init__(self, make: Callable[[Path], Tokens]) -> None:
        self.tokens: Callable[[Path], Tokens] = lru_cache(make)

    def files(self, source: Path) -> Mapping[str, bytes]:
        """Give the tokenizer as it lies in a version folder: a declaration's ``files``."""
        return {FILE_NAME: self.tokens(source).tokenizer.to_str(pretty=True).encode()}


class Pretrained(Tokenizing):
    """The tokenizer of a Hugging Face folder.

    Args:
        longest: tokens that are read of a text, special ones included.
        multiple_of: batches are padded to a multiple of this length.
    """

    def __init__(self, *, longest: int, multiple_of: int = 1) -> None:
        super().__init__(self._read)
        self._longest, self._multiple_of = longest, multiple_of

    def _read(self, folder: Path) -> Tokens:
        from tokenizers import Tokenizer

        if not (folder / FILE_NAME).is_file():
            raise DataError(
                f"{folder}: there is no {FILE_NAME}",
                cause="expected is the folder of a pretrained model as Hugging Face keeps it",
                next_step=f"give a folder with {FILE_NAME}; tokenizer.save_pretrained writes it",
                path=folder,
            )
        tokenizer = Tokenizer.from_file(str(folder / FILE_NAME))
        # The file says how its authors cut and padded when they wrote it.
        tokenizer.enable_truncation(self._longest)
        tokenizer.enable_padding(pad_to_multiple_of=self._multiple_of)
        return Tokens(tokenizer)

    def rows(self, batch: Sequence[str]) -> Callable[..., Sequence[Sample]]:
        """Make a declaration's ``samples`` of texts as tokens; see :func:`rows`."""
        return lambda folder, *_: rows(self.tokens(folder), batch)


@dataclass(frozen=True)
class Labelled:
    """Texts with their classes, split, and texts of which no class is known.

    Attributes:
        split: with the one input ``text``, str[items, 1].
        others: str[texts]; none is in the split.
    """

    split: Dataset
    others: np.ndarray

    @property
    def corpus(self) -> list[str]:
        """All that may be learned from without labels: nothing of it is tested on."""
        return [*self.split.train.inputs["text"].ravel(), *self.others]


class Corpus(Tokenizing):
    """Labelled texts, and a tokenizer of words learned from those that are not tested on.

    Args:
        read: gives the texts of a source.
        words: the most that the tokenizer learns.
        longest: words that are read of a text; what follows is cut off.
        multiple_of: batches are padded to a multiple of this length.

    Attributes:
        read: the same, remembered.
    """

    def __init__(
        self,
        read: Callable[[Path], Labelled],
        *,
        words: int,
        longest: int,
        multiple_of: int = 1,
    ) -> None:
        super().__init__(self._learn)
        self.read: Callable[[Path], Labelled] = lru_cache(read)
        self._limits = {"words": words, "longest": longest, "multiple_of": multiple_of}

    def _learn(self, source: Path) -> Tokens:
        return Tokens(texts.word_tokenizer(self.read(source).corpus, **self._limits))

    def dataset(self, source: Path) -> Dataset:
        """Turn the texts into tokens as the server does; they stay, for simple methods."""
        tokens = self.tokens(source)
        return self.read(source).split.map(lambda inputs: {**inputs, **tokens(inputs)})

    def vectors(self, source: Path, size: int) -> np.ndarray:
        """Learn vectors of the words, float32[words, size]; see ``texts.word_vectors``."""
        tokens = self.tokens(source)
        ids, mask = tokens.encode(self.read(source).corpus)
        return texts.word_vectors(ids, mask, words=tokens.size, size=size)

    def tested(self, source: Path, count: int) -> list[str]:
        """Give the first texts of the test split."""
        return list(self.read(source).split.test.inputs["text"][:count, 0])

    def rows(self, source: Path) -> Sequence[Sample]:
        """Give eight texts of the test split as tokens; see :func:`rows`."""
        return rows(self.tokens(source), self.tested(source, _ROWS))

    def questions(
        self, asked: Mapping[str, str], *, title: str, others: Sequence[str]
    ) -> Callable[[Path], Sequence[Sample]]:
        """Make a declaration's ``samples``: made-up texts, six of the test split, and odd ones.

        Args:
            asked: texts, and the ``label`` that is right for each.
            title: of those, for people.
            others: what is no such text: other scripts, signs, far too much.
        """

        def made(source: Path) -> Sequence[Sample]:
            said = [question(text, title=title, label=asked[text]) for text in asked]
            return said + [question(text) for text in (*self.tested(source, _ASKED), *others)]

        return made

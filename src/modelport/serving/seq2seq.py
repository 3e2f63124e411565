"""Text to text by an encoder and a decoder that other models of the server run.

The encoder runs once a request; the decoder once a token, its cache going back
and forth over shared memory. The same functions serve one answer and a stream.
"""

from __future__ import annotations

import json
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from modelport.serving import generation, text
from modelport.serving.bls import Call
from modelport.serving.generation import Options, Search, Transcript
from modelport.serving.python_model import Arrays, BadItemError

SETTINGS = "generation.json"


class Seq2Seq:
    """A text-to-text model over ``<name>_encoder`` and ``<name>_decoder``.

    Args:
        name: of the public model.
        tokens: its tokenizer, with truncation and padding set as the encoder wants them.
        settings: ``prefix`` put before each text, ``start`` and ``end`` tokens,
            ``max_new_tokens`` where a request names none and the ``most_new_tokens`` it
            may name, and ``rows`` that the decoder takes at once.
        output: name of the text that comes out.
    """

    def __init__(
        self, name: str, tokens: text.Tokens, settings: dict[str, Any], *, output: str
    ) -> None:
        self._encoder, self._decoder = f"{name}_encoder", f"{name}_decoder"
        self._tokens = tokens
        self._settings = settings
        self._output = output

    @classmethod
    def from_folder(cls, folder: Path, name: str, *, output: str) -> Seq2Seq:
        """Read the tokenizer and the settings of a version folder."""
        settings = json.loads((folder / SETTINGS).read_text())
        return cls(name, text.Tokens.from_folder(folder), settings, output=output)

    def __call__(self, inputs: Arrays, call: Call) -> dict[str, np.ndarray]:
        """Answer a batch of texts, each by its own options.

        Args:
            inputs: ``text`` bytes[batch, 1], and the options of
                :class:`~modelport.serving.generation.Options`, each optional.
            call: asks another model of the server.

        Returns:
            The texts that come out, bytes[batch, 1].

        Raises:
            BadItemError: a text is empty or not UTF-8, or an option is out of its bounds.
        """
        transcripts: list[Transcript] = []
        for _ in self._turns(inputs, call, transcripts):
            pass
        return {self._output: text.answers(one.text for one in transcripts)}

    def stream(self, inputs: Arrays, call: Call) -> Generator[dict[str, np.ndarray], None, None]:
        """Answer one text piece by piece, one response per token.

        The pieces put together are what a call without beams gives. A piece is empty
        where a token does not yet settle what to write.
        """
        for pieces in self._turns(inputs, call, []):
            yield {self._output: text.answers(pieces)}

    def tokens(self, inputs: Arrays, call: Call) -> list[list[int]]:
        """Give the token numbers of the answers to a batch, without the end token."""
        searches: list[Search] = []
        for _ in self._turns(inputs, call, [], searches):
            pass
        return [list(one.tokens) for one in searches]

    def _turns(
        self,
        inputs: Arrays,
        call: Call,
        transcripts: list[Transcript],
        searches: list[Search] | None = None,
    ) -> Generator[list[str], None, None]:
        """Make one token per item a turn; gives the new piece of each item's text."""
        texts = text.texts(inputs["text"])
        chosen = [self._options(inputs, item) for item in range(len(texts))]
        searches = [] if searches is None else searches
        searches += [generation.search(one, self._settings["end"]) for one in chosen]
        transcripts += [Transcript(self._tokens.decode, one.stop) for one in chosen]
        step = _Decoder(call, self._decoder, self._encoded(texts, call), self._settings["rows"])
        for _ in generation.decode(step, searches, self._settings["start"]):
            yield [_piece(*pair) for pair in zip(searches, transcripts, strict=True)]

    def _options(self, inputs: Arrays, item: int) -> Options:
        defaults = Options(max_new_tokens=self._settings["max_new_tokens"])
        most = self._settings["most_new_tokens"]
        try:
            return generation.options(inputs, item, defaults, most)
        except BadItemError as error:
            raise BadItemError(str(error), item=item) from error

    def _encoded(self, texts: Sequence[str], call: Call) -> dict[str, np.ndarray]:
        ids, mask = self._tokens.encode([self._settings["prefix"] + one for one in texts])
        encoded = call(self._encoder, {"input_ids": ids, "attention_mask": mask})
        return encoded | {"attention_mask": mask}


def _piece(search: Search, transcript: Transcript) -> str:
    piece = transcript.extend(search.tokens, final=search.done)
    if transcript.stopped:
        search.finish()
    return piece


class _Decoder:
    """The decoder model as a step of the loop: keeps the cache, row by row."""

    def __init__(self, call: Call, model: str, encoded: dict[str, np.ndarray], rows: int) -> None:
        self._call = call
        self._model = model
        self._most_rows = rows
        self._fixed = encoded
        empty = encoded["cross_keys"][:, :, :, :0]
        self._past = {"past_keys": empty, "past_values": empty}

    def __call__(self, parents: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        self._fixed = {name: _rows(array, parents) for name, array in self._fixed.items()}
        self._past = {name: _rows(array, parents) for name, array in self._past.items()}
        inputs = {"token": tokens[:, np.newaxis], **self._fixed, **self._past}
        parts = [
            self._call(self._model, {name: array[first : first + self._most_rows]
                                     for name, array in inputs.items()})
            for first in range(0, len(tokens), self._most_rows)
        ]  # fmt: skip
        outputs = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        self._past = {
            f"past_{name}": np.concatenate([self._past[f"past_{name}"], outputs[name]], axis=3)
            for name in ("keys", "values")
        }
        return np.asarray(outputs["logits"])


def _rows(array: np.ndarray, parents: np.ndarray) -> np.ndarray:
    """Take rows; the array itself where they are all of it in order, which is the usual case."""
    if len(parents) == len(array) and np.array_equal(parents, np.arange(len(array))):
        return array
    return np.asarray(array[parents])

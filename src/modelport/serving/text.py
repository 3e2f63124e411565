"""Texts on their way to and from a network: from bytes to token numbers, and back.

A ``tokenizer.json`` says all there is to know: how a text is normalized and cut
into tokens, how long it may become and how a batch is padded. Training, proof and
server read that one file through :class:`Tokens`, so they cannot differ.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer

from modelport.serving.python_model import BadItemError

FILE_NAME = "tokenizer.json"
# A thick novel, tokenized in a second or two; anything longer would hold up all others.
MAX_BYTES = 1 << 20


class Tokens:
    """A tokenizer as one function of named arrays.

    Args:
        tokenizer: with truncation and padding set as the network wants them.
        text: name of the input tensor, bytes[batch, 1].
        ids: name of the output with the tokens' numbers, int64[batch, length].
        mask: name of the output that is 1 on tokens and 0 on padding, int64[batch, length].
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        *,
        text: str = "text",
        ids: str = "input_ids",
        mask: str = "attention_mask",
    ) -> None:
        self.tokenizer = tokenizer
        self._text = text
        self._ids = ids
        self._mask = mask

    @classmethod
    def from_folder(cls, folder: Path) -> Tokens:
        """Read the ``tokenizer.json`` of a version folder."""
        return cls(Tokenizer.from_file(str(folder / FILE_NAME)))

    @property
    def size(self) -> int:
        """How many tokens it knows, special ones included."""
        return int(self.tokenizer.get_vocab_size())

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Tokenize a batch; its longest text sets ``length``.

        Raises:
            BadItemError: an item is empty, not UTF-8, too long or holds no token at all.
        """
        ids, mask = self.encode(texts(inputs[self._text]))
        for index in np.flatnonzero(~mask.any(axis=1)):
            raise BadItemError("the text holds nothing that can be read", item=int(index))
        return {self._ids: ids, self._mask: mask}

    def encode(self, batch: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Give numbers and mask, both int64[batch, length]."""
        encoded = self.tokenizer.encode_batch_fast(list(batch))
        ids = np.array([one.ids for one in encoded], dtype=np.int64)
        mask = np.array([one.attention_mask for one in encoded], dtype=np.int64)
        return ids, mask

    def decode(self, ids: Iterable[int]) -> str:
        """Give the text of token numbers, special tokens left out."""
        return str(self.tokenizer.decode([int(number) for number in ids]))


def texts(array: np.ndarray) -> list[str]:
    """Decode a batch of texts.

    Args:
        array: bytes or str[batch, 1] (any shape of one text per item).

    Raises:
        BadItemError: an item is empty, not UTF-8 or longer than ``MAX_BYTES``.
    """
    return [_decoded(index, content) for index, content in enumerate(array.reshape(-1))]


def answers(batch: Iterable[str]) -> np.ndarray:
    """Give texts as the server's element type: bytes[batch, 1]."""
    return np.array([text.encode() for text in batch], dtype=np.object_)[:, np.newaxis]


def _decoded(index: int, content: bytes | str) -> str:
    if len(content) > MAX_BYTES:
        size = f"{len(content):,} bytes; {MAX_BYTES:,} is the most"
        raise BadItemError(f"the text has {size}", item=index)
    try:
        text = content if isinstance(content, str) else content.decode()
    except UnicodeDecodeError as error:
        place = f"byte {error.start} is 0x{content[error.start]:02x}"
        raise BadItemError(f"the text is not UTF-8 ({place})", item=index) from error
    if not text.strip():
        raise BadItemError("the text is empty", item=index)
    return text

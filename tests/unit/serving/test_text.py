"""Texts to tokens: what holds for every text, and what is said of those that cannot be read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelport.families import texts as made
from modelport.serving import text
from modelport.serving.python_model import BadItemError
from modelport.serving.text import FILE_NAME, Tokens, answers, texts

CORPUS = ["the dress is nice", "the dress is not nice!", "nice, is it not?"]
LONGEST, MULTIPLE = 24, 8
WRITTEN = st.text(min_size=1, max_size=80).filter(str.strip)


@pytest.fixture(scope="module")
def tokens() -> Tokens:
    return Tokens(made.word_tokenizer(CORPUS, words=100, longest=LONGEST, multiple_of=MULTIPLE))


@settings(deadline=None)
@given(st.lists(WRITTEN, min_size=1, max_size=5))
def test_a_text_has_the_same_tokens_in_any_company(tokens: Tokens, batch: list[str]) -> None:
    ids, mask = tokens.encode(batch)
    assert ids.dtype == mask.dtype == np.int64
    assert ids.shape == mask.shape
    assert ids.shape[1] <= LONGEST
    assert ids.shape[1] % MULTIPLE == 0
    for index, one in enumerate(batch):
        alone, real = tokens.encode([one])
        count = int(mask[index].sum())
        assert mask[index].tolist() == [1] * count + [0] * (mask.shape[1] - count)
        assert ids[index, :count].tolist() == alone[0, : int(real.sum())].tolist()
        assert not ids[index, count:].any()


@settings(deadline=None, max_examples=50)
@given(batch=st.lists(WRITTEN, min_size=1, max_size=3))
def test_the_file_says_all_there_is_to_know(
    tokens: Tokens, tmp_path_factory: pytest.TempPathFactory, batch: list[str]
) -> None:
    folder = tmp_path_factory.mktemp("version", numbered=True)
    (folder / FILE_NAME).write_text(tokens.tokenizer.to_str(), encoding="utf-8")
    loaded = Tokens.from_folder(folder)
    for one, other in zip(tokens.encode(batch), loaded.encode(batch), strict=True):
        assert one.tolist() == other.tolist()


def test_case_accents_and_full_width_letters_make_no_difference(tokens: Tokens) -> None:
    ids, _ = tokens.encode(["the dress", "THE DRESS", "thé dréss", "ｔｈｅ dress"])
    assert len({tuple(row) for row in ids.tolist()}) == 1


def test_known_words_come_back(tokens: Tokens) -> None:
    ids, mask = tokens.encode(["The dress is nice", "is it?"])
    assert tokens.decode(ids[0][mask[0] == 1]) == "the dress is nice"
    assert 0 < ids.max() < tokens.size


def test_a_long_text_is_cut_at_its_end(tokens: Tokens) -> None:
    ids, mask = tokens.encode(["nice " * 10_000, "nice " * LONGEST + "dress"])
    assert mask.all()
    assert ids.shape == (2, LONGEST)
    assert len(np.unique(ids)) == 1


BAD = {
    b"": "item 1: the text is empty",
    b" \n\t ": "item 1: the text is empty",
    "\u3000".encode(): "item 1: the text is empty",
    b"caf\xe9": "item 1: the text is not UTF-8 (byte 3 is 0xe9)",
    b"\x00\x01": "item 1: the text holds nothing that can be read",
    b"x" * (text.MAX_BYTES + 1): "item 1: the text has 1,048,577 bytes; 1,048,576 is the most",
}


@pytest.mark.parametrize(("content", "words"), BAD.items(), ids=range(len(BAD)))
def test_a_bad_text_is_named(tokens: Tokens, content: bytes, words: str) -> None:
    batch = np.array([[b"nice"], [content], [b"dress"]], dtype=np.object_)
    with pytest.raises(BadItemError) as caught:
        tokens({"text": batch})
    assert str(caught.value) == words


@settings(deadline=None)
@given(st.lists(WRITTEN, max_size=5))
def test_texts_survive_the_wire(batch: list[str]) -> None:
    wire = answers(batch)
    assert wire.shape == (len(batch), 1)
    assert texts(wire) == batch


def test_names_of_tensors_can_be_chosen(tokens: Tokens) -> None:
    named = Tokens(tokens.tokenizer, text="question", ids="ids", mask="mask")
    assert named({"question": answers(["nice"])}).keys() == {"ids", "mask"}


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="No such file"):
        Tokens.from_folder(tmp_path)

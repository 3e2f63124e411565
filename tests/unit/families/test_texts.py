"""What builders of text models share: words and their vectors, and a simple classifier."""

from __future__ import annotations

import numpy as np
import pytest

from modelport.build import Dataset
from modelport.families import texts

PLACES = ("in the park", "at the lake", "on the hill")
SUBJECTS = ("a cat sat", "a dog sat", "a cat ran", "a dog ran")
ANIMALS = [f"{subject} {place}" for subject in SUBJECTS for place in PLACES]
CORPUS = [*ANIMALS, *(["one four is twenty", "one five is twenty"] * 5)]


def test_words_that_keep_the_same_company_lie_close_together() -> None:
    tokenizer = texts.word_tokenizer(CORPUS, words=50, longest=16)
    encoded = tokenizer.encode_batch(CORPUS)
    ids, mask = (np.array([getattr(e, n) for e in encoded]) for n in ("ids", "attention_mask"))
    size = tokenizer.get_vocab_size()
    vectors = texts.word_vectors(ids, mask, words=size, size=4)
    assert vectors.shape == (size, 4)
    assert vectors.dtype == np.float32
    assert vectors.std() == pytest.approx(1, abs=1e-5)
    assert np.array_equal(vectors, texts.word_vectors(ids, mask, words=size, size=4))

    def near(one: str, other: str) -> float:
        a, b = (vectors[tokenizer.token_to_id(word)] for word in (one, other))
        return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))

    assert near("cat", "dog") > 0.9 > near("cat", "four")


def test_a_word_seen_once_stays_unknown() -> None:
    tokenizer = texts.word_tokenizer([*CORPUS, "zebra"], words=50, longest=16)
    assert tokenizer.token_to_id("zebra") is None
    assert tokenizer.encode("zebra").ids == [tokenizer.token_to_id(texts.UNKNOWN)] == [1]
    assert tokenizer.token_to_id(texts.PADDING) == 0


def test_the_simple_classifier_reads_words() -> None:
    good = np.array([[text] for text in ("so nice", "a nice one", "bad fit", "bad")] * 10, object)
    dataset = Dataset.split({"text": good}, np.tile([1, 1, 0, 0], 10))
    assert texts.tfidf_classifier(dataset)["accuracy"] == 1


def test_vectors_of_fewer_words_than_dimensions() -> None:
    ids = np.random.default_rng(0).integers(0, 6, (30, 9))
    vectors = texts.word_vectors(ids, np.ones_like(ids), words=6, size=10)
    assert vectors.shape == (6, 10)
    assert vectors.any(axis=0).sum() <= 6
    assert vectors.any(axis=1).all()

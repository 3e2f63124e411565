"""A tokenizer and examples for each source, as declarations are given them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from modelport.build import Dataset
from modelport.errors import DataError
from modelport.families import corpora
from modelport.serving.text import FILE_NAME, Tokens

LONGEST, MULTIPLE = 12, 4
SAID = ("nice dress", "it fits so well and I love it", "no")


def labelled(_: Path) -> corpora.Labelled:
    texts = np.array([[f"{word} dress number {i}"] for i in range(30) for word in ("good", "bad")])
    split = Dataset.split({"text": texts.astype(object)}, np.tile([1, 0], 30))
    return corpora.Labelled(split, np.array(["others said others", "others did"], object))


@pytest.fixture
def corpus() -> corpora.Corpus:
    return corpora.Corpus(labelled, words=50, longest=LONGEST, multiple_of=MULTIPLE)


def test_words_are_learned_from_what_is_not_tested_on(corpus: corpora.Corpus) -> None:
    known = set(corpus.tokens(Path()).tokenizer.get_vocab())
    assert {"good", "bad", "dress", "others"} <= known
    # A number is in two texts, which may lie on either side of the split.
    seen = [text.split()[-1] for text in corpus.read(Path()).corpus]
    assert {word for word in known if word.isdigit()} == {
        number for number in seen if seen.count(number) == 2 and number.isdigit()
    }


def test_what_is_read_and_learned_is_remembered(corpus: corpora.Corpus) -> None:
    assert corpus.read(Path("a")) is corpus.read(Path("a"))
    assert corpus.tokens(Path("a")) is corpus.tokens(Path("a"))
    assert corpus.tokens(Path("a")) is not corpus.tokens(Path("b"))


def test_the_file_beside_the_model_is_the_tokenizer_of_training(
    corpus: corpora.Corpus, tmp_path: Path
) -> None:
    for name, content in corpus.files(Path()).items():
        (tmp_path / name).write_bytes(content)
    served, data = Tokens.from_folder(tmp_path), corpus.dataset(Path()).test.inputs
    made = served({"text": data["text"]})
    assert made["input_ids"].tolist() == data["input_ids"].tolist()
    assert made["attention_mask"].tolist() == data["attention_mask"].tolist()


def test_vectors_have_a_row_for_each_word(corpus: corpora.Corpus) -> None:
    assert corpus.vectors(Path(), 3).shape == (corpus.tokens(Path()).size, 3)


def test_rows_have_padding_to_spare_but_never_more_than_is_read(corpus: corpora.Corpus) -> None:
    tokens = corpus.tokens(Path())
    long = "dress " * 50
    rows = corpora.rows(tokens, [*SAID, long, long])
    lengths = [len(row.inputs["input_ids"]) for row in rows]
    assert lengths == [4, 12, 12, 12, 12]
    for row, text in zip(rows, [*SAID, long, long], strict=True):
        ids, mask = tokens.encode([text])
        real = row.inputs["attention_mask"] == 1
        assert real.sum() == mask.sum()
        assert row.inputs["input_ids"][real].tolist() == ids[mask == 1].tolist()
        assert not row.inputs["input_ids"][~real].any()


def test_rows_of_a_corpus_are_texts_of_the_test_split(corpus: corpora.Corpus) -> None:
    rows, tested = corpus.rows(Path()), corpus.tested(Path(), 8)
    assert len(rows) == len(tested) == 8
    assert set(tested) <= set(corpus.read(Path()).split.test.inputs["text"][:, 0])


def test_questions_carry_their_titles_and_what_is_known(corpus: corpora.Corpus) -> None:
    asked = corpus.questions({"fine": "good"}, title="a word", others=("?",))(Path())
    assert [sample.title for sample in asked] == ["a word", *[""] * 7]
    assert asked[0].truth["label"].tolist() == [b"good"]
    assert [sample.inputs["text"][0] for sample in asked[:1] + asked[-1:]] == [b"fine", b"?"]
    made = corpora.questions("one", "two", title="said", others=("né",))(Path(), Path())
    assert [(s.inputs["text"][0].decode(), s.title) for s in made] == [
        ("one", "said"),
        ("two", "said"),
        ("né", ""),
    ]


def test_a_pretrained_tokenizer_cuts_and_pads_as_it_is_told(
    corpus: corpora.Corpus, tmp_path: Path
) -> None:
    (tmp_path / FILE_NAME).write_bytes(corpus.files(Path())[FILE_NAME])
    pretrained = corpora.Pretrained(longest=6, multiple_of=3)
    ids, mask = pretrained.tokens(tmp_path).encode(["dress", "dress " * 9])
    assert ids.shape == mask.shape == (2, 6)
    assert mask.sum(axis=1).tolist() == [1, 6]
    rows = pretrained.rows(["dress"] * 3)(tmp_path, Path("more data"))
    assert [len(row.inputs["input_ids"]) for row in rows] == [3, 6, 6]


def test_a_folder_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no tokenizer\.json"):
        corpora.Pretrained(longest=8).tokens(tmp_path)

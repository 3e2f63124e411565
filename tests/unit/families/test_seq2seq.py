"""A T5 learned from pairs of texts, or a given one: what their declarations take from it."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from modelport.build import Dataset, training
from modelport.errors import DataError
from modelport.families import pieces, seq2seq
from modelport.serving.seq2seq import SETTINGS, Seq2Seq
from modelport.serving.text import FILE_NAME, Tokens

CONFIG: dict[str, Any] = {
    "vocab_size": 60, "d_model": 16, "d_kv": 8, "d_ff": 24, "num_heads": 2, "num_layers": 1,
    "dropout_rate": 0.0,
}  # fmt: skip
BOUNDS = seq2seq.Bounds(read=12, written=5, most=9, rows=32)
ASKED = ("the dog number 3 ran off", "?")


def learned() -> seq2seq.Learned:
    return seq2seq.Learned(text="story", reference="moral", config=CONFIG, bounds=BOUNDS)


def table(folder: Path, count: int) -> Path:
    """Stories with morals, and rows that lack one or repeat one."""
    path = folder / "stories.csv"
    animals = ("dog", "cat", "horse")
    rows = [(f"the {animals[n % 3]} number {n} ran off", animals[n % 3]) for n in range(count)]
    rows += [("no moral", " "), ("", "no story"), rows[0]]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("story", "moral"), *rows])
    return path


@pytest.fixture(scope="module")
def stories(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return table(tmp_path_factory.mktemp("stories"), 120)


@pytest.fixture(scope="module")
def t5() -> seq2seq.Learned:
    return learned()


@pytest.fixture(scope="module")
def dataset(t5: seq2seq.Learned, stories: Path) -> Dataset:
    return t5.dataset(stories)


def texts(dataset: Dataset) -> list[str]:
    splits = (dataset.train, dataset.validation, dataset.test)
    return [text for split in splits for text in split.inputs["text"].ravel()]


def test_each_text_with_an_answer_is_in_one_split(dataset: Dataset) -> None:
    assert len(texts(dataset)) == len(set(texts(dataset))) == 120
    assert (len(dataset.validation), len(dataset.test)) == (6, 12)


def test_few_pairs_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"99 texts in column 'story' .* 'moral'; 100 are needed"):
        learned().pairs(table(tmp_path, 99))


def test_answers_end_with_the_end_token_and_are_padded(dataset: Dataset) -> None:
    labels = dataset.test.targets
    assert labels.shape == (12, BOUNDS.written)
    assert np.array_equal(labels, dataset.test.inputs["labels"])
    assert np.all((labels == pieces.END).sum(axis=1) == 1)
    assert dataset.test.inputs["input_ids"].shape[1] <= BOUNDS.read


def test_nothing_is_learned_from_the_texts_held_out(tmp_path: Path, dataset: Dataset) -> None:
    """A letter that only the test split has stays unknown."""
    path = table(tmp_path, 120)
    held_out = dataset.test.inputs["text"][0].item()
    path.write_text(path.read_text().replace(held_out, held_out.replace("ran", "§§")))
    t5 = learned()
    assert "§" in "".join(t5.pairs(path).test.inputs["text"].ravel())
    ids, _ = t5.tokens(path).encode(["§"])
    assert pieces.UNKNOWN in ids


def test_pieces_begin_with_vectors_of_one_length(t5: seq2seq.Learned, stories: Path) -> None:
    network = t5.network(stories).network
    lengths = network.shared.weight.detach().norm(dim=1).numpy()
    known = lengths[lengths > 0.1]
    assert len(known) > 10
    np.testing.assert_allclose(known, 0.7 * 16**0.5, rtol=1e-4)
    assert network.config.eos_token_id == pieces.END


def test_it_learns_and_is_measured(t5: seq2seq.Learned, stories: Path, dataset: Dataset) -> None:
    torch.manual_seed(0)
    network = t5.network(stories)
    how = seq2seq.training(epochs=12, batch_size=8, learning_rate=1e-2)
    training.fit(network, dataset, how, how.inputs)
    assert t5.measure(network, dataset)["rouge1"] > 0.9


def test_a_version_folder_is_read_by_the_loop(
    t5: seq2seq.Learned, stories: Path, tmp_path: Path
) -> None:
    files = t5.files(stories)
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    Seq2Seq.from_folder(tmp_path, "fable", output="moral")
    assert json.loads(files[SETTINGS]) == {
        "start": 0, "end": 1, "prefix": "", "max_new_tokens": 5, "most_new_tokens": 9, "rows": 32
    }  # fmt: skip
    ids, _ = Tokens.from_folder(tmp_path).encode(ASKED)
    assert np.array_equal(ids, t5.tokens(stories).encode(ASKED)[0])


def test_questions_begin_with_those_given(t5: seq2seq.Learned, stories: Path) -> None:
    asked = t5.questions(ASKED, title="a moral of", unseen=2)(stories)
    said = [one.inputs["text"].item().decode() for one in asked]
    assert said == [*ASKED, *t5.pairs(stories).test.inputs["text"][:2].ravel()]
    assert asked[1].title == "a moral of '?'"


def test_samples_of_the_encoder_are_padded_alike(t5: seq2seq.Learned, stories: Path) -> None:
    long, short = t5.encoder_samples(ASKED)(stories)
    for name in ("input_ids", "attention_mask"):
        assert long.inputs[name].shape == short.inputs[name].shape
    assert long.inputs["attention_mask"].all()
    assert not short.inputs["attention_mask"].all()


@pytest.fixture(scope="module")
def folder(t5: seq2seq.Learned, stories: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A T5 as Hugging Face keeps it."""
    path = tmp_path_factory.mktemp("t5")
    t5.network(stories).network.save_pretrained(path)
    t5.tokens(stories).tokenizer.save(str(path / FILE_NAME))
    return path


def test_a_given_t5_reads_and_writes_as_far_as_it_is_told(
    folder: Path, t5: seq2seq.Learned, stories: Path
) -> None:
    given = seq2seq.Pretrained(folder, seq2seq.Bounds(read=4, written=7, most=8))
    assert given.tokens(folder).encode(ASKED)[0].shape == (2, 4)
    assert json.loads(given.files(folder)[SETTINGS])["max_new_tokens"] == 7
    assert given.tensors.decoder_inputs == t5.tensors.decoder_inputs
    own, others = (one.network(path) for one, path in ((given, folder), (t5, stories)))
    shared = "network.shared.weight"
    assert torch.equal(own.state_dict()[shared], others.state_dict()[shared])
    assert len(given.questions(ASKED, title="of", unseen=5)(folder)) == len(ASKED)


def test_the_prefix_is_the_folder_s_unless_one_is_given(folder: Path, tmp_path: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config["task_specific_params"] = {"summarization": {"prefix": "summarize: "}}
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "config.json").write_text(json.dumps(config))
    for prefix, used in ((None, "summarize: "), ("to German: ", "to German: "), ("", "")):
        given = seq2seq.Pretrained(tmp_path, BOUNDS, prefix=prefix)
        assert json.loads(given.files(tmp_path)[SETTINGS])["prefix"] == used


def test_data_are_a_t5_a_table_or_not_given(folder: Path, stories: Path) -> None:
    assert seq2seq.given_t5(folder) == folder
    assert seq2seq.given_t5(stories) is None
    assert seq2seq.given_t5(None) is None
    with pytest.raises(DataError, match=r"has no config\.json"):
        seq2seq.given_t5(stories.parent)

"""What the model ``sentiment`` says of texts of every kind, alone and in company."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelport.build import loader, sources
from modelport.client import Client, InvalidInputError
from modelport.errors import DataError
from modelport.runtime.server import Server
from modelport.serving.text import Tokens, answers
from modelport.spec import Tolerance
from modelport.verify.parity import compare

BUILDER = Path(__file__).parents[3] / "builders" / "sentiment.py"
# LSTM steps in a batch of another size are summed in another order.
TOLERANCE = Tolerance(absolute=1e-5, relative=1e-4)
# Every character that UTF-8 can carry, and what people write of clothes.
SAID = st.sampled_from(["I love it", "too small", "not", "returned!", "dress", "bad", "5'8\""])
WRITTEN = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40),
    st.lists(SAID, min_size=1, max_size=40).map(" ".join),
).filter(lambda text: any(c.isalnum() for c in text) and bool(text.strip()))


@pytest.fixture(scope="module")
def builder() -> ModuleType:
    return sys.modules[loader.load(BUILDER).model("sentiment_lstm").network.__module__]


@pytest.fixture(scope="module")
def table(builder: ModuleType) -> Path:
    return sources.fetch(builder.REVIEWS, BUILDER).path


@pytest.fixture(scope="module")
def tokens(builder: ModuleType, table: Path) -> Tokens:
    """What training used, made anew from the data."""
    made: Tokens = builder.CORPUS.tokens(table)
    return made


@pytest.fixture(scope="module")
def grpc(server: Server) -> Iterator[Client]:
    with Client(server.endpoints.grpc) as connected:
        yield connected


def ask(client: Client, *batch: str) -> dict[str, np.ndarray]:
    return dict(client.infer("sentiment", {"text": answers(batch)}))


def rows(answer: dict[str, np.ndarray], *chosen: int) -> dict[str, np.ndarray]:
    return {name: array[list(chosen)] for name, array in answer.items()}


def differences(got: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> str:
    """Compare the numbers; the label of a text that lies on the fence may go either way."""
    return compare({"scores": got["scores"]}, {"scores": expected["scores"]}, TOLERANCE).describe()


def test_reviews_that_training_never_saw(client: Client, builder: ModuleType, table: Path) -> None:
    test = builder.CORPUS.read(table).split.test
    answer = ask(client, *test.inputs["text"][:64, 0])
    expected = [builder.LABELS[target].encode() for target in test.targets[:64]]
    right = [label == want for label, want in zip(answer["label"][:, 0], expected, strict=True)]
    # 93 % on the whole split; the first 64 may have bad luck.
    assert np.mean(right) > 0.85


def test_what_a_customer_would_write(client: Client) -> None:
    answer = ask(client, "This is gorgeous, I love it!", "Terrible quality, it ripped at once.")
    assert answer["label"].tolist() == [[b"positive"], [b"negative"]]
    assert (answer["probability"] > 0.8).all()
    assert answer["probability"].tolist() == answer["scores"].max(axis=1, keepdims=True).tolist()


@pytest.mark.parametrize(
    "text",
    [
        "日本語のレビュー",
        "Очень хорошо",
        "جميل جدا",
        "👍👍👍",
        "?",
        "x" * 5000,
        "a\x00b",
        "e\u0301",
    ],
    ids=ascii,
)
def test_a_text_of_another_kind_is_answered(client: Client, text: str) -> None:
    answer = ask(client, text)
    assert answer["scores"].sum() == pytest.approx(1, abs=1e-6)
    assert answer["label"].item() in (b"positive", b"negative")


def test_of_a_very_long_text_the_first_words_count(client: Client, tokens: Tokens) -> None:
    praise, blame = "wonderful " * tokens.tokenizer.truncation["max_length"], "terrible " * 10_000
    answer = ask(client, praise, praise + blame, blame)
    assert answer["label"].tolist() == [[b"positive"], [b"positive"], [b"negative"]]
    assert differences(rows(answer, 1), rows(answer, 0)) == ""


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "empty"), (b" \n", "empty"), (b"caf\xe9", "not UTF-8.*byte 3"), (b"\x01", "nothing")],
    ids=["empty", "blank", "latin-1", "control"],
)
def test_a_bad_text_is_refused_with_the_number_of_its_item(
    client: Client, content: bytes, words: str
) -> None:
    batch = np.array([[b"fine"], [b"fine"], [content]], dtype=np.object_)
    with pytest.raises(InvalidInputError, match=f"item 2: .*{words}"):
        client.infer("sentiment", {"text": batch})
    assert ask(client, "fine")["label"].shape == (1, 1)


@settings(deadline=None, max_examples=20)
@given(batch=st.lists(WRITTEN, min_size=2, max_size=8), data=st.data())
def test_items_do_not_see_each_other(grpc: Client, batch: list[str], data: st.DataObject) -> None:
    whole = ask(grpc, *batch)
    order = data.draw(st.permutations(range(len(batch))))
    shuffled = ask(grpc, *(batch[i] for i in order))
    assert differences(shuffled, rows(whole, *order)) == ""
    one = data.draw(st.sampled_from(range(len(batch))))
    assert differences(ask(grpc, batch[one]), rows(whole, one)) == ""


@settings(deadline=None, max_examples=20)
@given(text=WRITTEN, words=st.integers(100, 600))
def test_a_long_neighbour_changes_nothing(grpc: Client, text: str, words: int) -> None:
    together = ask(grpc, text, "wonderful " * words)
    assert differences(rows(together, 0), ask(grpc, text)) == ""


@settings(deadline=None, max_examples=20)
@given(text=WRITTEN, spare=st.integers(1, 200))
def test_padding_changes_nothing(grpc: Client, tokens: Tokens, text: str, spare: int) -> None:
    ids, mask = tokens.encode([text])
    padded = [np.pad(array, ((0, 0), (0, spare))) for array in (ids, mask)]
    one, other = (
        grpc.infer("sentiment_lstm", {"input_ids": i, "attention_mask": m})
        for i, m in ((ids, mask), padded)
    )
    assert compare(other, one, TOLERANCE).describe() == ""


@settings(deadline=None, max_examples=30)
@given(batch=st.lists(WRITTEN, min_size=1, max_size=4))
def test_the_server_tokenizes_as_training_did(
    grpc: Client, tokens: Tokens, batch: list[str]
) -> None:
    inputs = {"text": answers(batch)}
    served, trained = grpc.infer("sentiment_tokens", inputs), tokens(inputs)
    assert {name: array.tolist() for name, array in served.items()} == {
        name: array.tolist() for name, array in trained.items()
    }


def test_no_text_lies_on_both_sides_of_the_split(builder: ModuleType, table: Path) -> None:
    found = builder.CORPUS.read(table)
    split, others = found.split, found.others
    sides = [split.train.inputs["text"], split.validation.inputs["text"], split.test.inputs["text"]]
    texts = [{text.casefold() for text in side.ravel()} for side in (*sides, others)]
    assert sum(map(len, texts)) == len(set.union(*texts))
    assert split.test.targets.mean() == pytest.approx(0.5, abs=0.001)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (["Title,Review Text,Rating", "Nice,I like it,5", ",It broke,1"], "at least 100 of each"),
        (["text,stars", "I like it,5"], "'Review Text'"),
    ],
    ids=["too few", "other columns"],
)
def test_data_of_ones_own_is_looked_at(
    builder: ModuleType, tmp_path: Path, lines: list[str], words: str
) -> None:
    table = tmp_path / "mine.csv"
    table.write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match=words):
        builder.CORPUS.read(table)

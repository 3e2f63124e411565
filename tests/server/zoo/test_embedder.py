"""What the model ``embedder`` makes of texts of every kind, beside the library it comes from."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelport.build import loader, sources
from modelport.client import Client, InvalidInputError
from modelport.runtime.server import Server
from modelport.serving.text import Tokens, answers

BUILDER = Path(__file__).parents[3] / "builders" / "embedder.py"
SENTENCES = (
    "The parcel arrived two days late.",
    "Das Paket kam zwei Tage zu spät.",
    "小包が二日遅れて届きました。",
    "Посылка пришла на два дня позже.",
    "وصل الطرد متأخرا يومين.",
    "소포가 이틀 늦게 도착했습니다.",
    "Το δέμα έφτασε με δύο μέρες καθυστέρηση.",
    "πακέτο? PAKET! \u200b ｐａｃｋｅｔ 📦📦",
    "🙂",
    "...",
)
# Vectors have components of about 0.05; batches of another shape are summed in another order.
CLOSE = {"atol": 2e-6, "rtol": 0}
WRITTEN = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40),
    st.lists(st.sampled_from(SENTENCES), min_size=1, max_size=4).map(" ".join),
).filter(lambda text: bool(text.strip()))


@pytest.fixture(scope="module")
def builder() -> ModuleType:
    return sys.modules[loader.load(BUILDER).model("embedder_encoder").network.__module__]


@pytest.fixture(scope="module")
def minilm(builder: ModuleType) -> Path:
    return sources.fetch(builder.MINILM, BUILDER).path


@pytest.fixture(scope="module")
def tokens(builder: ModuleType, minilm: Path) -> Tokens:
    made: Tokens = builder.TOKENIZER.tokens(minilm)
    return made


@pytest.fixture(scope="module")
def library(minilm: Path) -> Any:
    """The same weights in sentence-transformers."""
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(minilm), device="cpu")


@pytest.fixture(scope="module")
def grpc(server: Server) -> Iterator[Client]:
    with Client(server.endpoints.grpc) as connected:
        yield connected


def ask(client: Client, *batch: str) -> np.ndarray:
    return np.asarray(client.infer("embedder", {"text": answers(batch)})["vector"])


def a_hundred_texts() -> list[str]:
    """Texts of 1 to 600 words in several scripts, some beyond what the model reads."""
    random = np.random.default_rng(0)
    lengths = [*[1, 2, 3, 5, 8, 12, 20, 35] * 11, 600, 300]
    words = " ".join(SENTENCES).split()
    mixed = [" ".join(random.choice(words, length)) for length in lengths]
    return [*SENTENCES, *mixed]


def test_a_hundred_texts_as_sentence_transformers_encodes_them(grpc: Client, library: Any) -> None:
    texts = a_hundred_texts()
    by_length = sorted(range(len(texts)), key=lambda i: len(texts[i]))
    served = np.empty((len(texts), 384), np.float32)
    # Like with like, as the library itself does: a batch is as long as its longest text.
    for some in np.array_split(by_length, 10):
        served[some] = ask(grpc, *(texts[i] for i in some))
    expected = library.encode(texts, normalize_embeddings=True)
    cosines = (served * expected).sum(axis=1)
    assert len(texts) == 100
    assert cosines.min() > 0.9999
    np.testing.assert_allclose(np.linalg.norm(served, axis=1), 1, atol=1e-5)


def test_near_means_alike(client: Client) -> None:
    question, same, other = ask(
        client,
        "How do I send back shoes that do not fit?",
        "Returning footwear of the wrong size",
        "The recipe needs two eggs and some flour.",
    )
    assert question @ same > 0.5 > 0.2 > question @ other


def test_a_text_asked_again_is_answered_alike(client: Client) -> None:
    """The second time from the response cache."""
    first, again = (ask(client, "the very same words") for _ in range(2))
    assert first.tobytes() == again.tobytes()


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "empty"), (b"\t \n", "empty"), (b"\xff\xfe", "not UTF-8.*byte 0")],
    ids=["empty", "blank", "no UTF-8"],
)
def test_a_bad_text_is_refused_with_the_number_of_its_item(
    client: Client, content: bytes, words: str
) -> None:
    batch = np.array([[b"fine"], [content], [b"fine"]], dtype=np.object_)
    with pytest.raises(InvalidInputError, match=f"item 1: .*{words}"):
        client.infer("embedder", {"text": batch})
    assert ask(client, "fine").shape == (1, 384)


def test_a_batch_larger_than_the_server_takes_is_sent_in_parts(client: Client) -> None:
    texts = [f"text {number}" for number in range(17)]
    whole = ask(client, *texts)
    assert whole.shape[0] == 17
    np.testing.assert_allclose(whole[16:], ask(client, texts[16]), **CLOSE)
    np.testing.assert_allclose(whole[:1], ask(client, texts[0]), **CLOSE)


@settings(deadline=None, max_examples=15)
@given(batch=st.lists(WRITTEN, min_size=2, max_size=6), data=st.data())
def test_items_do_not_see_each_other(grpc: Client, batch: list[str], data: st.DataObject) -> None:
    whole = ask(grpc, *batch)
    order = data.draw(st.permutations(range(len(batch))))
    np.testing.assert_allclose(ask(grpc, *(batch[i] for i in order)), whole[order], **CLOSE)
    one = data.draw(st.sampled_from(range(len(batch))))
    np.testing.assert_allclose(ask(grpc, batch[one]), whole[[one]], **CLOSE)


@settings(deadline=None, max_examples=15)
@given(text=WRITTEN, words=st.integers(30, 400))
def test_a_long_neighbour_changes_nothing(grpc: Client, text: str, words: int) -> None:
    together = ask(grpc, text, "word " * words)
    np.testing.assert_allclose(together[:1], ask(grpc, text), **CLOSE)


@settings(deadline=None, max_examples=30)
@given(batch=st.lists(WRITTEN, min_size=1, max_size=4))
def test_the_server_tokenizes_as_the_model_was_trained(
    grpc: Client, tokens: Tokens, library: Any, batch: list[str]
) -> None:
    inputs = {"text": answers(batch)}
    served, own = grpc.infer("embedder_tokens", inputs), tokens(inputs)
    theirs = [library.tokenizer(text, truncation=True, max_length=256).input_ids for text in batch]
    for index, expected in enumerate(theirs):
        real = served["attention_mask"][index] == 1
        assert served["input_ids"][index][real].tolist() == expected
    assert {name: array.tolist() for name, array in served.items()} == {
        name: array.tolist() for name, array in own.items()
    }

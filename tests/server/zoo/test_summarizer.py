"""What ``summarizer`` and ``summarizer_stream`` write, and what they make of nonsense."""

from __future__ import annotations

import json
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelport.build import loader, pipeline, sources
from modelport.client import Client, ClientError, InvalidInputError
from modelport.repository.layout import Repository
from modelport.runtime.server import Server
from modelport.serving.seq2seq import Seq2Seq
from modelport.serving.text import Tokens

BUILDER = Path(__file__).parents[3] / "builders" / "summarizer.py"
STREAMS = 64
LONG = 32  # the most tokens that a request may ask for


@pytest.fixture(scope="module")
def builder() -> ModuleType:
    load = loader.load(BUILDER).model("summarizer").load
    return sys.modules[load.__module__]


@pytest.fixture(scope="module")
def reviews(builder: ModuleType) -> list[str]:
    """Reviews that training never saw."""
    table = sources.fetch(builder.REVIEWS, BUILDER).path
    return list(builder.LEARNED.pairs(table).test.inputs["text"].ravel())


@pytest.fixture(scope="module")
def grpc(server: Server) -> Iterator[Client]:
    with Client(server.endpoints.grpc) as client:
        yield client


def batch(*texts: str | bytes) -> np.ndarray:
    return np.array(
        [[text.encode() if isinstance(text, str) else text] for text in texts], np.object_
    )


def options(count: int = 1, **values: Any) -> dict[str, np.ndarray]:
    types = {"temperature": np.float32, "top_p": np.float32, "seed": np.int64}
    made = {}
    for name, value in values.items():
        if name == "stop":
            made[name] = np.array([[one.encode() for one in value]] * count, np.object_)
        else:
            made[name] = np.full((count, 1), value, types.get(name, np.int32))
    return made


def titles(client: Client, *texts: str | bytes, **values: Any) -> list[str]:
    inputs = {"text": batch(*texts), **options(len(texts), **values)}
    return [title.decode() for title in client.infer("summarizer", inputs)["title"].ravel()]


def pieces(client: Client, text: str | bytes, **values: Any) -> list[str]:
    inputs = {"text": batch(text), **options(**values)}
    return [r["title"][0, 0].decode() for r in client.stream("summarizer_stream", inputs)]


def test_a_title_says_what_the_review_is_about(client: Client) -> None:
    (title,) = titles(client, "I love this dress! The dress is so pretty and the color is great.")
    assert "dress" in title


def test_every_title_is_greedy_by_default_and_streams_alike(
    grpc: Client, reviews: list[str]
) -> None:
    for first in range(0, 32, 16):
        some = reviews[first : first + 16]
        assert ["".join(pieces(grpc, review)) for review in some] == titles(grpc, *some)


@settings(max_examples=15)
@given(data=st.data())
def test_an_item_s_title_is_the_same_in_any_batch(
    data: st.DataObject, grpc: Client, reviews: list[str]
) -> None:
    """The batch pads the shorter texts, so this holds padding invariance too."""
    texts = data.draw(st.lists(st.sampled_from(reviews[:200]), min_size=2, max_size=8))
    beams = data.draw(st.sampled_from([1, 3]))
    alone = [titles(grpc, text, num_beams=beams)[0] for text in texts]
    assert titles(grpc, *texts, num_beams=beams) == alone


@settings(max_examples=15)
@given(temperature=st.floats(0.2, 3), seed=st.integers(0, 2**40), top_k=st.integers(0, 50))
def test_a_seed_gives_one_title(
    temperature: float, seed: int, top_k: int, grpc: Client, reviews: list[str]
) -> None:
    values = {"temperature": temperature, "seed": seed, "top_k": top_k}
    (one,) = titles(grpc, reviews[0], **values)
    assert titles(grpc, reviews[0], **values) == [one]
    assert "".join(pieces(grpc, reviews[0], **values)) == one


def test_other_seeds_give_other_titles(grpc: Client, reviews: list[str]) -> None:
    several = {titles(grpc, reviews[0], temperature=1.5, seed=seed)[0] for seed in range(8)}
    assert len(several) > 3


def test_stop_texts_and_the_limit_end_a_title(grpc: Client, reviews: list[str]) -> None:
    whole = next(t for t in titles(grpc, *reviews[:16]) if t.count(" ") >= 1)
    review = reviews[titles(grpc, *reviews[:16]).index(whole)]
    first = whole.split(" ")[0]
    assert titles(grpc, review, stop=[" "]) == [first]
    assert "".join(pieces(grpc, review, stop=[" "])) == first
    assert len(pieces(grpc, review, max_new_tokens=1)) == 1
    assert whole.startswith(titles(grpc, review, max_new_tokens=1)[0])


STRANGE = {
    "another script": "このドレスはとても素敵です。Очень красивое платье.",
    "emoji": "😀😀😀 👗👗",
    "one letter": "a",
    "punctuation": "?!?!?!",
    "special tokens": "</s><pad><unk> dress </s>",
    "control characters": "dress\x00\x07\x1b[31m\u202e red",
    "10,000 words": "this dress is lovely " * 2500,
    "a word without end": "dress" * 20000,
}


@pytest.mark.parametrize("text", STRANGE.values(), ids=STRANGE)
def test_strange_texts_get_a_title(grpc: Client, text: str) -> None:
    (title,) = titles(grpc, text)
    assert "".join(pieces(grpc, text)) == title


def test_only_the_first_tokens_of_a_long_text_are_read(grpc: Client, reviews: list[str]) -> None:
    long = " ".join(reviews[:5])
    assert titles(grpc, long) == titles(grpc, long + " What follows is not read. " * 50)


@pytest.mark.parametrize(
    ("text", "says"),
    [("", "item 0: the text is empty"), (b"\xff\xfe", "item 0: the text is not UTF-8")],
)
def test_what_is_no_text_is_refused(grpc: Client, text: str | bytes, says: str) -> None:
    with pytest.raises(InvalidInputError, match=says):
        titles(grpc, text)
    with pytest.raises(InvalidInputError, match=says):
        pieces(grpc, text)


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "temperature": ({"temperature": -1}, "`temperature` must be from 0 to 100; got -1"),
    "not a number": ({"temperature": np.nan}, "`temperature` must be from 0 to 100; got nan"),
    "top_p": ({"top_p": 0}, "`top_p` must be above 0"),
    "top_k": ({"top_k": -3}, "`top_k` must be from 0"),
    "too many": ({"max_new_tokens": LONG + 1}, f"`max_new_tokens` must be from 1 to {LONG}"),
    "seed": ({"seed": -1}, "`seed` must be from 0"),
    "stop": ({"stop": [""]}, "`stop` takes at most 8 texts"),
}


@pytest.mark.parametrize(("values", "says"), BAD.values(), ids=BAD)
def test_a_bad_option_is_named(grpc: Client, values: dict[str, Any], says: str) -> None:
    for ask in (titles, pieces):
        with pytest.raises(InvalidInputError, match=f"item 0: {says}"):
            ask(grpc, "a fine dress", **values)


@pytest.mark.parametrize("beams", [0, 9])
def test_beams_have_bounds(grpc: Client, beams: int) -> None:
    with pytest.raises(InvalidInputError, match=f"`num_beams` must be from 1 to 8; got {beams}"):
        titles(grpc, "a fine dress", num_beams=beams)


def test_the_item_with_the_bad_option_is_named(grpc: Client) -> None:
    inputs = {"text": batch("one", "two"), "top_k": np.array([[1], [-1]], np.int32)}
    with pytest.raises(InvalidInputError, match="item 1: `top_k`"):
        grpc.infer("summarizer", inputs)


def generate(server: Server, model: str, **fields: Any) -> tuple[int, str]:
    """Ask over Triton's ``/generate``."""
    request = urllib.request.Request(
        f"{server.endpoints.http}/v2/models/{model}", json.dumps(fields).encode()
    )
    try:
        with urllib.request.urlopen(request) as reply:
            return reply.status, reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_generate_and_generate_stream_answer(
    server: Server, grpc: Client, reviews: list[str]
) -> None:
    (title,) = titles(grpc, reviews[1])
    status, content = generate(server, "summarizer/generate", text=reviews[1])
    assert (status, json.loads(content)["title"]) == (200, title)
    status, content = generate(server, "summarizer_stream/generate_stream", text=reviews[1])
    events = [json.loads(line[6:]) for line in content.splitlines() if line.startswith("data: ")]
    assert "".join(event["title"] for event in events) == title


def test_a_misspelt_option_is_not_passed_over(server: Server) -> None:
    for path in ("summarizer/generate", "summarizer_stream/generate_stream"):
        _, content = generate(server, path, text="a fine dress", temprature=1)
        assert "unknown option 'temprature'; there are: max_new_tokens" in content


@pytest.fixture(scope="module")
def hugging_face(builder: ModuleType) -> Any:
    """The trained network in Hugging Face's own class."""
    from modelport.build.network import NetworkBuild

    loaded = loader.load(BUILDER)
    model = loaded.model("summarizer_encoder")
    fetched = [sources.fetch(source, BUILDER) for source in model.sources]
    return NetworkBuild(loaded, model, fetched, lambda _: None).trained_network.network


@pytest.mark.parametrize("beams", [1, 2, 4])
def test_the_server_writes_what_hugging_face_generate_writes(
    beams: int, hugging_face: Any, repository: Repository, grpc: Client, reviews: list[str]
) -> None:
    """Token by token, on reviews of the test split, with the encoder and decoder served."""
    import torch

    folder = repository.model("summarizer")
    version = folder.version_dir(folder.served_versions()[-1])
    written = Seq2Seq.from_folder(version, "summarizer", output="title")
    some = reviews[:56]
    tokens = Tokens.from_folder(version)
    ids, mask = tokens.encode(some)
    with torch.inference_mode():
        made = hugging_face.generate(
            torch.from_numpy(ids),
            attention_mask=torch.from_numpy(mask),
            max_new_tokens=20,
            num_beams=beams,
            do_sample=False,
        )
    expected = [[token for token in row if token > 1] for row in made[:, 1:].tolist()]
    inputs = {
        "text": batch(*some),
        **options(len(some), num_beams=beams, max_new_tokens=20),
    }
    assert written.tokens(inputs, grpc.infer) == expected
    # And through the server's own loop, text by text.
    got = [
        title
        for first in range(0, len(some), 14)
        for title in titles(grpc, *some[first : first + 14], num_beams=beams, max_new_tokens=20)
    ]
    assert got == [tokens.decode(row) for row in expected]


def stubs(repository: Repository) -> dict[str, tuple[int, int]]:
    """Threads and resident KiB of the process of each of the summarizer's models."""
    found = {}
    for folder in Path("/proc").iterdir():
        try:
            command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            status = dict(
                line.split(":", 1) for line in (folder / "status").read_text().splitlines()
            )
        except (OSError, UnicodeDecodeError):
            continue
        if "backend_stub" in command and f"{repository.path}/summarizer" in command:
            found[folder.name] = (int(status["Threads"]), int(status["VmRSS"].split()[0]))
    return found


def begin(client: Client, review: str, tokens: int) -> Iterator[dict[str, np.ndarray]]:
    inputs = {"text": batch(review), **options(temperature=3.0, max_new_tokens=tokens, seed=5)}
    return client.stream("summarizer_stream", inputs)


def test_half_of_64_streams_go_away_and_the_others_are_right(
    repository: Repository, grpc: Client, reviews: list[str]
) -> None:
    """Streams that are left in the middle spoil no other, and leave nothing behind."""
    texts = reviews[:STREAMS]
    expected = [
        "".join(r["title"][0, 0].decode() for r in begin(grpc, text, LONG)) for text in texts
    ]
    together = threading.Barrier(STREAMS)

    def ask(number: int) -> str | None:
        together.wait()
        answers = begin(grpc, texts[number], LONG)
        if number % 2:
            next(answers)
            answers.close()  # cancels on the server
            return None
        return "".join(r["title"][0, 0].decode() for r in answers)

    after = []
    for _ in range(3):
        with ThreadPoolExecutor(STREAMS) as threads:
            got = list(threads.map(ask, range(STREAMS)))
        assert got[::2] == expected[::2]
        after.append(stubs(repository))
    assert grpc.ready()
    assert len(after[0]) == 4
    for process, (_, memory_first) in after[0].items():
        threads_last, memory_last = after[-1][process]
        # One for each stream at a time, kept for the next ones, and Triton's own.
        assert threads_last < STREAMS + 16
        assert memory_last - memory_first < 20 * 1024


def test_a_bad_stream_spoils_no_other(grpc: Client, reviews: list[str]) -> None:
    expected = titles(grpc, reviews[2])[0]

    def ask(number: int) -> str:
        try:
            return "".join(pieces(grpc, reviews[2] if number % 2 else ""))
        except ClientError as error:
            return type(error).__name__

    with ThreadPoolExecutor(16) as threads:
        got = list(threads.map(ask, range(16)))
    assert got == ["InvalidInputError", expected] * 8


@pytest.mark.slow
def test_any_t5_folder_is_served_instead(tmp_path: Path) -> None:
    """As users have it: a folder that transformers and tokenizers wrote, and nothing else."""
    import torch
    from tokenizers import Tokenizer, pre_tokenizers, trainers
    from tokenizers.models import BPE
    from transformers import T5Config, T5ForConditionalGeneration

    torch.manual_seed(3)
    config = T5Config(
        vocab_size=300, d_model=24, d_kv=8, d_ff=32, num_heads=3, num_layers=2,
        decoder_start_token_id=0, pad_token_id=0, eos_token_id=1,
    )  # fmt: skip
    network = T5ForConditionalGeneration(config).eval()
    network.save_pretrained(tmp_path / "t5")
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel()
    special = ["<pad>", "</s>", "<unk>"]
    letters = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=special, initial_alphabet=letters)
    tokenizer.train_from_iterator(["what a day for a walk"] * 9, trainer)
    tokenizer.save(str(tmp_path / "t5" / "tokenizer.json"))

    mine = tmp_path / "repository"
    for name in ("summarizer", "summarizer_stream"):
        (mine / name).mkdir(parents=True)
        code = BUILDER.parents[1] / "model_repository" / name / "model.py"
        (mine / name / "model.py").write_bytes(code.read_bytes())
    pipeline.build(["summarizer"], builders=BUILDER, repository=mine, data=tmp_path / "t5")
    text = "a walk for what"
    with Server.start(mine) as running, Client(running.endpoints.grpc) as client:
        title = client.infer("summarizer", {"text": text, "max_new_tokens": 8})["title"].item()
    ids = torch.tensor([[*tokenizer.encode(text).ids, 1]])
    expected = network.generate(ids, max_new_tokens=8, num_beams=1, do_sample=False)[0]
    assert title.decode().strip() == tokenizer.decode(expected.tolist()).strip()

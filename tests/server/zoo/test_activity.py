"""Sequences to the model ``activity``: cut anywhere, thousands at once, never ended, wrong."""

from __future__ import annotations

import asyncio
import itertools
import re
import shutil
import time
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelport.build import Dataset, Split
from modelport.client import AsyncClient, Client, InvalidInputError
from modelport.errors import ClientError
from modelport.repository.layout import Repository
from modelport.runtime.server import Server
from modelport.verify import in_process

ACTIVITIES = ("Badminton", "Running", "Standing", "Walking")
MANY, AT_ONCE = 2000, 256
TOLERANCE = {"rtol": 1e-4, "atol": 1e-5}  # that of the builder


@pytest.fixture(scope="module")
def test_half(learned_from: Callable[[str, str], Dataset]) -> Split:
    return learned_from("activity", "activity_lstm").test


@pytest.fixture(scope="module")
def frames(test_half: Split) -> np.ndarray:
    """float32[40, 100, 6]."""
    return test_half.inputs["frames"]


@pytest.fixture(scope="module")
def network(repository: Repository) -> Any:
    folder = repository.folder("activity_lstm")
    newest = folder.served_versions()[-1]
    return in_process.session(folder.version_dir(newest) / "model.onnx")


def scores_of(network: Any, sequences: np.ndarray) -> np.ndarray:
    """What the proven network says to whole sequences, each on its own row."""
    nothing = np.zeros((len(sequences), 32), np.float32)
    return in_process.run(network, {"frames": sequences, "h": nothing, "c": nothing})["scores"]


def in_requests(client: Client, sequence: np.ndarray, cuts: list[int]) -> dict[str, np.ndarray]:
    """Send the frames between the cuts as one request each; give the answers, joined."""
    edges = [0, *sorted(cuts), len(sequence)]
    parts = [sequence[a:b] for a, b in itertools.pairwise(edges)]
    with client.sequence("activity") as opened:
        answers = [
            opened.send({"frames": part[None]}, end=i == len(parts) - 1)
            for i, part in enumerate(parts)
        ]
    return {name: np.concatenate([a[name] for a in answers], axis=1) for name in answers[0]}


def test_activities_are_told_at_the_end(client: Client, test_half: Split) -> None:
    wanted = np.array(ACTIVITIES)[test_half.targets]
    told = [
        in_requests(client, frames, [50])["label"][0, -1].decode()
        for frames in test_half.inputs["frames"]
    ]
    assert np.mean(np.array(told) == wanted) >= 0.95


@settings(max_examples=25)
@given(
    which=st.integers(0, 39),
    length=st.integers(1, 100),
    cuts=st.lists(st.integers(0, 100), max_size=12),
)
def test_a_sequence_may_be_cut_anywhere(
    grpc: Client,
    network: Any,
    frames: np.ndarray,
    which: int,
    length: int,
    cuts: list[int],
) -> None:
    """Equal cuts make requests without a frame, which are allowed."""
    sequence = frames[which, :length]
    answer = in_requests(grpc, sequence, [min(cut, length) for cut in cuts])
    expected = scores_of(network, sequence[None])
    np.testing.assert_allclose(answer["scores"], expected, **TOLERANCE)
    np.testing.assert_allclose(answer["probability"], expected.max(axis=-1), **TOLERANCE)
    chosen = answer["scores"].argmax(axis=-1)
    assert answer["label"].astype(str).tolist() == np.array(ACTIVITIES)[chosen].tolist()


def test_thousands_of_sequences_never_mix(server: Server, network: Any, frames: np.ndarray) -> None:
    """All are live at once, hundreds ask at once, and advance in turn by one frame or by two."""
    random = np.random.default_rng(0)
    rounds = [1, 1, 2, 1]
    starts, scales = random.integers(0, 90, MANY), random.uniform(0.5, 1.5, MANY)
    sequences = np.stack(
        [
            frames[i % 40, start : start + sum(rounds)] * scale
            for i, (start, scale) in enumerate(zip(starts, scales, strict=True))
        ]
    ).astype(np.float32)
    answers = asyncio.run(in_turns(server.endpoints.grpc, sequences, rounds))
    np.testing.assert_allclose(answers, scores_of(network, sequences), **TOLERANCE)


async def in_turns(url: str, sequences: np.ndarray, rounds: list[int]) -> np.ndarray:
    """Send some frames of every sequence, then some more, until all of all have ended.

    Each request is a call of its own: tritonserver 2.51 dies now and then of thousands that
    wait on one stream (ModelStreamInfer).
    """
    free, edges = asyncio.Semaphore(AT_ONCE), [0, *itertools.accumulate(rounds)]
    async with AsyncClient(url) as client:
        opened = [client.sequence("activity") for _ in sequences]

        async def advance(number: int, begin: int, end: int) -> np.ndarray:
            part = sequences[number, begin:end]
            async with free:
                answer = await opened[number].send({"frames": part[None]}, end=end == edges[-1])
            return np.asarray(answer["scores"][0])

        turns = [
            await asyncio.gather(*(advance(number, *turn) for number in range(len(sequences))))
            for turn in itertools.pairwise(edges)
        ]
    return np.concatenate([np.stack(answers) for answers in turns], axis=1)


def test_a_second_start_begins_anew(grpc: Client, network: Any, frames: np.ndarray) -> None:
    def send(part: np.ndarray, **flags: bool) -> np.ndarray:
        inputs = {"frames": part[None]}
        return grpc.infer("activity", inputs, sequence_id=77, **flags)["scores"]

    send(frames[0, :40], sequence_start=True)
    first = send(frames[35, :20], sequence_start=True)
    second = send(frames[35, 20:50], sequence_end=True)
    expected = scores_of(network, frames[[35], :50])
    np.testing.assert_allclose(np.concatenate([first, second], 1), expected, **TOLERANCE)


def test_a_sequence_that_never_started_is_refused(client: Client, frames: np.ndarray) -> None:
    with pytest.raises(InvalidInputError, match="START"):
        client.infer("activity", {"frames": frames[:1, :1]}, sequence_id=4711)
    client.infer(
        "activity",
        {"frames": frames[:1, :1]},
        sequence_id=4711,
        sequence_start=True,
        sequence_end=True,
    )
    with pytest.raises(InvalidInputError, match="START"):
        client.infer("activity", {"frames": frames[:1, :1]}, sequence_id=4711)


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda part: np.where(np.arange(6) == 2, np.nan, part), "frame 0, axis 2"),
        (lambda part: np.full_like(part, np.inf), "frame 0, axis 0"),
        (lambda part: np.repeat(part, 300, axis=0), "at most 1000"),
        (lambda part: part[:, :5], "6"),
    ],
    ids=["NaN", "infinite", "too many", "five axes"],
)
def test_a_bad_request_leaves_its_sequence_as_it_was(
    client: Client, network: Any, frames: np.ndarray, spoil: Any, words: str
) -> None:
    with client.sequence("activity") as opened:
        first = opened.send({"frames": frames[:1, :30]})["scores"]
        with pytest.raises(InvalidInputError, match=words):
            opened.send({"frames": spoil(frames[0, 30:40])[None].astype(np.float32)})
        second = opened.send({"frames": frames[:1, 30:]}, end=True)["scores"]
    expected = scores_of(network, frames[:1])
    np.testing.assert_allclose(np.concatenate([first, second], 1), expected, **TOLERANCE)


def test_devices_that_leave_in_the_middle_disturb_no_other(
    grpc: Client, network: Any, frames: np.ndarray
) -> None:
    """Of 64 at once, every second one sends some frames and never an end."""

    def device(number: int) -> np.ndarray:
        sequence = frames[number % 40]
        stays = number % 2 == 0
        cuts = list(range(7, 100, 7)) if stays else [3]
        if stays:
            return in_requests(grpc, sequence, cuts)["scores"]
        with grpc.sequence("activity") as opened:
            return np.asarray(opened.send({"frames": sequence[None, : 3 + number]})["scores"])

    with ThreadPoolExecutor(64) as pool:
        answers = list(pool.map(device, range(64)))
    expected = scores_of(network, frames)
    for number, answer in enumerate(answers):
        wanted = expected[[number % 40], : answer.shape[1]]
        np.testing.assert_allclose(answer, wanted, **TOLERANCE)
    assert grpc.ready("activity")


LIMIT, IDLE_S = 20, 0.5


@pytest.fixture(scope="module")
def strict(repository: Repository, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server whose copy of the model keeps few sequences, and forgets them soon."""
    path = tmp_path_factory.mktemp("strict")
    for name in ("activity", "activity_lstm"):
        shutil.copytree(repository.folder(name).path, path / name)
    config = path / "activity" / "config.pbtxt"
    text = re.sub(r"(idle_microseconds: )\d+", rf"\g<1>{IDLE_S * 1e6:.0f}", config.read_text())
    config.write_text(text.replace('"4096"', f'"{LIMIT}"'))
    with Server.start(path, listed=False) as running:
        yield running


def live(server: Server) -> int:
    """How many sequences the model keeps, by the server's own metrics."""
    with urllib.request.urlopen(server.endpoints.metrics, timeout=10) as reply:
        lines = reply.read().decode().splitlines()
    (line,) = (one for one in lines if one.startswith("modelport_live_sequences{"))
    return int(float(line.split()[-1]))


def test_more_sequences_than_the_model_keeps_are_refused_at_once(
    strict: Server, frames: np.ndarray
) -> None:
    one = {"frames": frames[:1, :1]}
    with Client(strict.endpoints.grpc, timeout_s=10) as client:
        opened = [client.sequence("activity") for _ in range(LIMIT + 5)]
        for sequence in opened[:LIMIT]:
            sequence.send(one)
        assert live(strict) == LIMIT
        for sequence in opened[LIMIT:]:
            with pytest.raises(ClientError, match="20 sequences are live"):
                sequence.send(one)
        opened[0].send(one, end=True)
        opened[-1].send(one, end=True)
        for sequence in opened[1:LIMIT]:
            sequence.send(one, end=True)
    assert live(strict) == 0


def test_sequences_that_never_end_are_freed(strict: Server, frames: np.ndarray) -> None:
    one = {"frames": frames[:1, :1]}
    with Client(strict.endpoints.grpc, timeout_s=10) as client:
        silent = [client.sequence("activity") for _ in range(LIMIT - 1)]
        for sequence in silent:
            sequence.send(one)
        assert live(strict) == LIMIT - 1
        deadline = time.monotonic() + 30
        while live(strict) and time.monotonic() < deadline:
            time.sleep(IDLE_S)
            # Any request lets the model look at the clock.
            client.sequence("activity").send(one, end=True)
        assert live(strict) == 0
        with pytest.raises(InvalidInputError, match="START"):
            silent[0].send(one)

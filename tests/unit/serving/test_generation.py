"""The decoding loop: choosing tokens, beams, options, and text that never changes again."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelport.serving import generation
from modelport.serving.generation import Options, Transcript, decode, options, pick, search
from modelport.serving.python_model import BadItemError

END = 1


class Chain:
    """A decoder whose scores hang on the item and on all tokens so far, as a real one's do."""

    def __init__(self, items: int, *, vocabulary: int = 11, sharp: float = 2.0) -> None:
        self.paths: list[tuple[int, ...]] = [(-1 - item,) for item in range(items)]
        self.widths: list[int] = []
        self._vocabulary = vocabulary
        self._sharp = sharp

    def __call__(self, parents: np.ndarray, tokens: np.ndarray) -> np.ndarray:
        steps = zip(parents, tokens, strict=True)
        self.paths = [(*self.paths[parent], int(token)) for parent, token in steps]
        self.widths.append(len(self.paths))
        return np.stack([self.scores(path) for path in self.paths])

    def scores(self, path: Sequence[int]) -> np.ndarray:
        random = np.random.default_rng([value + 1000 for value in path])
        return (random.normal(size=self._vocabulary) * self._sharp).astype(np.float32)


def run(items: Sequence[Options], *, first_item: int = 0) -> list[list[int]]:
    step = Chain(first_item + len(items))
    step.paths = step.paths[first_item:]
    searches = [search(one, END) for one in items]
    for _ in decode(step, searches, 0):
        pass
    return [list(one.tokens) for one in searches]


def test_greedy_takes_the_likeliest_token_each_time() -> None:
    chain, path, expected = Chain(1), (-1, 0), []
    for _ in range(20):
        token = int(chain.scores(path).argmax())
        if token == END:
            break
        expected.append(token)
        path = (*path, token)
    assert run([Options(max_new_tokens=20)]) == [expected]
    assert len(expected) > 2


OPTIONS = st.one_of(
    st.builds(Options, max_new_tokens=st.integers(1, 9), num_beams=st.integers(1, 5)),
    st.builds(
        Options,
        max_new_tokens=st.integers(1, 9),
        temperature=st.floats(0.1, 5),
        top_k=st.integers(0, 12),
        top_p=st.floats(0.05, 1),
        seed=st.integers(0, 9),
    ),
)


@given(st.lists(OPTIONS, min_size=1, max_size=5))
def test_items_in_one_loop_get_what_each_would_get_alone(items: list[Options]) -> None:
    alone = [run([one], first_item=index)[0] for index, one in enumerate(items)]
    assert run(items) == alone


@given(OPTIONS)
def test_no_more_tokens_than_allowed_and_no_end_token(one: Options) -> None:
    (tokens,) = run([one])
    assert len(tokens) <= one.max_new_tokens
    assert END not in tokens


def test_rows_of_finished_items_leave_the_decoder() -> None:
    step = Chain(3)
    searches = [search(Options(max_new_tokens=n), END) for n in (1, 2, 6)]
    for _ in decode(step, searches, 0):
        pass
    assert step.widths[0] == 3
    assert step.widths == sorted(step.widths, reverse=True)
    assert step.widths[-1] == 1


def test_a_search_that_is_finished_early_keeps_what_it_has() -> None:
    both = [Options(max_new_tokens=9)] * 2
    whole = run(both)
    searches = [search(one, END) for one in both]
    turns = decode(Chain(2), searches, 0)
    next(turns)
    searches[0].finish()
    for _ in turns:
        pass
    assert list(searches[0].tokens) == whole[0][:1] != whole[0]
    assert list(searches[1].tokens) == whole[1]


def test_each_item_may_begin_with_a_token_of_its_own() -> None:
    step = Chain(2)
    next(decode(step, [search(Options(), END), search(Options(num_beams=2), END)], [5, 7]))
    assert [path[1] for path in step.paths] == [5, 7, 7]


def test_wide_beams_find_the_best_path_of_all() -> None:
    """With as many beams as paths nothing is pruned: then the search is exhaustive."""
    length, vocabulary = 2, 8
    chain = Chain(1, vocabulary=vocabulary, sharp=0.5)
    best, best_score = (), -math.inf
    for first in range(vocabulary):
        one = generation.log_softmax(chain.scores((-1, 0))[np.newaxis])[0]
        if first == END:
            ends = [((), one[END])]
        else:
            two = generation.log_softmax(chain.scores((-1, 0, first))[np.newaxis])[0]
            ends = [
                ((first,) if t == END else (first, t), (one[first] + two[t]) / length)
                for t in range(vocabulary)
            ]
        for tokens, score in ends:
            if score > best_score:
                best, best_score = tokens, score
    found = search(Options(max_new_tokens=length, num_beams=8), END)
    for _ in decode(Chain(1, vocabulary=vocabulary, sharp=0.5), [found], 0):
        pass
    assert tuple(found.tokens) == best


def counts(one: Options, scores: np.ndarray, times: int = 4000) -> np.ndarray:
    random = np.random.default_rng(7)
    drawn = [pick(scores, one, random) for _ in range(times)]
    return np.bincount(drawn, minlength=len(scores)) / times


SCORES = np.array([2.0, 0.5, 1.0, -1.0, 2.0], np.float32)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_samples_follow_the_softmax(temperature: float) -> None:
    expected = np.exp(SCORES / temperature)
    expected /= expected.sum()
    drawn = counts(Options(temperature=temperature), SCORES)
    # Five standard deviations of a share of 4,000 draws, with a fixed seed.
    assert np.all(np.abs(drawn - expected) < 5 * np.sqrt(expected / 4000))


@pytest.mark.parametrize(
    ("one", "drawn"),
    [
        (Options(temperature=1, top_k=1), {0}),
        (Options(temperature=1, top_k=3), {0, 4, 2}),
        (Options(temperature=1, top_p=0.01), {0}),
        # 0 and 4 hold 0.38 each: two reach 0.7, a third is needed for 0.8.
        (Options(temperature=1, top_p=0.7), {0, 4}),
        (Options(temperature=1, top_p=0.8), {0, 4, 2}),
        (Options(temperature=1e-6), {0, 4}),
        (Options(temperature=1), {0, 1, 2, 3, 4}),
    ],
)
def test_top_k_and_top_p_leave_the_unlikely_out(one: Options, drawn: set[int]) -> None:
    assert set(np.flatnonzero(counts(one, SCORES))) == drawn


def test_the_seed_decides_the_samples() -> None:
    def sampled(seed: int) -> list[list[int]]:
        return run([Options(temperature=2, seed=seed, max_new_tokens=9)])

    assert sampled(3) == sampled(3)
    assert len({str(sampled(seed)) for seed in range(8)}) > 4


def test_options_are_read_by_item_and_fall_back() -> None:
    inputs = {
        "num_beams": np.array([[1], [4]], np.int32),
        "stop": np.array([[b"one", b"zwei"]] * 2, dtype=np.object_),
    }
    got = options(inputs, 1, Options(max_new_tokens=16), 64)
    assert got == Options(max_new_tokens=16, num_beams=4, stop=("one", "zwei"))


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("temperature", -0.5, "`temperature` must be from 0 to 100; got -0.5"),
        ("temperature", math.nan, "`temperature` must be from 0 to 100; got nan"),
        ("num_beams", 0, "`num_beams` must be from 1 to 8; got 0"),
        ("num_beams", 9, "`num_beams` must be from 1 to 8; got 9"),
        ("max_new_tokens", 0, "`max_new_tokens` must be from 1 to 64; got 0"),
        ("max_new_tokens", 65, "`max_new_tokens` must be from 1 to 64; got 65"),
        ("top_k", -1, "`top_k` must be from 0"),
        ("top_p", 0.0, "`top_p` must be above 0 and at most 1; got 0"),
        ("top_p", 1.5, "`top_p` must be above 0 and at most 1; got 1.5"),
        ("seed", -1, "`seed` must be from 0"),
        ("stop", b"", "`stop` takes at most 8 texts, none of them empty"),
        ("stop", b"\xff", "`stop` is not UTF-8 text"),
    ],
)
def test_a_bad_option_is_named(name: str, value: object, says: str) -> None:
    with pytest.raises(BadItemError) as caught:
        options({name: np.array([[value]])}, 0, Options(), 64)
    assert says in str(caught.value)


def test_beams_and_sampling_exclude_each_other() -> None:
    inputs = {"num_beams": np.array([[2]]), "temperature": np.array([[0.7]])}
    with pytest.raises(BadItemError, match="exclude each other"):
        options(inputs, 0, Options(), 64)


def test_an_option_takes_one_value() -> None:
    with pytest.raises(BadItemError, match="`top_k` takes one value per item; got 2"):
        options({"top_k": np.array([[1, 2]])}, 0, Options(), 64)


def test_an_unknown_parameter_is_named() -> None:
    generation.refuse_parameters("{}")
    generation.refuse_parameters("")
    generation.refuse_parameters('{"trace": 1}', ["trace"])
    with pytest.raises(BadItemError, match="unknown option 'temprature'; there are: max_new"):
        generation.refuse_parameters('{"temprature": 1}')


def by_bytes(tokens: Sequence[int]) -> str:
    return bytes(tokens).decode(errors="replace")


def pieces(transcript: Transcript, tokens: Sequence[int]) -> list[str]:
    found = [transcript.extend(tokens[: n + 1]) for n in range(len(tokens))]
    return [*found, transcript.extend(tokens, final=True)]


@given(st.text(), st.lists(st.text("ab", min_size=1, max_size=3), max_size=3))
def test_pieces_put_together_are_the_text_up_to_the_first_stop(text: str, stop: list[str]) -> None:
    """The first stop is the one that is complete first, not the one that begins first."""
    read = next(
        (text[:n] for n in range(len(text) + 1) if any(one in text[:n] for one in stop)), text
    )
    expected = read[: min((read.find(one) for one in stop if one in read), default=len(read))]
    assert "".join(pieces(Transcript(by_bytes, stop), list(text.encode()))) == expected


@settings(max_examples=50)
@given(st.text("ab", max_size=30), st.lists(st.text("ab", min_size=1, max_size=4), max_size=3))
def test_stops_that_overlap_are_never_half_sent(text: str, stop: list[str]) -> None:
    transcript = Transcript(by_bytes, stop)
    got = "".join(pieces(transcript, list(text.encode())))
    assert transcript.text == got
    assert not any(one in got for one in stop)
    assert transcript.stopped == any(one in text for one in stop)


def test_half_a_character_is_held_back() -> None:
    assert pieces(Transcript(by_bytes), list("aé!".encode())) == ["a", "", "é", "!", ""]


def test_padding_marks_what_is_text() -> None:
    tokens, mask = generation.pad([[5, 6], [], [7]])
    assert tokens.tolist() == [[5, 6], [0, 0], [7, 0]]
    assert mask.tolist() == [[1, 1], [0, 0], [1, 0]]


Reference = Callable[[int, Options], list[int]]


@pytest.fixture(scope="module")
def hugging_face() -> tuple[Callable[[int], generation.Step], Reference]:
    """A tiny random T5, as a step without any cache, and its own ``generate``."""
    import torch
    from transformers import T5Config, T5ForConditionalGeneration

    torch.manual_seed(0)
    config = T5Config(
        vocab_size=23, d_model=16, d_kv=8, d_ff=16, num_heads=2, num_layers=1,
        decoder_start_token_id=0, initializer_factor=3.0,
    )  # fmt: skip
    network = T5ForConditionalGeneration(config).eval()

    def text(item: int) -> torch.Tensor:
        return torch.randint(2, 23, (1, 9), generator=torch.Generator().manual_seed(item))

    def step_of(item: int) -> generation.Step:
        paths = torch.zeros((1, 0), dtype=torch.int64)

        def step(parents: np.ndarray, tokens: np.ndarray) -> np.ndarray:
            nonlocal paths
            last = torch.from_numpy(tokens)[:, None]
            paths = torch.cat([paths[torch.from_numpy(parents)], last], dim=1)
            with torch.inference_mode():
                source = text(item).expand(len(paths), -1)
                return network(input_ids=source, decoder_input_ids=paths).logits[:, -1].numpy()

        return step

    def reference(item: int, one: Options) -> list[int]:
        with torch.inference_mode():
            tokens = network.generate(
                text(item),
                max_new_tokens=one.max_new_tokens,
                num_beams=one.num_beams,
                do_sample=False,
            )[0].tolist()
        return [token for token in tokens[1:] if token > END]

    return step_of, reference


@pytest.mark.parametrize("beams", [1, 2, 3, 4, 8])
def test_the_loop_equals_hugging_face_generate(
    hugging_face: tuple[Callable[[int], generation.Step], Reference], beams: int
) -> None:
    step_of, reference = hugging_face
    answers = []
    for item in range(12):
        one = Options(num_beams=beams, max_new_tokens=1 + 2 * (item % 6))
        found = search(one, END)
        for _ in decode(step_of(item), [found], 0):
            pass
        assert [token for token in found.tokens if token > END] == reference(item, one)
        answers.append(tuple(found.tokens))
    assert len(set(answers)) > 3

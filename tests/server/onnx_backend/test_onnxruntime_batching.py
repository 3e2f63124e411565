"""Requests that meet in the dynamic batcher: each gets its own answer, or its own error."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from queue import Queue

import numpy as np
import tritonclient.grpc as triton

from .test_onnxruntime_answers import bf16_request, infer, tensor


def together(client, model, requests):
    """Send ``requests`` (lists of inputs) at once; return results or exceptions in their order."""
    answers: Queue = Queue()
    for number, inputs in enumerate(requests):
        client.async_infer(
            model, inputs, lambda result, error, n=number: answers.put((n, result, error))
        )
    got = [answers.get(timeout=30) for _ in requests]
    return [result or error for _, result, error in sorted(got, key=lambda item: item[0])]


def batches(client, model) -> dict[int, int]:
    """Executions so far, by batch size."""
    (stats,) = client.get_inference_statistics(model).model_stats
    return {batch.batch_size: batch.compute_infer.count for batch in stats.batch_stats}


def met_in_a_batch_above(rows: int, client, model, before) -> bool:
    """Whether a batch of more than ``rows`` was executed since ``before``.

    The server counts a batch after it has answered it, so its figures may lag.
    """
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        after = batches(client, model)
        if any(size > rows and count > before.get(size, 0) for size, count in after.items()):
            return True
        time.sleep(0.05)
    return False


def test_one_bad_request_fails_alone(client):
    before = batches(client, "lookup")
    indices = [0, 1, 99, 2, 3]
    answers = together(
        client, "lookup", [[tensor("index", np.array([[i]], np.int64))] for i in indices]
    )
    assert met_in_a_batch_above(1, client, "lookup", before)
    for index, answer in zip(indices, answers, strict=True):
        if index == 99:
            assert isinstance(answer, triton.InferenceServerException)
            assert "out of data bounds" in answer.message()
        else:
            assert answer.as_numpy("y").tolist() == [[[10 * index, 10 * index + 1]]]


def test_request_whose_rows_get_lost_does_not_shift_the_others(client):
    before = batches(client, "drops_rows")
    rows = [np.array([[first, n, n]], np.float32) for n, first in enumerate([1, -1, 1, 1])]
    answers = together(client, "drops_rows", [[tensor("x", row)] for row in rows])
    assert met_in_a_batch_above(1, client, "drops_rows", before)
    assert "expected 1 rows" in answers[1].message()
    for number in (0, 2, 3):
        assert answers[number].as_numpy("y").tolist() == rows[number].tolist()


def test_undecodable_text_fails_alone(client):
    before = batches(client, "shout")
    texts = [b"a", b"\xff", "ß".encode(), b""]
    answers = together(client, "shout", [[tensor("x", np.array([[t]], object))] for t in texts])
    assert met_in_a_batch_above(1, client, "shout", before)
    assert "not UTF-8" in answers[1].message()
    good = [answers[i].as_numpy("y").tolist() for i in (0, 2, 3)]
    assert good == [[[b"a!"]], [["ß!".encode()]], [[b"!"]]]


def test_requests_that_want_different_outputs(client):
    before = batches(client, "several_outputs")
    answers: Queue = Queue()
    wanted = [["square"], ["negative"], ["square", "negative"], None]
    for number, names in enumerate(wanted):
        client.async_infer(
            "several_outputs",
            [tensor("x", np.full((1, 3), number + 1, np.float32))],
            lambda result, error, n=number: answers.put((n, result, error)),
            outputs=names and [triton.InferRequestedOutput(name) for name in names],
        )
    got = {number: (result, error) for number, result, error in (answers.get() for _ in wanted)}
    assert met_in_a_batch_above(1, client, "several_outputs", before)
    for number, names in enumerate(wanted):
        result, error = got[number]
        assert error is None
        returned = {o.name for o in result.get_response().outputs}
        assert returned == set(names or ["square", "negative"])
        if "square" in returned:
            assert result.as_numpy("square").tolist() == [[(number + 1) ** 2] * 3]
        if "negative" in returned:
            assert result.as_numpy("negative").tolist() == [[-number - 1.0] * 3]


def test_bf16_requests_merge(client):
    before = batches(client, "identity_bf16")
    requests = [bf16_request([[n, -n]] * n, [n] * n) for n in (1, 2, 3)]
    answers = together(client, "identity_bf16", [inputs for _, inputs in requests])
    assert met_in_a_batch_above(3, client, "identity_bf16", before)
    for (bits, _), answer in zip(requests, answers, strict=True):
        assert answer.as_numpy("z").tolist() == bits.astype(np.float32).tolist()
        names = [o.name for o in answer.get_response().outputs]
        assert answer.get_response().raw_output_contents[names.index("y")] == bits.tobytes()


def test_concurrent_requests_of_mixed_batch_and_length_each_get_their_own_answer(client):
    before = batches(client, "total")
    rng = np.random.default_rng(0)
    inputs = [
        rng.integers(-99, 99, size=(rng.integers(1, 5), rng.integers(1, 4))).astype(np.float32)
        for _ in range(200)
    ]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda x: infer(client, "total", x=x)["y"], inputs))
    for x, y in zip(inputs, answers, strict=True):
        assert y.tolist() == x.sum(axis=1, keepdims=True).tolist()
    assert met_in_a_batch_above(max(len(x) for x in inputs), client, "total", before)


def test_two_instances_share_the_work(client):
    inputs = [np.full((1, 3), number, np.float32) for number in range(100)]
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda x: infer(client, "two_instances", x=x)["y"], inputs))
    assert [y.tolist() for y in answers] == [(3 * x).tolist() for x in inputs]
    (stats,) = client.get_inference_statistics("two_instances").model_stats
    assert stats.inference_stats.fail.count == 0


def test_cancelled_requests_leave_the_others_their_answers(client):
    infer(client, "slow", turns=np.array([50]))
    answers: Queue = Queue()
    calls = [
        client.async_infer(
            "slow",
            [tensor("turns", np.array([turns]))],
            lambda result, error, n=number: answers.put((n, result, error)),
        )
        for number, turns in enumerate([60, 61, 62])
    ]
    calls[1].cancel()
    got = {number: (result, error) for number, result, error in (answers.get() for _ in calls)}
    assert "cancelled" in str(got[1][1]).lower()
    assert got[0][0].as_numpy("y").tolist() == [60]
    assert got[2][0].as_numpy("y").tolist() == [62]

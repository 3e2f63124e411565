"""One client, many threads, both transports: everyone gets their own answer."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from modelport.client import Client

THREADS = 16
CALLS = 40


def test_threads_share_a_client(client: Client) -> None:
    def work(number: int) -> int:
        random = np.random.default_rng(number)
        right = 0
        for turn in range(CALLS):
            rows = int(random.integers(1, 9))
            x = random.random((rows, 4), np.float32)
            y = client.infer("scale", {"x": x})["y"]
            text = f"{number}-{turn}-abc"
            loud = client.infer("upper", {"text": text})["loud"]
            right += np.array_equal(y, 2 * x) and loud.tolist() == [[text.upper().encode()]]
        return right

    with ThreadPoolExecutor(THREADS) as pool:
        assert list(pool.map(work, range(THREADS))) == [CALLS] * THREADS


def test_short_lived_threads(client: Client) -> None:
    """Connections outlive the threads that opened them."""
    for number in range(30):
        with ThreadPoolExecutor(1) as pool:
            answer = pool.submit(client.infer, "scale", {"x": [number] * 4}).result()
        assert answer["y"].tolist() == [[2.0 * number] * 4]

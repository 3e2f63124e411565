"""Parity of a served model with its reference, over both transports and side by side.

Requests of different batch sizes are sent at once, so that the server's dynamic
batcher mixes them: a model that confuses its batch dimension is found here and
nowhere earlier.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from modelport.client import Client
from modelport.errors import ClientError
from modelport.repository.samples import Case, Samples
from modelport.spec.model import Delivery
from modelport.spec.parts import Tolerance
from modelport.verify.asking import ask
from modelport.verify.parity import Comparison, Difference, Parity, compare

CONCURRENCIES = (1, 4, 8)


def parity(
    urls: Sequence[str],
    model: str,
    samples: Samples,
    tolerance: Tolerance,
    *,
    concurrencies: Sequence[int] = CONCURRENCIES,
) -> Parity:
    """Send every case over every transport at every concurrency, and compare the answers.

    Args:
        urls: one per transport, such as ``http://127.0.0.1:8000`` and ``grpc://127.0.0.1:8001``.
        model: name of the served model.
        samples: requests with their expected answers.
        tolerance: how far they may differ.
        concurrencies: how many requests are under way at once, one round after the other.
    """
    found = Parity()
    for url in urls:
        with Client(url) as client:
            for concurrency in concurrencies:
                where = f"{url}, concurrency {concurrency}"
                _round(found, client, model, samples, tolerance, concurrency, where)
    return found


def answer_of(
    client: Client, model: str, case: Case, tolerance: Tolerance, delivery: Delivery = "single"
) -> Comparison:
    """Send one case and compare; a failed call is a difference like any other."""
    try:
        got = ask(client, model, case, delivery)
    except ClientError as error:
        problem = f"no answer: {type(error).__name__}: {error.what}"
        return _differs(problem)
    if got and not case.outputs:
        return _differs(f"an answer with {', '.join(got)}, expected none")
    return compare(got, case.outputs, tolerance)


def _differs(problem: str) -> Comparison:
    return Comparison((Difference("*", float("inf"), float("inf"), problem),))


def _round(
    found: Parity,
    client: Client,
    model: str,
    samples: Samples,
    tolerance: Tolerance,
    concurrency: int,
    where: str,
) -> None:
    """Send every case once, those of different sizes beside each other."""
    cases = samples.cases
    order = [*cases[::3], *cases[1::3], *cases[2::3]]
    with ThreadPoolExecutor(concurrency) as pool:
        comparisons = pool.map(
            lambda case: answer_of(client, model, case, tolerance, samples.delivery), order
        )
        for index, (case, comparison) in enumerate(zip(order, comparisons, strict=True)):
            found.add(comparison, case.inputs, where=f"request {index}, {where}")

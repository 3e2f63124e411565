"""One case, asked the way that its model answers: once, frame by frame, or as a stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from modelport.client import Client
from modelport.repository.samples import Case
from modelport.spec.model import Delivery

Arrays = Mapping[str, np.ndarray]


def ask(
    client: Client,
    model: str,
    case: Case,
    delivery: Delivery = "single",
    *,
    version: str | int = "",
    timeout_s: float | None = None,
) -> dict[str, np.ndarray]:
    """Send a case and give the whole answer: that of every frame or response, joined.

    Args:
        client: of a running server; a stream needs gRPC.
        model: its name.
        case: the request; of a sequence model all frames, ``[time, ...]``.
        delivery: how the model answers.
        version: the server chooses when it is empty.
        timeout_s: seconds for each request.

    Raises:
        ClientError: as :meth:`modelport.client.Client.infer`.
    """
    if delivery == "stream":
        responses = client.stream(model, case.inputs, version=version, timeout_s=timeout_s)
        return joined(list(responses))
    if delivery == "single":
        return client.infer(model, case.inputs, version=version, timeout_s=timeout_s)
    length = len(next(iter(case.inputs.values())))
    with client.sequence(model, version=version) as sequence:
        return joined(
            [
                sequence.send(_frame(case.inputs, i), end=i == length - 1, timeout_s=timeout_s)
                for i in range(length)
            ]
        )


def joined(answers: Sequence[Arrays]) -> dict[str, np.ndarray]:
    """Join answers on their first dimension; no answer at all gives no tensors."""
    if not answers:
        return {}
    return {name: np.concatenate([answer[name] for answer in answers]) for name in answers[0]}


def _frame(inputs: Arrays, index: int) -> dict[str, np.ndarray]:
    return {name: array[index : index + 1] for name, array in inputs.items()}

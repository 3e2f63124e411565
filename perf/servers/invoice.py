"""The model that perf/other_servers.py has every server serve: no framework, only numpy."""

import time

import numpy as np


class RefusedError(Exception):
    """The model does not take this content."""


def answer(prices, customers):
    """Give totals and greetings; some names ask for a failure.

    Args:
        prices: float32[batch, 3].
        customers: object[batch, 1] of bytes.
    """
    names = [name if isinstance(name, bytes) else str(name).encode() for name in customers.ravel()]
    if b"refuse" in names:
        raise RefusedError("no goods for 'refuse'")
    if b"fail" in names:
        raise RuntimeError("the model tripped")
    if b"slow" in names:
        time.sleep(2)
    totals = prices.sum(axis=1, keepdims=True, dtype=np.float32)
    greetings = np.array([[b"Dear " + name] for name in names], dtype=np.object_)
    return totals, greetings

"""Models asked in turn on one server: latency, replies a second, CPU time for each reply.

A machine that others use is faster now and slower then. So each round asks every model for a
moment, in another order each time, and what is compared are figures of the same round.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import cycle, islice

import numpy as np

from modelport.client import Client
from modelport.repository.samples import Case, Samples
from modelport.verify import intervals
from modelport.verify.intervals import Interval
from modelport.verify.latency import single_items

CONCURRENCIES = (1, 8)
# Of nine one noisy round moves neither end of a 95 % interval; it takes six at least.
ROUNDS = 9
# Long enough that a clock of 10 ms counts CPU time within a few percent.
BLOCK_S = 0.5
_WARM = 3


@dataclass(frozen=True)
class Block:
    """What one model answered in one round.

    Attributes:
        latencies_s: of each reply.
        took_s: from the first request to the last reply.
        cpu_s: that the server spent meanwhile.
    """

    latencies_s: tuple[float, ...]
    took_s: float
    cpu_s: float

    @property
    def p50_ms(self) -> float:
        """Median latency."""
        return statistics.median(self.latencies_s) * 1e3

    @property
    def replies_per_s(self) -> float:
        """Throughput."""
        return len(self.latencies_s) / self.took_s

    @property
    def cpu_ms(self) -> float:
        """CPU time of the server for each reply."""
        return self.cpu_s / len(self.latencies_s) * 1e3


@dataclass(frozen=True)
class Rates:
    """What one model showed at one concurrency, a block in each round."""

    blocks: tuple[Block, ...]

    @property
    def p50_ms(self) -> float:
        """Median latency over all rounds."""
        return statistics.median(self._latencies_ms())

    @property
    def p99_ms(self) -> float:
        """Latency that 99 % of the replies of all rounds keep."""
        return float(np.quantile(self._latencies_ms(), 0.99))

    def median(self, figure: Callable[[Block], float]) -> float:
        """Give the median over the rounds of a block's figure."""
        return statistics.median(map(figure, self.blocks))

    def against(self, other: Rates, figure: Callable[[Block], float]) -> Interval:
        """Compare a figure with that of another model, round by round.

        Returns:
            The median ratio, self over other, with its 95 % interval.
        """
        return intervals.paired(
            [figure(block) for block in self.blocks], [figure(block) for block in other.blocks]
        )

    def _latencies_ms(self) -> list[float]:
        return [latency * 1e3 for block in self.blocks for latency in block.latencies_s]


def measure(
    url: str,
    models: Sequence[str],
    samples: Samples,
    cpu_s: Callable[[], float],
    *,
    rounds: int,
    block_s: float,
    on_round: Callable[[int, int], None] = lambda *_: None,
) -> Mapping[str, Mapping[int, Rates]]:
    """Ask models the same single items, at concurrency 1 and 8.

    Args:
        url: of a server without a response cache, which would answer in the models' place.
        models: that take the same requests.
        samples: the requests.
        cpu_s: gives the CPU time that the server has spent so far.
        rounds: how often each model has its turn at each concurrency; six at least for intervals.
        block_s: how long a turn is; a turn has one reply of each caller at least.
        on_round: hears how many turns are done, of how many.

    Returns:
        Of each model, by concurrency, what it showed.

    Raises:
        ClientError: a request is not answered.
    """
    cases = single_items(samples)
    found: dict[str, dict[int, list[Block]]] = {m: {c: [] for c in CONCURRENCIES} for m in models}
    random = np.random.default_rng(0)
    with Client(url) as client, ThreadPoolExecutor(max(CONCURRENCIES)) as pool:
        for model in models:
            for case in islice(cycle(cases), _WARM):
                client.infer(model, case.inputs)
        for done in range(rounds):
            on_round(done, rounds)
            for concurrency in CONCURRENCIES:
                for model in random.permutation(np.array(models, dtype=object)):
                    block = _block(client, pool, model, cases, concurrency, block_s, cpu_s)
                    found[model][concurrency].append(block)
    return {m: {c: Rates(tuple(blocks)) for c, blocks in of.items()} for m, of in found.items()}


def _block(
    client: Client,
    pool: ThreadPoolExecutor,
    model: str,
    cases: Sequence[Case],
    concurrency: int,
    block_s: float,
    cpu_s: Callable[[], float],
) -> Block:
    before, start = cpu_s(), time.perf_counter()

    def caller(first: int) -> list[float]:
        latencies = []
        for case in islice(cycle(cases), first, None):
            begun = time.perf_counter()
            client.infer(model, case.inputs)
            ended = time.perf_counter()
            latencies.append(ended - begun)
            if ended - start > block_s:
                break
        return latencies

    found = list(pool.map(caller, range(concurrency)))
    took = time.perf_counter() - start
    return Block(tuple(one for latencies in found for one in latencies), took, cpu_s() - before)

"""Triton's dynamic batcher as a discrete-event model: which requests run together, and when.

Source: "Dynamic Batcher" of Triton's user guide (docs/user_guide/batcher.md) says what the
settings are for. Where it is silent this follows what triton-inference-server/core does in
src/dynamic_batch_scheduler.cc, src/instance_queue.cc and src/rate_limiter.cc; the real server of
release 2.51 was seen to do the same (tests/server/perf/test_tuning.py):

- Without preferred sizes the preferred size is ``max_batch_size``.
- The batcher hands batches to a queue that all instances take from. A batch that waits there still
  grows, so an idle instance is not needed to form one: without a delay it takes in every request
  that comes until an instance takes it, or until it has a preferred size.
- At most twice as many batches as instances wait there; further requests stay in the queue.
- With a delay a batch is handed over when it has a preferred size or when its oldest request has
  waited so long. If more requests wait than the largest preferred size, that much is taken at once.
- A batch that was handed over when its delay was over, and must wait for an instance, grows no
  more until that instance takes it (the batcher sleeps, as nothing wakes it). One that was handed
  over at once because its requests were late already, takes in the next request.
- Batches that have waited longer than the delay are merged up to ``max_batch_size`` when an
  instance takes the first of them.
- Where an input has a dimension that varies, only requests of equal shapes run together, and in
  the order in which they came: another shape closes the batch before it. It starts no batch of its
  own until an instance has taken the one before.

Requests hold one item each. Priorities, timeouts and queue limits are not modelled.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf

Batch = list[int]


@dataclass(frozen=True)
class Batching:
    """The settings of config.pbtxt that decide which requests run together.

    Attributes:
        instances: executions that may run side by side.
        max_batch_size: the largest batch.
        dynamic: whether there is a ``dynamic_batching`` at all.
        preferred: preferred batch sizes, none above ``max_batch_size``.
        delay_s: the longest wait for more requests to join a batch.
        shapes: of a model with a dimension that varies: a number for the shape of each request,
            gone through again and again.
    """

    instances: int = 1
    max_batch_size: int = 1
    dynamic: bool = True
    preferred: tuple[int, ...] = ()
    delay_s: float = 0.0
    shapes: tuple[int, ...] = ()

    @property
    def sizes(self) -> tuple[int, ...]:
        """The preferred sizes that hold, ascending."""
        return tuple(sorted(set(self.preferred))) or (max(1, self.max_batch_size),)


@dataclass
class _Payload:
    """A batch on its way: it grows until an instance takes it."""

    requests: Batch = field(default_factory=list)
    taken: bool = False
    closed: bool = False
    oldest: float = inf


class Batcher:
    """Requests in, batches out; it knows the time only from its caller.

    The caller calls :meth:`enqueue` for each request, :meth:`wake` at :attr:`wake_at`, and
    :meth:`free` when an execution ends; each gives the batches that begin now.

    Attributes:
        wake_at: when it wants to be woken; infinite for not at all.
        idle: instances without work.
    """

    def __init__(self, batching: Batching) -> None:
        self.wake_at = inf
        self.idle = batching.instances
        self._slots = 2 * batching.instances
        self._dynamic = batching.dynamic
        self._most = max(1, batching.max_batch_size)
        self._sizes = batching.sizes
        self._delay = batching.delay_s
        self._queue: deque[tuple[float, int]] = deque()
        self._handed: deque[_Payload] = deque()
        self._growing = _Payload()
        self._saturated = False
        self._next_size = 0
        self._shapes = batching.shapes
        self._known: dict[int, tuple[int, int, bool, bool]] = {}

    @property
    def waiting(self) -> int:
        """Requests that no instance has taken yet."""
        return len(self._queue) + sum(len(one.requests) for one in self._handed)

    def enqueue(self, request: int, now: float) -> Sequence[Batch]:
        """Take a request in."""
        if not self._dynamic:
            if self.idle:
                self.idle -= 1
                return ([request],)
            self._handed.append(_Payload([request]))
            return ()
        queue = self._queue
        queue.append((now, request))
        if len(self._handed) < self._slots and (
            self._shapes or self._saturated or self._growing.taken or len(queue) >= self._next_size
        ):
            return self.wake(now)
        return ()

    def free(self, now: float) -> Sequence[Batch]:
        """Let an instance go on after an execution."""
        if not self._handed:
            self.idle += 1
            return ()
        batch = self._take(now)
        if not self._dynamic or not self._queue:
            return (batch,)
        return (batch, *self.wake(now))

    def wake(self, now: float) -> Sequence[Batch]:
        """Form batches of what waits, as the batcher's own thread does when it is woken."""
        begun: list[Batch] = []
        queue = self._queue
        self.wake_at = inf
        while True:
            if self._saturated or self._growing.taken:
                self._growing, self._saturated, self._next_size = _Payload(), False, 0
            if not queue or len(self._handed) >= self._slots:
                return begun
            count = self._choose(now)
            if count < 0:
                self.wake_at = queue[0][0] + self._delay
                return begun
            if count == 0 and not self._saturated:
                return begun  # another shape: until an instance takes what is before it
            if count:
                self._hand_over(count)
                if self.idle:
                    self.idle -= 1
                    begun.append(self._take(now))

    def _hand_over(self, count: int) -> None:
        """Move requests from the queue into the batch that grows."""
        payload, queue = self._growing, self._queue
        if not payload.requests:
            payload.oldest = queue[0][0]
            self._handed.append(payload)
        payload.requests += [queue.popleft()[1] for _ in range(count)]

    def _take(self, now: float) -> Batch:
        """Have an instance take the first batch, and late ones with it as far as they fit."""
        first = self._handed.popleft()
        first.taken = True
        if self._delay and self._dynamic and not first.closed:
            self._merge(first, now)
        return first.requests

    def _merge(self, first: _Payload, now: float) -> None:
        while self._handed:
            late = self._handed[0]
            if late.closed or now - late.oldest <= self._delay:
                return
            late.taken = True  # so that it grows no more, whether it fits or not
            if len(first.requests) + len(late.requests) > self._most:
                return
            if self._shape(first.requests[0]) != self._shape(late.requests[0]):
                return
            first.requests += late.requests
            self._handed.popleft()

    def _choose(self, now: float) -> int:
        """Say how many requests join the batch that grows now; -1 for waiting longer."""
        size, queued = len(self._growing.requests), len(self._queue)
        alike = self._alike() if self._shapes else queued
        key = size << 32 | alike
        found = self._known.get(key)
        if found is None:
            found = self._known[key] = self._examine(size, alike)
        best, pending, full, saturated = found
        if alike < queued:
            full = self._growing.closed = True
        if saturated:
            self._saturated = True
        delay = self._delay
        late = delay > 0 and now - self._queue[0][0] >= delay * (1 - 1e-9)
        if best and not late:
            self._saturated |= delay == 0
            return best
        if not pending:
            return 0
        if full or size + pending >= self._sizes[-1]:
            self._saturated = True
            return pending
        if late or delay == 0:
            return pending
        return self._postpone(size, pending)

    def _postpone(self, size: int, pending: int) -> int:
        """Wait for a preferred size, unless a batch that was handed over can take these in."""
        place = bisect_right(self._sizes, size + pending)
        self._next_size = self._sizes[place % len(self._sizes)] - size
        return pending if size and not self._saturated and size not in self._sizes else -1

    def _alike(self) -> int:
        """Count the requests at the front of the queue that have the shape of the batch."""
        growing, queue = self._growing.requests, self._queue
        shape = self._shape(growing[0] if growing else queue[0][1])
        for count, (_, request) in enumerate(queue):
            if self._shape(request) != shape:
                return count
        return len(queue)

    def _shape(self, request: int) -> int:
        return self._shapes[request % len(self._shapes)] if self._shapes else 0

    def _examine(self, size: int, queued: int) -> tuple[int, int, bool, bool]:
        """Go through the queue from its front.

        Returns:
            The largest count that makes a preferred size, or that does not exceed the largest of
            them; the count that fits; whether no more fit; whether that batch is to stop growing.
        """
        best = pending = 0
        saturated = False
        for count in range(1, queued + 1):
            if size + pending:
                if size + count > self._sizes[-1] and not best:
                    best, saturated = pending, True
                if size + count > self._most:
                    return best, pending, True, saturated
            pending = count
            if size + count in self._sizes:
                best = count
        return best, pending, False, saturated

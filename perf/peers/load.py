"""The load: one small process, used for every server, that asks as fast as it is answered.

    python -I -S load.py < order

Standard library only, one thread, epoll, raw sockets and requests that were made beforehand: on a
machine with few CPUs what the client takes, the server lacks. Each of ``concurrency`` connections
has one request under way. The order and the report are pickled dictionaries: see `Order` and
`Report`. While a session runs, one line tells when it begins, and one when it has ended.
"""

import pickle
import select
import socket
import struct
import sys
import time
from array import array
from typing import TypedDict

if __package__:
    from peers import grpc_wire, http_wire
else:
    sys.path.insert(0, __file__.rpartition("/")[0])
    import grpc_wire
    import http_wire

SILENT_S = 60.0
"""A server that says nothing for so long is taken for dead."""


class Order(TypedDict):
    """What is to be asked.

    ``requests`` are whole HTTP/1.1 requests, or serialized protobuf messages for gRPC. Latencies
    and throughput count from ``warm_s`` to ``warm_s + seconds``; then no more is asked, and the
    session ends with the last answer. One answer in ``keep_every`` is kept, at most ``keep_most``.
    """

    kind: str
    port: int
    path: str
    requests: list[bytes]
    concurrency: int
    warm_s: float
    seconds: float
    keep_every: int
    keep_most: int


class Report(TypedDict):
    """What came of it.

    ``latencies_s`` are those of the answers that came between warm_s and warm_s + seconds;
    ``replies`` counts all answers of the session, ``cpu_s`` is what this process took for them.
    ``kept`` are pairs of the number of the question and the answer's body. ``error`` is empty, or
    what ended the session early.
    """

    latencies_s: bytes
    replies: int
    seconds: float
    session_s: float
    cpu_s: float
    kept: list[tuple[int, bytes]]
    error: str


WIRES = {"http": http_wire.Connection, "grpc": grpc_wire.Connection}


def session(order: Order) -> Report:
    """Ask, closed loop, and tell what came."""
    connect, requests = WIRES[order["kind"]], order["requests"]
    poll = select.epoll()
    by_fd = {}
    for _ in range(order["concurrency"]):
        try:
            plug = socket.create_connection(("127.0.0.1", order["port"]))
        except OSError:
            sys.exit(1)  # the program that started this one says it
        plug.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        plug.settimeout(SILENT_S)
        by_fd[plug.fileno()] = connect(plug, order["path"])
        poll.register(plug.fileno(), select.EPOLLIN)
    run = Run(order, requests)
    print("begin", flush=True)  # noqa: T201 - the program that started this one reads it
    cpu, begin = time.process_time(), time.perf_counter()
    error = ""
    try:
        run.all(by_fd, poll, begin)
    except (OSError, ValueError) as failure:
        error = f"{type(failure).__name__}: {failure}"
    session_s, cpu_s = time.perf_counter() - begin, time.process_time() - cpu
    print("end", flush=True)  # noqa: T201
    for one in by_fd.values():
        one.close()
    return {
        "latencies_s": run.latencies_s.tobytes(),
        "replies": run.replies,
        "seconds": order["seconds"],
        "session_s": session_s,
        "cpu_s": cpu_s,
        "kept": run.kept,
        "error": error,
    }


class Run:
    """The loop of a session and what it notes."""

    def __init__(self, order: Order, requests: list[bytes]) -> None:
        self.order, self.requests = order, requests
        self.latencies_s = array("d")
        self.kept: list[tuple[int, bytes]] = []
        self.replies = 0

    def all(self, by_fd: dict, poll: select.epoll, begin: float) -> None:
        """Ask until the time is over and every answer has come."""
        order, requests, clock = self.order, self.requests, time.perf_counter
        warm, over = begin + order["warm_s"], begin + order["warm_s"] + order["seconds"]
        every, most, count = order["keep_every"], order["keep_most"], len(requests)
        note, asked, waiting = self.latencies_s.append, 0, len(by_fd)
        sent_at, question = {}, {}
        for fd, connection in by_fd.items():
            question[fd], sent_at[fd] = asked % count, clock()
            connection.send(requests[asked % count])
            asked += 1
        while waiting:
            ready = poll.poll(SILENT_S)
            if not ready:
                raise TimeoutError(f"no answer for {SILENT_S:g} s")
            for fd, _ in ready:
                connection = by_fd[fd]
                body = connection.receive()
                if body is None:
                    continue
                now = clock()
                self.replies += 1
                if warm <= now < over:
                    note(now - sent_at[fd])
                if self.replies % every == 0 and len(self.kept) < most:
                    self.kept.append((question[fd], bytes(body)))
                if now >= over:
                    waiting -= 1
                    continue
                # Not the same question on the same connection for ever.
                number = asked % count
                asked += 1
                question[fd], sent_at[fd] = number, clock()
                connection.send(requests[number])


def main() -> None:
    """Read the order, do it, write the report."""
    order: Order = pickle.load(sys.stdin.buffer)  # noqa: S301 - from the program that started this
    report = session(order)
    data = pickle.dumps(report)
    sys.stdout.buffer.write(struct.pack("<Q", len(data)) + data)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()

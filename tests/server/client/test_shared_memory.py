"""Tensors in system shared memory, with the real server at the other end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from modelport.client import metadata, placement, regions, tensors, transport
from modelport.client.call import Call
from modelport.client.exchange import Inference, Reply
from modelport.client.options import Options
from modelport.client.shared_memory import SharedMemory
from modelport.client.steps import Sleep, Steps
from modelport.client.url import parse
from modelport.errors import DeadlineExceededError, ModelNotFoundError
from modelport.runtime.server import Server

KIB = 1024
ROW = 65536  # values: 256 KiB


def rows(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((count, ROW), np.float32)


class Caller:
    """One client with its shared memory, reduced to what is tested here."""

    def __init__(self, url: str, headers: dict[str, str], **options: Any) -> None:
        self.url, self.headers = url, headers
        self.transport = transport.connect(parse(url), Options(headers=headers))
        self.memory = SharedMemory(parse(url), **options)

    def call(self, model: str = "", timeout_s: float = 30.0) -> Call:
        return Call(self.url, timeout_s, time.monotonic() + timeout_s, model)

    def run(self, steps: Steps[Any]) -> Any:
        try:
            effect = next(steps)
            while True:
                if isinstance(effect, Sleep):
                    time.sleep(effect.seconds)
                    effect = steps.send(None)
                    continue
                try:
                    answer = self.transport.ask(effect.call, effect.exchange)
                except BaseException as error:  # noqa: BLE001 - as the drivers do
                    effect = steps.throw(error)
                else:
                    effect = steps.send(answer)
        except StopIteration as end:
            return end.value

    def infer(
        self, inputs: dict[str, object], *outputs: str, timeout_s: float = 30.0
    ) -> dict[str, np.ndarray]:
        model = "echo" if "x" not in inputs else "wide"
        call, wire = self.call(model, timeout_s), self.transport.wire
        known = metadata.read(
            self.transport.ask(call, wire.metadata(call)),
            self.transport.ask(call, wire.config(call)),
        )
        inference = Inference(tensors.prepare(known, inputs), outputs)
        layout = placement.plan(known, inference)
        assert layout is not None
        reply: Reply = self.run(self.memory.infer(self.transport, call, inference, layout))
        assert not reply.placed
        return reply.outputs

    def registered(self) -> list[str]:
        call = self.call()
        names = self.transport.ask(call, self.transport.wire.regions(call))
        return [name for name in names if name.startswith("modelport_client-")]

    def forget(self, name: str) -> None:
        call = self.call()
        self.transport.ask(call, self.transport.wire.unregister(call, name))

    def close(self) -> None:
        self.run(self.memory.close(self.transport, self.call()))
        self.transport.close()


@pytest.fixture
def caller(
    server: Server, scheme: str, url: str, control_header: dict[str, str]
) -> Iterator[Callable[..., Caller]]:
    made: list[Caller] = []

    def make(*, allowed: bool = True, **options: Any) -> Caller:
        made.append(Caller(url, control_header if allowed else {}, **options))
        return made[-1]

    yield make
    for one in made:
        one.close()
    assert mapped(server) == []
    assert not list(Path("/dev/shm").glob("modelport_client-*"))


def mapped(server: Server) -> list[str]:
    """What of ours tritonserver has in its memory, as the kernel sees it."""
    lines = Path(f"/proc/{server.pid}/maps").read_text().splitlines()
    return sorted({line.split("/dev/shm/")[1] for line in lines if "/modelport_client-" in line})


def test_there_and_back(caller: Callable[..., Caller], server: Server) -> None:
    one = caller()
    first, second = rows(2, 1), rows(2, 2)
    answer = one.infer({"x": first})
    assert list(answer) == ["total", "y"]
    assert np.array_equal(answer["y"], first * 2)
    np.testing.assert_allclose(answer["total"], first.sum(axis=1, keepdims=True), rtol=1e-4)
    assert not answer["y"].flags.writeable
    again = one.infer({"x": second}, "y")
    assert list(again) == ["y"]
    assert np.array_equal(again["y"], second * 2)
    assert np.array_equal(answer["y"], first * 2)  # it is the caller's own
    # One region, which the server has mapped, and whose file is gone.
    assert len(one.registered()) == 1
    assert mapped(server) == [f"{one.registered()[0]} (deleted)"]


def test_inputs_of_every_kind(caller: Callable[..., Caller]) -> None:
    one = caller()
    texts = np.array([[os.urandom(100_000), b""], ["grün".encode(), b"\0" * 50_000]], object)
    sent = {
        "bytes": texts,
        "int64": np.arange(60_000).reshape(2, -1)[:, ::2],  # not contiguous
        "uint8": np.full((1, 256 * KIB), 7, np.uint8),
        "fp32": np.ones((1, 5), np.float32),  # too small
    }
    answer = one.infer(sent)
    assert len(one.registered()) == 1
    for name, value in sent.items():
        assert answer[f"{name}_out"].tolist() == value.tolist()


def test_many_threads(caller: Callable[..., Caller]) -> None:
    one = caller()

    def ask(seed: int) -> bool:
        x = rows(1 + seed % 3, seed)
        return np.array_equal(one.infer({"x": x})["y"], x * 2)

    with ThreadPoolExecutor(6) as pool:
        assert all(pool.map(ask, range(40)))
    assert 1 <= len(one.registered()) <= 18


def test_memory_of_a_call_that_was_given_up_is_not_used_again(
    caller: Callable[..., Caller],
) -> None:
    one = caller()
    with pytest.raises(DeadlineExceededError):
        one.infer({"x": rows(1), "seconds": 1.5}, timeout_s=0.5)
    late = set(one.registered())
    assert len(late) == 1
    answer = one.infer({"x": rows(1, 1)})
    assert late < set(one.registered())  # the server still writes there
    time.sleep(1.5)
    assert np.array_equal(answer["y"], rows(1, 1) * 2)
    one.infer({"x": rows(4)})  # needs a region of its own, and tidies up on the way
    assert not late & set(one.registered())


def test_a_server_that_has_forgotten_gets_new_regions(caller: Callable[..., Caller]) -> None:
    one = caller()
    one.infer({"x": rows(1)})
    before = one.registered()
    one.forget(before[0])
    assert np.array_equal(one.infer({"x": rows(1, 5)})["y"], rows(1, 5) * 2)
    after = one.registered()
    assert len(after) == 1
    assert after != before


def test_what_a_crashed_process_left_is_taken_from_the_server(
    caller: Callable[..., Caller], server: Server, url: str, control_header: dict[str, str]
) -> None:
    script = (
        f"import sys; sys.path[:0] = [{str(Path(__file__).parent)!r}]\n"
        "import os, signal\n"
        "from test_shared_memory import Caller, rows\n"
        f"one = Caller({url!r}, {control_header!r})\n"
        "one.infer({'x': rows(8)})\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", script])
    assert done.returncode == -signal.SIGKILL
    (left,) = mapped(server)
    assert left.endswith("(deleted)")  # no file stays, even so
    one, other = caller(), caller()
    one.infer({"x": rows(1)})
    other.infer({"x": rows(1)})
    assert left not in mapped(server)
    assert len(mapped(server)) == 2  # those of the living stay


def test_a_forked_child_has_regions_of_its_own(caller: Callable[..., Caller]) -> None:
    one = caller()
    one.infer({"x": rows(1)})
    before = one.registered()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            other = Caller(one.url, one.headers)
            other.memory = one.memory
            right = np.array_equal(other.infer({"x": rows(1, 9)})["y"], rows(1, 9) * 2)
            status = 0 if right and len(other.registered()) == 2 else 2
            other.close()
        finally:
            os._exit(status)
    assert os.waitpid(child, 0)[1] == 0
    assert one.registered() == before
    assert np.array_equal(one.infer({"x": rows(1, 3)})["y"], rows(1, 3) * 2)


def test_without_permission_everything_is_sent(caller: Callable[..., Caller]) -> None:
    one = caller(allowed=False)
    for seed in range(2):
        assert np.array_equal(one.infer({"x": rows(1, seed)})["y"], rows(1, seed) * 2)
    assert not one.memory.usable


def test_where_the_server_sees_other_memory_everything_is_sent(
    caller: Callable[..., Caller], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in another container: there is no such name."""
    monkeypatch.setattr(regions.Region, "key", property(lambda self: f"/{self.name}.elsewhere"))
    one = caller()
    assert np.array_equal(one.infer({"x": rows(1)})["y"], rows(1) * 2)
    assert not one.memory.usable
    assert one.registered() == []


def test_a_model_that_answers_with_more_than_it_declares(caller: Callable[..., Caller]) -> None:
    one = caller()
    for _ in range(2):
        answer = one.infer({"x": rows(1), "more": 1})
        assert np.array_equal(answer["y"], np.tile(rows(1) * 2, (1, 2)))
    assert one.memory.usable


def test_the_limit(caller: Callable[..., Caller]) -> None:
    one = caller(limit_bytes=1500 * KIB)
    for count in (2, 4, 1, 2):  # of 512 KiB in and out; the second does not fit
        assert np.array_equal(one.infer({"x": rows(count)})["y"], rows(count) * 2)
        sizes = len(one.registered())
        assert sizes <= 1


def test_a_closed_one_sends(caller: Callable[..., Caller], server: Server) -> None:
    one = caller()
    one.infer({"x": rows(1)})
    one.run(one.memory.close(one.transport, one.call()))
    assert mapped(server) == []
    assert np.array_equal(one.infer({"x": rows(1)})["y"], rows(1) * 2)
    assert mapped(server) == []


def test_memory_that_is_in_use_for_a_moment_is_given_back(
    caller: Callable[..., Caller], server: Server
) -> None:
    """As after an error of a model, which arrives before Triton has put the memory down."""
    one = caller()
    with pytest.raises(DeadlineExceededError):
        one.infer({"x": rows(1), "seconds": 0.6}, timeout_s=0.5)
    assert len(mapped(server)) == 1
    one.run(one.memory.close(one.transport, one.call()))
    assert mapped(server) == []


def test_an_error_of_the_model_is_as_it_would_be(caller: Callable[..., Caller]) -> None:
    one = caller()
    call = one.call("nothing")
    inference = Inference([tensors.Tensor("x", "FP32", rows(1))])
    layout = placement.Layout({"x": placement.Part(0, 4 * ROW)}, {}, 4 * ROW, ())
    with pytest.raises(ModelNotFoundError):
        one.run(one.memory.infer(one.transport, call, inference, layout))
    assert len(one.registered()) == 1
    one.infer({"x": rows(1)})

"""Servers that die and come back under clients that are given several of them."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from modelport.client import AsyncClient, Client, Hedge, Retry
from modelport.errors import ServerRefusedError
from modelport.runtime.server import Server

REPOSITORY = Path(__file__).parent / "repository"
INPUTS = {"x": [1, 2, 3, 4]}


class Fleet:
    """Two servers alike, on ports that stay the same when one is killed and started again."""

    def __init__(self, repository: Path) -> None:
        self._repository = repository
        self.servers = [self._start() for _ in range(2)]

    def _start(self, **ports: int) -> Server:
        return Server.start(self._repository, models=["scale", "sleepy"], **ports)  # type: ignore[arg-type]

    def urls(self, scheme: str) -> list[str]:
        return [str(getattr(server.endpoints, scheme)) for server in self.servers]

    def kill(self, index: int) -> None:
        os.kill(self.servers[index].pid, signal.SIGKILL)
        self.servers[index].stop()

    def revive(self, index: int) -> None:
        old = self.servers[index].endpoints
        ports = {
            f"{scheme}_port": int(str(getattr(old, scheme)).rpartition(":")[2])
            for scheme in ("http", "grpc")
        }
        self.servers[index] = self._start(**ports)

    def stop(self) -> None:
        for server in self.servers:
            server.stop()


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    copy = shutil.copytree(REPOSITORY, tmp_path_factory.mktemp("fleet") / "repository")
    both = Fleet(Path(copy))
    yield both
    both.stop()


def test_no_call_fails_while_a_server_dies_and_comes_back(fleet: Fleet, scheme: str) -> None:
    over = threading.Event()
    failures: list[Exception] = []
    answers = 0

    def caller(client: Client) -> None:
        nonlocal answers
        while not over.is_set():
            try:
                assert client.infer("scale", INPUTS)["total"].tolist() == [[20]]
                answers += 1
            except Exception as error:  # noqa: BLE001 - the test shows it
                failures.append(error)

    with Client(fleet.urls(scheme)) as client:
        threads = [threading.Thread(target=caller, args=(client,)) for _ in range(4)]
        for thread in threads:
            thread.start()
        time.sleep(0.3)
        fleet.kill(0)
        time.sleep(0.3)
        fleet.revive(0)
        deadline = time.monotonic() + 20
        while len(asked(client)) < 2 and time.monotonic() < deadline:
            time.sleep(0.1)
        over.set()
        for thread in threads:
            thread.join()
        assert failures == []
        assert answers > 100
        assert asked(client) == set(fleet.urls(scheme))  # the new one gets calls again


def asked(client: Client) -> set[str]:
    """Which servers have answered since they were started."""
    try:
        rows = client.statistics("scale")
    except ServerRefusedError:
        return set()
    return {row["endpoint"] for row in rows if int(row["inference_count"])}


def test_tasks_do_not_fail_either(fleet: Fleet, scheme: str) -> None:
    async def main() -> int:
        async with AsyncClient(fleet.urls(scheme)) as client:
            over = asyncio.Event()
            answers = 0

            async def caller() -> None:
                nonlocal answers
                while not over.is_set():
                    assert (await client.infer("scale", INPUTS))["total"].tolist() == [[20]]
                    answers += 1

            tasks = [asyncio.ensure_future(caller()) for _ in range(8)]
            await asyncio.sleep(0.3)
            await asyncio.to_thread(fleet.kill, 1)
            await asyncio.sleep(0.5)
            over.set()
            await asyncio.gather(*tasks)
            await asyncio.to_thread(fleet.revive, 1)
            await client.wait_ready("scale", timeout_s=20)
            return answers

    assert asyncio.run(main()) > 100


def test_a_client_waits_for_its_only_server(fleet: Fleet, scheme: str) -> None:
    """Its repeats outlast the restart; the deadline bounds them."""
    url = fleet.urls(scheme)[0]
    patient = Retry(attempts=1000, max_backoff_s=0.5)
    with Client(url, retry=patient) as client, Client(url, retry=Retry(attempts=1)) as hasty:
        for each in (client, hasty):
            assert each.infer("scale", INPUTS)["total"].tolist() == [[20]]
        fleet.kill(0)
        with pytest.raises(ServerRefusedError):
            hasty.infer("scale", INPUTS)
        thread = threading.Thread(target=fleet.revive, args=(0,))
        thread.start()
        assert client.infer("scale", INPUTS)["total"].tolist() == [[20]]
        thread.join()
        hasty.wait_ready("scale", timeout_s=20)
        assert hasty.infer("scale", INPUTS)["total"].tolist() == [[20]]


def test_a_hedged_call_is_answered_by_the_quicker_server(fleet: Fleet, scheme: str) -> None:
    """One server is stopped in the middle (SIGSTOP): it neither refuses nor answers."""
    hedge = Hedge(after_s=0.05, max_extra=1.0)
    with Client(fleet.urls(scheme), hedge=hedge, timeout_s=10) as client:
        for _ in range(8):
            client.infer("scale", INPUTS)
        stopped = fleet.servers[1]
        os.kill(stopped.pid, signal.SIGSTOP)
        try:
            for _ in range(8):  # without a hedge one that goes to the stopped server is too late
                assert client.infer("scale", INPUTS)["total"].tolist() == [[20]]
        finally:
            os.kill(stopped.pid, signal.SIGCONT)

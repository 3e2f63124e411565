"""Promotion with a running server, killed or out of space at every step.

Server and disk agree afterwards, or do once the next command has seen to it; and at no moment,
the one right after the fault among them, is an answer made by the halves of two versions.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Literal

import deeds
import numpy as np
import pytest
from faults import Ended, Fault, Nursery
from tritonclient import grpc

from modelport.client import Client
from modelport.repository import journal, publish
from modelport.rollout import intent
from modelport.rollout.serving import served_by
from modelport.runtime import bytecode, cache, servers
from modelport.runtime.server import Server


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory, own_cache: Path) -> Iterator[Path]:
    """Version 1 serves, on a server and by the disk; every test leaves it so."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(cache.VARIABLE, str(own_cache))
        path = tmp_path_factory.mktemp("family") / "repository"
        deeds.make(path)
        with Server.start(path):
            yield path


@pytest.fixture(scope="module")
def nursery(repository: Path) -> Iterator[Nursery]:
    nursery = Nursery("deeds", "tritonclient.grpc")
    yield nursery
    nursery.close()


@pytest.fixture(scope="module")
def client(repository: Path) -> Iterator[Client]:
    (server,) = servers.running(repository)
    with Client(server.endpoints.grpc) as client:
        yield client


def answered(client: Client) -> int:
    """Ask the ensemble; gives the version whose parts both answered."""
    answer = client.infer("whole", {"x": np.ones((1, 1), np.float32)})["y"].item()
    return next(version for version, whole in deeds.ANSWERS.items() if whole == answer)


def all_serve(version: int) -> dict[str, list[int]]:
    return {name: [version] for name in deeds.MODELS}


def test_parts_in_python_switch_under_an_ensemble(repository: Path, client: Client) -> None:
    """Their code was never run before: bytecode that a stub writes would change their folders."""
    assert not list(repository.glob("part_*/3/__pycache__"))
    for version in (3, 1):
        deeds.promote(repository, version)
        assert answered(client) == version


@pytest.mark.parametrize("kind", ["kill", "full"])
def test_server_and_disk_agree_whatever_step_fails(
    repository: Path, nursery: Nursery, client: Client, kind: Literal["kill", "full"]
) -> None:
    """Every step in the repository; those in the staging folder are no matter of the server."""
    (server,) = servers.running(repository)
    for code in repository.glob("part_*/[12]/model.py"):
        bytecode.write_beside(code)  # else the first kills come while that is done
    now = answered(client)
    seen = {"old": 0, "new": 0, "ahead": 0, "finished": 0}
    for number in range(100):
        shall = 3 - now
        fault = Fault(kind, number, repository)
        ended = nursery.run(deeds.promote, repository, shall, fault=fault)
        version, begun = answered(client), journal.pending(repository)
        if ended.error:
            _nothing_or_to_be_finished(ended, version == shall, begun)
        seen["ahead"] += version == shall and deeds.serving(repository) == all_serve(now)

        deeds.next_command(repository)
        (found,) = deeds.serving(repository)["whole"]
        assert deeds.serving(repository) == served_by(server) == all_serve(found)
        assert found == answered(client)
        assert found == shall or not begun
        assert deeds.log(repository)[-1].endswith(f" {found}")
        assert deeds.findings(repository) == set()
        assert not intent.cut_short(repository)
        assert not publish.staging_root(repository).exists()
        seen["new" if found == shall else "old"] += 1
        seen["finished"] += begun
        now = found
        # A disk that is full stays so: from the journal on every step is like the one before.
        if ended == Ended(False) or (kind == "full" and seen["finished"] == 3):
            break
    assert min(seen["old"], seen["new"], seen["finished"]) > 2, seen
    assert seen["ahead"] > 2 or kind == "full", seen


def test_of_two_promotions_at_once_one_wins_on_the_server_too(
    repository: Path, nursery: Nursery, client: Client
) -> None:
    (server,) = servers.running(repository)
    shall = 3 - answered(client)
    with closing(Nursery("deeds", "tritonclient.grpc")) as other, ThreadPoolExecutor() as pool:
        both = [pool.submit(one.run, deeds.promote, repository, shall) for one in (nursery, other)]
        ended = [one.result() for one in both]
    assert Ended(False) in ended
    for one in ended:
        assert one.error is None or one.error[0] == "PromotionError"
    assert deeds.serving(repository) == served_by(server) == all_serve(shall)
    assert answered(client) == shall
    deeds.log(repository)


def test_labels_are_those_of_the_version(repository: Path, client: Client) -> None:
    """Of a name that both versions use and of one that the old has not."""
    (server,) = servers.running(repository)
    for _ in range(2):
        version = 3 - answered(client)
        deeds.promote(repository, version)
        for name in ("part_a", "part_b"):
            assert label(server.endpoints.grpc, name) == f"{name} {version}"


def label(url: str, model: str) -> str:
    with grpc.InferenceServerClient(url.removeprefix("grpc://")) as triton:
        x = grpc.InferInput("x", [1, 1], "FP32")
        x.set_data_from_numpy(np.ones((1, 1), np.float32))
        wanted = grpc.InferRequestedOutput("y", class_count=1)
        (found,) = triton.infer(model, [x], outputs=[wanted]).as_numpy("y").ravel()
    return found.decode().split(":")[2]


def _nothing_or_to_be_finished(ended: Ended, switched: bool, begun: bool) -> None:
    """An error leaves no server ahead of the disk, unless the next command finishes the disk."""
    assert ended.error is not None
    kind, text = ended.error
    assert kind == "PublishError", text
    assert "likely cause: the disk is full" in text
    assert ("which finishes it" if begun else "the repository is as it was") in text
    assert switched == begun

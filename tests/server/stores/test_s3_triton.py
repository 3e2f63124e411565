"""The real tritonserver on what lies in S3: straight from it, and from a folder that follows it."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import carrier
import numpy as np
import pytest
from proven import Shelf, serves
from seaweed import READER, S3, free_ports, opened

from modelport.build import pipeline
from modelport.client import Client
from modelport.repository.layout import Repository
from modelport.repository.samples import Case, Samples
from modelport.repository.stores.pull import pull
from modelport.repository.stores.push import push
from modelport.runtime import toolchain
from modelport.runtime.server import Server

ROOT = Path(__file__).parents[3]
DIGITS = ("digits_preprocess", "digits_cnn", "digits_postprocess", "digits")
# A net under a server that hangs.
LIMIT_S = 60.0


@pytest.fixture(scope="module")
def digits() -> Repository:
    """The built digits; a build that is up to date does nothing."""
    path = ROOT / "model_repository"
    pipeline.build(("digits",), builders=ROOT / "builders", repository=path)
    return Repository(path)


def cases(digits: Repository) -> list[Case]:
    folder = digits.model("digits")
    return list(Samples.read(folder.version_dir(folder.versions()[-1]) / "samples.json").cases)


def right(url: str, digits: Repository) -> int:
    """Ask all questions whose answers are known; every answer must be right."""
    asked = 0
    with Client(url) as client:
        for case in cases(digits):
            answer = client.infer("digits", dict(case.inputs))
            assert answer["label"].tolist() == case.outputs["label"].tolist()
            np.testing.assert_allclose(
                answer["probability"], case.outputs["probability"], atol=1e-4
            )
            asked += 1
    return asked


class ByHand:
    """tritonserver as somebody without Modelport starts it."""

    def __init__(self, repository: str, s3: S3, log: Path) -> None:
        tools = toolchain.ensure(lambda _: None)
        self.url = f"http://127.0.0.1:{free_ports(('http',))['http']}"
        command = [
            str(tools.binary),
            f"--model-repository={repository}",
            f"--backend-directory={tools.backends}",
            f"--cache-directory={tools.caches}",
            "--model-control-mode=explicit",
            "--http-address=127.0.0.1",
            f"--http-port={self.url.rpartition(':')[2]}",
            "--allow-grpc=false",
            "--allow-metrics=false",
            "--disable-auto-complete-config",
        ]
        environment = {**os.environ, **tools.variables(), **s3.environment(READER)}
        del environment["AWS_ENDPOINT_URL"]  # Triton takes it from the URL alone
        self._log = log.open("w")
        self.process = subprocess.Popen(
            command, env=environment, stdout=self._log, stderr=self._log
        )

    def call(self, path: str) -> bytes:
        request = urllib.request.Request(f"{self.url}/v2/{path}", data=b"{}", method="POST")
        with urllib.request.urlopen(request) as answer:
            content: bytes = answer.read()
            return content

    def load(self, model: str) -> None:
        self.call(f"repository/models/{model}/load")

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(LIMIT_S)
        finally:
            self.process.kill()
            self.process.wait()
            self._log.close()


@contextmanager
def by_hand(prefix: str, s3: S3, folder: Path) -> Iterator[ByHand]:
    """Start it on a prefix of the bucket, in Triton's spelling of the URL."""
    server = ByHand(f"s3://{s3.endpoint}/{s3.bucket}/{prefix}", s3, folder / "triton.log")
    try:
        deadline = time.monotonic() + LIMIT_S
        while True:
            try:
                urllib.request.urlopen(f"{server.url}/v2/health/live")
                break
            except OSError:
                assert server.process.poll() is None, (folder / "triton.log").read_text()
                assert time.monotonic() < deadline
                time.sleep(0.05)
        yield server
    finally:
        server.stop()


def test_triton_serves_straight_from_the_store(s3: S3, digits: Repository, tmp_path: Path) -> None:
    push(digits.path, opened(s3.url("straight")), ["digits"])
    with by_hand("straight", s3, tmp_path) as triton:
        for name in DIGITS:
            triton.load(name)
        assert right(triton.url, digits) >= 3


def test_triton_serves_from_a_folder_that_follows_the_store(
    s3: S3, digits: Repository, tmp_path: Path
) -> None:
    push(digits.path, opened(s3.url("followed")), ["digits"])
    pull(tmp_path / "models", opened(s3.url("followed")), served=True, delete=True)
    with Server.start(tmp_path / "models") as server:
        assert right(server.endpoints.http, digits) >= 3


def test_serve_takes_the_url_of_a_store(s3: S3, digits: Repository, tmp_path: Path) -> None:
    push(digits.path, opened(s3.url("serve")), ["digits"])
    command = [sys.executable, "-m", "modelport.cli", "serve", "--repository", s3.url("serve"),
               "--http-port", "0", "--grpc-port", "0", "--metrics-port", "0", "--json"]  # fmt: skip
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ)
    )
    assert process.stdout is not None
    assert process.stderr is not None
    line = process.stdout.readline()
    try:
        announced = json.loads(line)
        assert set(announced["models"]) == set(DIGITS)
        assert right(announced["http"], digits) >= 3
        shutil.rmtree(Path(announced["repository"]).parent)
    finally:
        process.send_signal(signal.SIGINT)
        said = process.communicate(timeout=LIMIT_S)[1]
    assert process.returncode == 0, said
    assert re.search(r"received \d+ files", said)


def test_a_running_server_follows_the_store(s3: S3, tmp_path: Path) -> None:
    """Promoted at home, pushed, synced: the server that runs on the folder switches."""
    shelf, url, folder = Shelf(tmp_path / "home"), s3.url("follow"), tmp_path / "models"
    shelf.publish("model", code=True)
    push(shelf.path, opened(url))
    command = [sys.executable, "-m", "modelport.cli", "sync", "--from", url, "--repository"]
    subprocess.run([*command, str(folder)], check=True)
    x = np.zeros((1, 2), dtype=np.float32)
    with Server.start(folder) as server, Client(server.endpoints.grpc) as client:
        assert client.infer("model", {"x": x})["y"][0, 0] == 1
        shelf.publish("model", code=True)
        push(shelf.path, opened(url))
        done = subprocess.run([*command, str(folder)], capture_output=True, text=True, check=True)
        assert "switched model" in done.stderr
        assert client.infer("model", {"x": x})["y"][0, 0] == 2
        again = subprocess.run([*command, str(folder)], capture_output=True, text=True, check=True)
        assert "switched" not in again.stderr


@pytest.mark.slow
def test_triton_never_sees_half_a_version(s3: S3, tmp_path: Path) -> None:
    """Pushes of new versions are killed before every request; Triton loads what lies there then."""
    shelf = Shelf(tmp_path / "home")
    names = [f"model{number}" for number in range(14)]
    for name in names:
        shelf.publish(name, code=True)
    url = s3.url("half")
    push(shelf.path, opened(url))
    for name in names:
        shelf.publish(name, code=True)
    kill_each(shelf.path, url, names)
    with by_hand("half", s3, tmp_path) as triton:
        answers = []
        for name in names:
            triton.load(name)
            with Client(triton.url) as client:
                x = np.zeros((1, 2), dtype=np.float32)
                answers.append(int(client.infer(name, {"x": x})["y"][0, 0]))
        # The first pushes got nowhere, the last ones came through; each is a whole version.
        assert answers == sorted(answers)
        assert set(answers) == {1, 2}
        shelf.record(names[0], 2)  # the log of promotions lies beside the models, and is no model
        push(shelf.path, opened(url))
        triton.load(names[0])
        with Client(triton.url) as client:
            assert int(client.infer(names[0], {"x": x})["y"][0, 0]) == 2
    away = tmp_path / "away"
    pull(away, opened(url))
    assert all(serves(away, name) == [2] for name in names)


def kill_each(repository: Path, url: str, names: list[str]) -> None:
    """Push one model after the other; the n-th push is killed before its n-th request."""
    script = [sys.executable, str(Path(carrier.__file__)), "push", "--each", str(repository), url]
    subprocess.run([*script, *names], check=True)

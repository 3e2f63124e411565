"""SeaweedFS: a real S3 server in a folder of its own, on free ports of loopback."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from modelport.repository.stores import open_store
from modelport.repository.stores.s3 import S3Store

WRITER = ("writerkey", "writer-very-secret")
READER = ("readerkey", "reader-very-secret")
_IDENTITIES = {
    "identities": [
        {
            "name": "writer",
            "credentials": [{"accessKey": WRITER[0], "secretKey": WRITER[1]}],
            "actions": ["Admin", "Read", "Write", "List"],
        },
        {
            "name": "reader",
            "credentials": [{"accessKey": READER[0], "secretKey": READER[1]}],
            "actions": ["Read", "List"],
        },
    ]
}
_PORTS = (
    "master.port",
    "master.port.grpc",
    "volume.port",
    "volume.port.grpc",
    "filer.port",
    "filer.port.grpc",
    "s3.port",
    "s3.port.grpc",
)
# A net under a server that never answers.
_LIMIT_S = 60.0


@dataclass(frozen=True)
class S3:
    """A running server with one bucket."""

    endpoint: str
    bucket: str = "models"

    def url(self, prefix: str) -> str:
        """Name a place in the bucket; the endpoint comes from the environment."""
        return f"s3://{self.bucket}/{prefix}"

    def environment(self, who: tuple[str, str] = WRITER) -> dict[str, str]:
        """The usual AWS settings."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint,
            "AWS_ACCESS_KEY_ID": who[0],
            "AWS_SECRET_ACCESS_KEY": who[1],
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": os.devnull,
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
        }


def free_ports(names: tuple[str, ...]) -> dict[str, int]:
    """Give a free port to each name."""
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in names]
        return {name: s.getsockname()[1] for name, s in zip(names, sockets, strict=True)}


@contextmanager
def running(folder: Path) -> Iterator[S3]:
    """Start it, make a bucket, and end it by its pid."""
    (folder / "identities.json").write_text(json.dumps(_IDENTITIES))
    (folder / "data").mkdir()
    ports = free_ports(_PORTS)
    weed = Path(sys.executable).parent / "weed"
    command = [
        str(weed),
        "-logtostderr=true",
        "server",
        "-ip=127.0.0.1",
        "-ip.bind=127.0.0.1",
        f"-dir={folder / 'data'}",
        "-filer",
        "-s3",
        f"-s3.config={folder / 'identities.json'}",
        "-s3.port.iceberg=0",
        "-s3.port.lance=0",
        "-master.volumeSizeLimitMB=64",
        "-volume.max=20",
        *(f"-{name}={port}" for name, port in ports.items()),
    ]
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, cwd=folder)
    server = S3(f"http://127.0.0.1:{ports['s3.port']}")
    try:
        _make_bucket(server, process, folder / "log")
        yield server
    finally:
        process.kill()
        process.wait()


def _make_bucket(server: S3, process: subprocess.Popen[bytes], log: Path) -> None:
    client = boto3_client(server)
    deadline = time.monotonic() + _LIMIT_S
    while True:
        try:
            urllib.request.urlopen(server.endpoint)
        except urllib.error.HTTPError:  # it wants credentials, so it is there
            pass
        except OSError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.1)
            continue
        client.create_bucket(Bucket=server.bucket)
        return


def boto3_client(server: S3) -> Any:
    """A client of its own, to look behind the store's back."""
    import boto3
    from botocore.config import Config

    return boto3.client(
        "s3",
        endpoint_url=server.endpoint,
        aws_access_key_id=WRITER[0],
        aws_secret_access_key=WRITER[1],
        region_name="us-east-1",
        config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 10}),
    )


def opened(url: str) -> S3Store:
    """Open a store in S3."""
    store = open_store(url)
    assert isinstance(store, S3Store)
    return store

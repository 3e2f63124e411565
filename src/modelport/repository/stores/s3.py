"""A store in S3, or in a server that speaks its protocol.

Endpoint, region and credentials are those of the usual AWS settings
(``AWS_ENDPOINT_URL``, ``AWS_ACCESS_KEY_ID``, ``AWS_PROFILE``, ``~/.aws`` …), which
boto3 reads by itself: they never pass through Modelport.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from modelport.errors import IntegrityError, MissingExtraError, StoreError
from modelport.repository.stores import s3_faults
from modelport.repository.stores.address import S3Address
from modelport.repository.stores.s3_parts import Parts
from modelport.repository.stores.store import (
    CHUNK_BYTES,
    SMALL_BYTES,
    Fingerprint,
    Item,
    Taken,
    Traffic,
)

_MD5 = re.compile(r'"?([0-9a-f]{32})"?')
# In parts of this size; S3 wants 5 MiB at least, and at most 10,000 of them.
PART_BYTES = 16 << 20
_CONNECTIONS = 32
_ATTEMPTS = 4
_CONNECT_S = 10
_READ_S = 60


class S3Store:
    """A prefix of a bucket; see :class:`modelport.repository.stores.store.Store`.

    Args:
        address: what the URL said.
        part_bytes: files larger than this are sent in parts of this size.

    Raises:
        MissingExtraError: boto3 is not installed.
        StoreAccessError: the AWS settings of this user are wrong.
    """

    def __init__(self, address: S3Address, *, part_bytes: int = PART_BYTES) -> None:
        self.url = str(address)
        self.traffic = Traffic()
        self._bucket = address.bucket
        self._prefix = f"{address.prefix}/" if address.prefix else ""
        self._part_bytes = part_bytes
        self._client = _client(address)
        parts = urlsplit(self._client.meta.endpoint_url)
        # Without what may stand before an @.
        self._endpoint = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
        self.identity = f"{self._endpoint}/{self._bucket}/{self._prefix}"
        self._client.meta.events.register("before-send.s3", self._count)

    def list(self, prefix: str = "") -> Iterator[Item]:
        """Give every file, a thousand with one request."""
        pages = self._client.get_paginator("list_objects_v2").paginate(
            Bucket=self._bucket, Prefix=self._prefix + prefix
        )
        with self._explained("list"):
            for page in pages:
                for entry in page.get("Contents", ()):
                    if not entry["Key"].endswith("/"):  # a folder that a console made
                        yield self._item(entry["Key"], entry["Size"], entry["ETag"])

    def find(self, key: str) -> Item | None:
        """Give one file; None if there is none."""
        head = self._head(key)
        if head is None:
            return None
        return self._item(self._prefix + key, head["ContentLength"], head["ETag"])

    def read(self, key: str) -> bytes:
        """Give the whole content of a small file, as its writer stated it."""
        with self._explained("read", key):
            found = self._get(key)
            if found["ContentLength"] > SMALL_BYTES:
                raise StoreError(f"{self.url}/{key}: {found['ContentLength']} bytes are too many")
            content: bytes = found["Body"].read()
        self.traffic.add(files_received=1, bytes_received=len(content))
        stated = found.get("Metadata", {}).get("sha256")
        got = hashlib.sha256(content).hexdigest()
        if stated and stated != got:
            raise IntegrityError(
                f"{self.url}/{key}: sha256 {got} instead of {stated}, as its writer stated it",
                cause="the store damaged it, or somebody changed it",
                next_step="push it again from a repository that has it",
                key=key,
            )
        return content

    def stream(self, key: str, offset: int = 0) -> Iterator[bytes]:
        """Give the content from ``offset`` on, in chunks."""
        with self._explained("read", key):
            found = self._get(key, **({"Range": f"bytes={offset}-"} if offset else {}))
            for chunk in found["Body"].iter_chunks(CHUNK_BYTES):
                self.traffic.add(bytes_received=len(chunk))
                yield chunk
        self.traffic.add(files_received=1)

    def stated_sha256(self, key: str) -> str | None:
        """Give the digest that its writer stated; None where another program wrote it."""
        head = self._head(key)
        return None if head is None else head.get("Metadata", {}).get("sha256")

    def upload(
        self, file: Path, key: str, known: Fingerprint, on_sent: Callable[[int], None]
    ) -> None:
        """Write a file of any size; the server compares digests, and may have parts already."""
        if known.size_bytes <= self._part_bytes:
            self._put(key, file.read_bytes(), known)
            on_sent(known.size_bytes)
            return
        parts = Parts(self._client, self._bucket, self._prefix + key, self._part_bytes)
        try:
            with self._explained("write", key):
                sent = parts.upload(file, known, on_sent)
        except FileNotFoundError as error:
            # Another push of the same content has completed the parts of both.
            if self.stated_sha256(key) != known.sha256:
                raise StoreError(
                    f"{self.url}/{key}: another push has ended this upload meanwhile",
                    next_step="run the same command again",
                    key=key,
                ) from error
            return
        self.traffic.add(files_sent=1, bytes_sent=sent)

    def write(self, key: str, content: bytes, *, replaces: Item | None) -> None:
        """Write a small file, if nobody else did meanwhile."""
        condition = {"IfMatch": replaces.tag} if replaces else {"IfNoneMatch": "*"}
        known = Fingerprint.of(content)
        try:
            self._put(key, content, known, **condition)
        except FileNotFoundError as error:  # what was to be replaced is gone
            raise Taken(key) from error

    def delete(self, key: str) -> None:
        """Remove a file; fine if there is none."""
        with self._explained("remove files", key):
            self._client.delete_object(Bucket=self._bucket, Key=self._prefix + key)

    def prepare(self) -> None:
        """Nothing to make: a bucket that is missing shows when it is listed."""

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _put(self, key: str, content: bytes, known: Fingerprint, **condition: str) -> None:
        md5 = base64.b64encode(bytes.fromhex(known.md5)).decode()
        with self._explained("write", key):
            self._client.put_object(
                Bucket=self._bucket,
                Key=self._prefix + key,
                Body=content,
                ContentMD5=md5,
                Metadata={"sha256": known.sha256},
                **condition,
            )
        self.traffic.add(files_sent=1, bytes_sent=known.size_bytes)

    def _get(self, key: str, **options: str) -> dict[str, Any]:
        found: dict[str, Any] = self._client.get_object(
            Bucket=self._bucket, Key=self._prefix + key, **options
        )
        return found

    def _head(self, key: str) -> dict[str, Any] | None:
        try:
            with self._explained("read", key):
                found: dict[str, Any] = self._client.head_object(
                    Bucket=self._bucket, Key=self._prefix + key
                )
                return found
        except FileNotFoundError:
            return None

    def _item(self, key: str, size_bytes: int, tag: str) -> Item:
        plain = _MD5.fullmatch(tag)
        return Item(key.removeprefix(self._prefix), size_bytes, tag, plain[1] if plain else None)

    def _explained(self, doing: str, key: str = "") -> AbstractContextManager[None]:
        return s3_faults.explained(self.url, self._endpoint, doing, key)

    def _count(self, **_: object) -> None:
        self.traffic.add(requests=1)


def _client(address: S3Address) -> Any:
    """Make the boto3 client; servers other than AWS get the bucket in the path."""
    try:
        import boto3
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"{address} needs the package {error.name!r}, which is not installed",
            cause="S3 comes with the [s3] extra",
            next_step="pip install 'modelport[s3]'",
            package=error.name,
        ) from error
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError

    def make(style: str) -> Any:
        config = Config(
            retries={"mode": "standard", "max_attempts": _ATTEMPTS},
            connect_timeout=_CONNECT_S,
            read_timeout=_READ_S,
            max_pool_connections=_CONNECTIONS,
            # Content-MD5 goes along with every write; trailing checksums are foreign to many
            # servers, and what is read is held against a sha256 anyway.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            s3={"addressing_style": style},
        )
        return boto3.session.Session().client("s3", endpoint_url=address.endpoint, config=config)

    try:
        client = make("auto")
        host = urlsplit(client.meta.endpoint_url).hostname or ""
        return client if host.endswith(("amazonaws.com", "amazonaws.com.cn")) else make("path")
    except (BotoCoreError, ValueError) as error:
        raise s3_faults.settings_fault(error, str(address)) from error

"""The few things that a store can do; pushing and pulling are built on them alone."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

CHUNK_BYTES = 1 << 20
# Manifests, configurations, labels and signatures are read whole; none comes near this.
SMALL_BYTES = 256 << 20


@dataclass(frozen=True)
class Item:
    """A file in a store, as its listing has it.

    Attributes:
        key: its path inside the store.
        tag: changes whenever the content does.
        md5: of the content, where the listing tells it. A hint that saves requests; what is
            fetched is always held against a sha256.
    """

    key: str
    size_bytes: int
    tag: str
    md5: str | None = None


@dataclass(frozen=True)
class Fingerprint:
    """Size and digests of a file or of some bytes."""

    size_bytes: int
    sha256: str
    md5: str

    @classmethod
    def of(cls, source: Path | bytes, on_read: Callable[[int], None] | None = None) -> Fingerprint:
        """Read it once, in chunks; ``on_read`` hears the size of each."""
        # MD5 is what S3 compares an upload with; nothing is trusted because of it.
        sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
        size = 0
        for chunk in _chunks(source):
            sha256.update(chunk)
            md5.update(chunk)
            size += len(chunk)
            if on_read is not None:
                on_read(len(chunk))
        return cls(size, sha256.hexdigest(), md5.hexdigest())


def _chunks(source: Path | bytes) -> Iterator[bytes]:
    if isinstance(source, bytes):
        yield source
        return
    with source.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


class Taken(Exception):
    """A conditional write found something else than its caller expected there."""


class Traffic:
    """What went to a store and came from it; safe for threads."""

    _FIELDS = ("requests", "files_sent", "bytes_sent", "files_received", "bytes_received")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts = dict.fromkeys(self._FIELDS, 0)

    def add(self, **counts: int) -> None:
        """Count more of some fields."""
        with self._lock:
            for name, count in counts.items():
                self._counts[name] += count

    def as_json(self) -> dict[str, int]:
        """Give all counts; ``requests`` are those that a store over a network had to answer."""
        with self._lock:
            return dict(self._counts)


class Store(Protocol):
    """Files under keys such as ``digits/3/model.onnx``.

    All methods raise :class:`~modelport.errors.StoreUnreachableError`,
    :class:`~modelport.errors.StoreAccessError` or :class:`~modelport.errors.StoreError` when
    the store fails, and are safe to call from several threads.

    Attributes:
        url: for people; without credentials.
        identity: the same for the same store, however it was named.
        traffic: counts since it was opened.
    """

    url: str
    identity: str
    traffic: Traffic

    def list(self, prefix: str = "") -> Iterator[Item]:
        """Give every file whose key begins with ``prefix``."""
        ...

    def find(self, key: str) -> Item | None:
        """Give one file; None if there is none."""
        ...

    def read(self, key: str) -> bytes:
        """Give the whole content of a small file.

        Raises:
            IntegrityError: it is not what its writer said it is.
            FileNotFoundError: there is none.
        """
        ...

    def stream(self, key: str, offset: int = 0) -> Iterator[bytes]:
        """Give the content from ``offset`` on, in chunks; raises FileNotFoundError."""
        ...

    def stated_sha256(self, key: str) -> str | None:
        """Give the digest that its writer stated, or that the file has; None if unknown."""
        ...

    def upload(
        self, file: Path, key: str, known: Fingerprint, on_sent: Callable[[int], None]
    ) -> None:
        """Write a file of any size; it appears whole or not at all.

        Args:
            file: what to send.
            key: where to.
            known: its fingerprint; content that differs by now is refused.
            on_sent: hears how many bytes were dealt with.
        """
        ...

    def write(self, key: str, content: bytes, *, replaces: Item | None) -> None:
        """Write a small file, if nobody else did meanwhile.

        Args:
            key: where to.
            content: what to write.
            replaces: what lies there by the caller's knowledge; None for nothing.

        Raises:
            Taken: something else lies there; nothing was written.
        """
        ...

    def delete(self, key: str) -> None:
        """Remove a file; fine if there is none."""
        ...

    def prepare(self) -> None:
        """Make ready for writing; what can be missing is made, else an error says so."""
        ...

    def close(self) -> None:
        """Leave nothing behind but what was written."""
        ...


def holds(store: Store, item: Item, content: bytes) -> bool:
    """Say whether a small file has this content, without fetching it where the listing tells."""
    known = Fingerprint.of(content)
    if item.size_bytes != known.size_bytes:
        return False
    return item.md5 == known.md5 or store.read(item.key) == content

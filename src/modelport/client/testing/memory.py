"""System shared memory that clients have registered with a fake server."""

from __future__ import annotations

import mmap
import os
import threading
from dataclasses import dataclass
from pathlib import Path

from modelport.client.testing.requests import Refusal

_FOLDER = Path("/dev/shm")  # noqa: S108 - the kernel's own place


@dataclass
class _Registered:
    key: str
    offset: int
    size_bytes: int
    mapped: mmap.mmap


class Memory:
    """The regions; their messages are those of Triton 2.51."""

    def __init__(self) -> None:
        self._regions: dict[str, _Registered] = {}
        self._lock = threading.Lock()

    def register(self, name: str, key: str, offset: int, size_bytes: int) -> None:
        """Map a region.

        Raises:
            Refusal: the name is taken, there is no such memory, or it is smaller.
        """
        with self._lock:
            if name in self._regions:
                raise Refusal(f"shared memory region '{name}' already in manager")
            try:
                file = os.open(_FOLDER / key.lstrip("/"), os.O_RDWR)
            except OSError as error:
                what = f"Unable to open shared memory region: '{key}'"
                raise Refusal(what, "INTERNAL") from error
            try:
                mapped = mmap.mmap(file, offset + size_bytes)
            except (OSError, ValueError) as error:
                what = f"Invalid shared memory region: '{key}'"
                raise Refusal(what, "INTERNAL") from error
            finally:
                os.close(file)
            self._regions[name] = _Registered(key, offset, size_bytes, mapped)

    def unregister(self, name: str = "") -> None:
        """Forget a region, or all of them; an unknown one is none already."""
        with self._lock:
            if name:
                self._regions.pop(name, None)
            else:
                self._regions.clear()

    def status(self, name: str = "") -> list[dict[str, object]]:
        """Describe a region, or all of them.

        Raises:
            Refusal: there is none of that name.
        """
        if name and name not in self._regions:
            raise Refusal(f"Unable to find system shared memory region: '{name}'", "NOT_FOUND")
        return [
            {"name": n, "key": r.key, "offset": r.offset, "byte_size": r.size_bytes}
            for n, r in self._regions.items()
            if name in ("", n)
        ]

    def read(self, name: str, offset: int, size_bytes: int) -> bytes:
        """Give a part of a region.

        Raises:
            Refusal: there is no such region, or it ends before.
        """
        region, begin = self._part(name, offset, size_bytes)
        return region.mapped[begin : begin + size_bytes]

    def write(self, name: str, offset: int, room_bytes: int, content: bytes, output: str) -> None:
        """Write an output to a part of a region.

        Raises:
            Refusal: there is no such region, or no room.
        """
        region, begin = self._part(name, offset, room_bytes)
        if len(content) > room_bytes:
            raise Refusal(
                f"shared memory size specified with the request for output '{output}'"
                f" ({room_bytes} bytes) should be at least {len(content)} bytes to hold the"
                " results",
                "INTERNAL",
            )
        region.mapped[begin : begin + len(content)] = content

    def _part(self, name: str, offset: int, size_bytes: int) -> tuple[_Registered, int]:
        region = self._regions.get(name)
        if region is None:
            raise Refusal(f"Unable to find shared memory region: '{name}'", "NOT_FOUND")
        if offset + size_bytes > region.size_bytes:
            raise Refusal(f"Invalid offset + byte size for shared memory region: '{name}'")
        return region, region.offset + offset

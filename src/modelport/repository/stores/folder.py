"""A store in a local folder, or one that is mounted."""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from modelport.errors import IntegrityError, StoreAccessError, StoreError
from modelport.repository import digests, publish
from modelport.repository.stores.store import (
    CHUNK_BYTES,
    Fingerprint,
    Item,
    Taken,
    Traffic,
)


class FolderStore:
    """A folder of model folders; see :class:`modelport.repository.stores.store.Store`.

    What is written is made beside the folder and renamed into it. Triton can
    serve from it, and Modelport too.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().absolute()
        self.url = str(self.path)
        self.identity = f"file://{self.path.resolve()}"
        self.traffic = Traffic()
        self._stage: Path | None = None

    def list(self, prefix: str = "") -> Iterator[Item]:
        """Give every file; none of a folder that is yet to be made."""
        with self._explained("read"):
            yield from self._walk(self.path / prefix if prefix.endswith("/") else self.path, prefix)

    def _walk(self, folder: Path, prefix: str) -> Iterator[Item]:
        for place, folders, names in os.walk(folder):
            folders.sort()
            for name in sorted(names):
                path = Path(place) / name
                key = path.relative_to(self.path).as_posix()
                if key.startswith(prefix) and (item := self.find(key)):
                    yield item

    def find(self, key: str) -> Item | None:
        """Give one file; None if there is none."""
        try:
            found = (self.path / key).stat()
        except (FileNotFoundError, NotADirectoryError):
            return None
        if not stat.S_ISREG(found.st_mode):
            return None
        tag = f"{found.st_ino}-{found.st_mtime_ns}-{found.st_size}"
        return Item(key, found.st_size, tag)

    def read(self, key: str) -> bytes:
        """Give the whole content of a small file."""
        with self._explained("read"):
            content = (self.path / key).read_bytes()
        self.traffic.add(files_received=1, bytes_received=len(content))
        return content

    def stream(self, key: str, offset: int = 0) -> Iterator[bytes]:
        """Give the content from ``offset`` on, in chunks."""
        with self._explained("read"), (self.path / key).open("rb") as file:
            file.seek(offset)
            while chunk := file.read(CHUNK_BYTES):
                self.traffic.add(bytes_received=len(chunk))
                yield chunk
        self.traffic.add(files_received=1)

    def stated_sha256(self, key: str) -> str | None:
        """Digest the file as it is."""
        with self._explained("read"):
            path = self.path / key
            return digests.of_file(path) if path.is_file() else None

    def upload(
        self, file: Path, key: str, known: Fingerprint, on_sent: Callable[[int], None]
    ) -> None:
        """Copy beside the folder, digest the copy, and rename."""
        partial = self._partial()
        with self._explained("write"):
            shutil.copyfile(file, partial)
            if Fingerprint.of(partial, on_sent).sha256 != known.sha256:
                raise IntegrityError(
                    f"{file} changed while it was copied, or the copy in {self.path} is damaged",
                    next_step="run the same command again",
                    path=file,
                )
            self._place(partial, key)
        self.traffic.add(files_sent=1, bytes_sent=known.size_bytes)

    def write(self, key: str, content: bytes, *, replaces: Item | None) -> None:
        """Write a small file, if nobody else did meanwhile."""
        partial = self._partial()
        with self._explained("write"):
            partial.write_bytes(content)
            with FileLock(self.path / publish.LOCK):
                if self.find(key) != replaces:
                    partial.unlink()
                    raise Taken(key)
                self._place(partial, key)
        self.traffic.add(files_sent=1, bytes_sent=len(content))

    def delete(self, key: str) -> None:
        """Remove a file, and the folders that it leaves empty."""
        with self._explained("remove from"):
            path = self.path / key
            path.unlink(missing_ok=True)
            for folder in path.parents:
                if folder == self.path or any(folder.iterdir()):
                    return
                folder.rmdir()

    def prepare(self) -> None:
        """Make the folder and a staging folder beside it."""
        if not self.path.parent.is_dir():
            raise StoreError(
                f"{self.path}: there is no folder {self.path.parent} to make it in",
                cause="the path is wrong, or the file system is not mounted",
                next_step=f"mkdir -p {self.path.parent}, if it is meant",
                path=self.path,
            )
        if self._stage is None:
            self._stage = publish.new_stage(self.path, "store")

    def close(self) -> None:
        """Remove the staging folder."""
        if self._stage is not None:
            publish.discard(self.path, self._stage)
            self._stage = None

    def _partial(self) -> Path:
        self.prepare()
        assert self._stage is not None
        return self._stage / os.urandom(8).hex()

    def _place(self, partial: Path, key: str) -> None:
        target = self.path / key
        target.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(partial, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        partial.replace(target)

    @contextmanager
    def _explained(self, doing: str) -> Iterator[None]:
        """Turn what the file system refuses into an error of stores; absence stays what it is."""
        try:
            yield
        except (FileNotFoundError, NotADirectoryError) as error:
            raise FileNotFoundError(*error.args) from error
        except PermissionError as error:
            raise StoreAccessError(
                f"{self.path}: could not {doing} the store: {error.filename}: {error.strerror}",
                cause="this user may not do that there",
                path=self.path,
            ) from error
        except OSError as error:
            raise StoreError(
                f"{self.path}: could not {doing} the store: {error.strerror or error}",
                next_step="mend that and run the same command again, which goes on from there",
                path=self.path,
            ) from error

"""tritonserver's log files: where they go, and what in them matters."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path

from modelport.errors import ServerStartError
from modelport.runtime import cache

KEEP = 10
_STAMP = "%Y%m%dT%H%M%S.%f"

# Said on every machine without a GPU; never the reason for anything.
_NOISE = re.compile(r"CUDA|NVML|DCGM|pinned")
# For what does not come from Triton's logger: its options parser, Python, the loader.
_COMPLAINT = re.compile(r"error|exception|cannot|unrecognized|invalid", re.IGNORECASE)
_TRITON_LINE = re.compile(r"^[IWEF]\d{4} [\d:.]+ \d+ \S+\] ?")


def new_path() -> Path:
    """Name a new log file in the cache; the oldest ones are removed."""
    folder = cache.folder("logs")
    older = sorted(folder.glob("server-*.log"))
    for path in older[: max(0, len(older) - KEEP + 1)]:
        path.unlink(missing_ok=True)
    stamp = _stamp(older[-1].name.split("-")[1] if older else "")
    return folder / f"server-{stamp}-{os.getpid()}-{os.urandom(2).hex()}.log"


def _stamp(last: str) -> str:
    """Give the time, or what sorts right after the last one where the clock was put back.

    Else the next server would take the log of one that runs for the oldest.
    """
    now = datetime.now(timezone.utc)
    with suppress(ValueError):  # one of before the fractions
        now = max(now, datetime.strptime(f"{last}+0000", f"{_STAMP}%z") + timedelta(microseconds=1))
    return now.strftime(_STAMP)


def usable(path: Path) -> Path:
    """Give the absolute path of a log file that was asked for, once it can be written.

    Raises:
        ServerStartError: it cannot.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.open("ab").close()
    except OSError as error:
        raise ServerStartError(
            f"{path}: the log cannot be written ({error.strerror})",
            next_step="--log-file with a path that you may write to",
            path=path,
        ) from error
    return path.absolute()


class Log:
    """The log of one server, from where it stood when this object was made.

    A file that is appended to holds older servers' lines, which must not explain this one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.begin = path.stat().st_size if path.exists() else 0

    @classmethod
    def whole(cls, path: Path) -> Log:
        """Give a log from its first line on."""
        log = cls(path)
        log.begin = 0
        return log

    def text(self) -> str:
        """Give all of it so far."""
        try:
            with self.path.open("rb") as file:
                file.seek(self.begin)
                return file.read().decode(errors="replace")
        except FileNotFoundError:
            return ""

    def complaints(self, about: str = "", limit: int = 12) -> list[str]:
        """Give the last error lines, those that name ``about`` when it is given."""
        lines = self.text().splitlines()
        found = [_TRITON_LINE.sub("", line) for line in lines if _is_complaint(line)]
        return [line for line in found if about in line][-limit:]

    def poll_failure(self, model: str) -> str | None:
        """Give the reason that Triton keeps to its log when a config.pbtxt is unusable."""
        pattern = rf"Poll failed for model directory '{re.escape(model)}': (.*)"
        found: list[str] = re.findall(pattern, self.text())
        return found[-1].strip().rstrip('"') if found else None


def _is_complaint(line: str) -> bool:
    if _NOISE.search(line):
        return False
    if _TRITON_LINE.match(line):
        return line.startswith(("E", "F"))
    return bool(_COMPLAINT.search(line))

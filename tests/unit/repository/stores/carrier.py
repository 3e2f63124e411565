"""Pushes or pulls in a process of its own, which can be killed at any point.

``python carrier.py push|pull FOLDER`` copies FOLDER/template to FOLDER/0, FOLDER/1, …, works there
between ``home`` and ``store`` or ``store`` and ``away``, and kills the n-th worker at the n-th
thing that it does to the file system, until one of them comes through.

``python carrier.py push|pull --requests REPOSITORY URL WITNESSES`` kills the n-th worker before its
n-th request to S3, and the next goes on from there, until one comes through. After each kill
another machine pulls into WITNESSES/0, WITNESSES/1, …

``python carrier.py push --each REPOSITORY URL NAME…`` pushes model after model, and kills the
n-th push before its n-th request.
"""

from __future__ import annotations

import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from modelport.errors import ModelportError
from modelport.repository.stores import open_store
from modelport.repository.stores.ledger import FILE_NAME
from modelport.repository.stores.pull import pull
from modelport.repository.stores.push import push

# What a kill can come between; os.fsync has no audit event and is wrapped instead.
EVENTS = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.link", "shutil.copyfile", "open"}
MOST = 1000


def carry(way: str, repository: Path, url: str, names: list[str]) -> None:
    """Do it as the command does, one transfer at a time."""
    store = open_store(url)
    if way == "push":
        push(repository, store, names, jobs=1)
    else:
        pull(repository, store, names, jobs=1)
    store.close()


def killing_at(number: int) -> Callable[[], None]:
    """Give a function whose ``number``-th call kills this process."""
    count = 0

    def step() -> None:
        nonlocal count
        if count == number:
            os.kill(os.getpid(), signal.SIGKILL)
        count += 1

    return step


def watch_files(step: Callable[[], None]) -> None:
    """Call ``step`` before everything that changes the file system."""

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event in EVENTS and (
            event != "open" or bool(int(str(arguments[2])) & (os.O_WRONLY | os.O_RDWR))
        ):
            step()

    sync = os.fsync

    def fsync(descriptor: int) -> None:
        step()
        sync(descriptor)

    os.fsync = fsync
    sys.addaudithook(hook)


def watch_requests(step: Callable[[], None]) -> None:
    """Call ``step`` before every request to S3."""
    from modelport.repository.stores import s3

    make = s3._client

    def client(address: Any) -> Any:
        made = make(address)
        made.meta.events.register("before-send.s3", lambda **_: step())
        return made

    s3._client = client


def in_child(work: Callable[[], None]) -> int:
    """Run it in a process of its own; give its status."""
    pid = os.fork()
    if pid == 0:
        try:
            work()
            os._exit(0)
        except ModelportError as error:
            print(error, flush=True)
            os._exit(error.exit_code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def everywhere(way: str, folder: Path) -> None:
    """Kill at everything that is done to files, each time from the beginning."""
    for number in range(MOST):
        case = folder / str(number)
        shutil.copytree(folder / "template", case)
        for ledger in case.glob(f"*/{FILE_NAME}"):  # which names the store by its path
            ledger.write_text(ledger.read_text().replace(f"{folder}/template", str(case)))

        def work(number: int = number, case: Path = case) -> None:
            watch_files(killing_at(number))
            carry(way, case / ("home" if way == "push" else "away"), str(case / "store"), [])

        status = in_child(work)
        if status != -signal.SIGKILL:
            sys.exit(status)
    sys.exit("it never came through")


def every_request(way: str, repository: Path, url: str, witnesses: Path) -> None:
    """Kill at every request, each time going on from there."""
    for number in range(MOST):

        def work(number: int = number) -> None:
            watch_requests(killing_at(number))
            carry(way, repository, url, [])

        status = in_child(work)
        if in_child(lambda n=number: carry("pull", witnesses / str(n), url, [])):  # type: ignore[misc]
            sys.exit("nobody can pull now")
        if status != -signal.SIGKILL:
            sys.exit(status)
    sys.exit("it never came through")


def each(way: str, repository: Path, url: str, names: list[str]) -> None:
    """Kill the n-th at its n-th request."""
    for number, name in enumerate(names):

        def work(number: int = number, name: str = name) -> None:
            watch_requests(killing_at(number))
            carry(way, repository, url, [name])

        if in_child(work) not in (0, -signal.SIGKILL):
            sys.exit(f"{name}: failed")


if __name__ == "__main__":
    way, *rest = sys.argv[1:]
    if rest[0] == "--requests":
        every_request(way, Path(rest[1]), rest[2], Path(rest[3]))
    elif rest[0] == "--each":
        each(way, Path(rest[1]), rest[2], rest[3:])
    else:
        everywhere(way, Path(rest[0]))

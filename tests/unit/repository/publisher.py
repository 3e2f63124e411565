"""Publishes one small change in a process of its own, which can be ended at any point.

``python publisher.py crash FOLDER`` publishes in FOLDER/0, FOLDER/1, …, and ends the n-th
publisher at the n-th thing that it does to the file system, until one of them comes through.
``python publisher.py publish REPOSITORY MODEL VERSION`` publishes once, undisturbed.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path

from modelport.errors import PublishError
from modelport.repository import publish
from modelport.repository.publish import Move

# What a crash can come between; os.fsync has no audit event and is wrapped instead.
EVENTS = {"os.rename", "os.remove", "os.rmdir", "os.mkdir", "open"}


def old_state(repository: Path) -> None:
    """Write what is published before: one version, a config, and a model with code in place."""
    (repository / "net" / "1").mkdir(parents=True)
    (repository / "net" / "1" / "model.onnx").write_text("weights 1")
    (repository / "net" / "config.pbtxt").write_text("config 1")
    (repository / "code" / "1").mkdir(parents=True)
    (repository / "code" / "1" / "model.py").write_text("code")


def stage(repository: Path, label: str = "tiny") -> tuple[Path, list[Move]]:
    """Stage a new version, the config that goes with it, a manifest, and a new model."""
    made = publish.new_stage(repository, label)
    for name in ("net/2", "code/1", "whole/1"):
        (made / name).mkdir(parents=True)
    (made / "net/2/model.onnx").write_text("weights 2")
    (made / "net/2/manifest.json").write_text("{}")
    (made / "net/config.pbtxt").write_text("config 2")
    (made / "code/1/manifest.json").write_text("{}")
    (made / "whole/1/model.onnx").write_text("new model")
    paths = ("net/2", "net/config.pbtxt", "code/1/manifest.json", "whole/1")
    return made, [Move(made / path, repository / path) for path in paths]


def publish_all(repository: Path) -> None:
    """Take the change the whole way, as a build does."""
    made, moves = stage(repository)
    with publish.locked(repository):
        publish.apply(repository, moves)
    publish.discard(repository, made)


def _end_at(number: int) -> None:
    """End this process, as kill -9 would, instead of the ``number``-th thing it does to a disk."""
    count = 0

    def step() -> None:
        nonlocal count
        if count == number:
            os._exit(9)
        count += 1

    def hook(event: str, arguments: tuple[object, ...]) -> None:
        if event not in EVENTS:
            return
        writes = event != "open" or bool(int(str(arguments[2])) & (os.O_WRONLY | os.O_RDWR))
        if writes:
            step()

    sync = os.fsync

    def fsync(descriptor: int) -> None:
        step()
        sync(descriptor)

    os.fsync = fsync
    sys.addaudithook(hook)


def _in_child(work: Callable[[], None]) -> int:
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    work()
    os._exit(0)


def _crash_everywhere(folder: Path) -> None:
    for number in range(500):
        repository = folder / str(number) / "repository"
        old_state(repository)

        def work(repository: Path = repository, number: int = number) -> None:
            _end_at(number)
            publish_all(repository)

        if _in_child(work) == 0:
            return
    sys.exit("the publisher never came through")


def _publish_one(repository: Path, model: str, version: str) -> None:
    made = publish.new_stage(repository, model)
    (made / model / version).mkdir(parents=True)
    (made / model / version / "model.onnx").write_text(f"by {os.getpid()}")
    with publish.locked(repository):
        publish.apply(repository, [Move(made / model / version, repository / model / version)])
    publish.discard(repository, made)


if __name__ == "__main__":
    if sys.argv[1] == "crash":
        _crash_everywhere(Path(sys.argv[2]))
    else:
        try:
            _publish_one(Path(sys.argv[2]), *sys.argv[3:])
        except PublishError as error:
            print(error)
            sys.exit(error.exit_code)

"""A process that builds one builder file, for :mod:`modelport.build.workers`.

It is started as ``python -m modelport.build.worker FD`` with the job as one line of JSON on its
standard input, and writes events as lines of JSON to the file descriptor FD. Standard input
stays open as long as its starter lives: at its end the build is interrupted, as by Ctrl-C.
"""

from __future__ import annotations

import _thread
import json
import os
import sys
import threading
import time
import traceback
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from modelport.errors import ModelportError

# What a build may take to leave the repository and its own server in order.
ENDING_S = 10.0
_INTERRUPTED = 130


@dataclass(frozen=True)
class Job:
    """One builder file to build.

    Attributes:
        builder: the file.
        repository: the model repository.
        keep_edits: leave config.pbtxt files that were edited by hand as they are.
        data: the user's own data in place of the builder's first source.
        nice: how far it stands back behind other work on this machine.
    """

    builder: str
    repository: str
    keep_edits: bool = False
    data: str | None = None
    nice: int = 0


def main() -> int:
    """Build, telling every step; the last event is the outcome."""
    events = os.fdopen(int(sys.argv[1]), "w", encoding="utf-8", buffering=1)
    os.set_inheritable(events.fileno(), False)
    starter = _take_stdin()
    job = Job(**json.loads(starter.readline()))
    # Set before any thread is: signals and their handlers are the main thread's.
    threading.Thread(target=_end_with, args=(starter,), daemon=True).start()
    os.nice(job.nice)
    try:
        _tell(events, "built", models=_build(job, events))
    except KeyboardInterrupt:
        return _INTERRUPTED
    except BrokenPipeError:  # nobody listens any more
        return _INTERRUPTED
    except BaseException as error:  # noqa: BLE001 - the boundary: the starter reports and raises it
        traceback.print_exc()
        _tell(events, "error", **described(error))
        return 1
    return 0


def _build(job: Job, events: IO[str]) -> list[dict[str, Any]]:
    from modelport.build import pipeline
    from modelport.build.steps import Progress, Report

    def listener(event: Report | Progress) -> None:
        _tell(events, type(event).__name__, **asdict(event))

    built = pipeline.build(
        (),
        builders=Path(job.builder),
        repository=Path(job.repository),
        listener=listener,
        keep_edits=job.keep_edits,
        data=Path(job.data) if job.data else None,
    )
    return [asdict(one) for one in built]


def described(error: BaseException) -> dict[str, Any]:
    """Put an error into words that another process makes the same error of."""
    fields: dict[str, Any] = {"error": type(error).__name__, "what": str(error)}
    if isinstance(error, ModelportError):
        fields |= {"what": error.what, "cause": error.cause, "next_step": error.next_step}
    if isinstance(error, ModuleNotFoundError):
        fields["name"] = error.name
    return fields


def _tell(events: IO[str], kind: str, **fields: Any) -> None:
    events.write(json.dumps({"kind": kind, **fields}, default=str) + "\n")


def _take_stdin() -> IO[str]:
    """Keep the starter's line to ourselves: pip and tritonserver must not read or hold it."""
    own = os.dup(0)
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.close(null)
    return os.fdopen(own, encoding="utf-8")


def _end_with(starter: IO[str]) -> None:
    """Interrupt the build when its starter is gone, even by kill -9."""
    while starter.readline():
        pass
    _thread.interrupt_main()
    time.sleep(ENDING_S)
    os._exit(_INTERRUPTED)


if __name__ == "__main__":
    sys.exit(main())

"""What the runtime tells its caller while it works."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Kind = Literal[
    "toolchain",  # something is fetched or made, once per machine
    "plan",  # a TensorRT plan serves, is refused, or could be built
    "started",  # tritonserver answers; no model is loaded yet
    "loaded",  # one model serves
    "failed",  # one model did not load
    "ready",  # every model serves
    "sick",  # the watchdog got no answer, or an error, from a model
    "healed",  # ... and a reload brought it back
    "unhealed",  # ... and a reload did not
    "wrong",  # a model answers, but not what it was proven to answer
    "stopping",  # requests in flight are waited for
    "stopped",
]


@dataclass(frozen=True)
class Event:
    """One thing that happened.

    Attributes:
        text: one line for people.
        model: the model it is about.
        version: the versions that serve, such as ``"3"`` or ``"2, 3"``.
        duration_s: how long it took.
    """

    kind: Kind
    text: str
    model: str | None = None
    version: str | None = None
    duration_s: float | None = None


Listener = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Hear nothing: the listener of callers that want none."""

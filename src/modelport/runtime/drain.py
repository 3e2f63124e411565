"""Ending a server without losing a request, and without waiting for idle connections.

On SIGTERM tritonserver waits until every HTTP connection is closed, so an idle
keep-alive client holds it up for the whole exit timeout. So the models are
unloaded first, callers before those they call: a model leaves the repository
index when its last request, over HTTP or gRPC, is answered. Then nothing is in
flight, and what holds the server up can be cut off.
"""

from __future__ import annotations

import contextlib
import http.client
import time

from modelport.repository import edits
from modelport.runtime.control import Control, Refused
from modelport.runtime.plan import Model, Plan
from modelport.runtime.process import ServerProcess
from modelport.runtime.stubs import Stubs

_POLL_S = 0.03
# Long enough to end by itself when no connection holds it up, and for answers
# that are computed but not sent yet.
_ALONE_S = 1.5


def stop(
    process: ServerProcess, control: Control, stubs: Stubs, plan: Plan, *, drain_s: float
) -> None:
    """End the server once nothing is in flight, or after ``drain_s`` at the latest."""
    deadline = time.monotonic() + drain_s
    with contextlib.suppress(OSError, http.client.HTTPException, Refused):
        for wave in _waves(plan):
            _unload(wave, control, stubs, deadline)
        # What somebody loaded since the start.
        _unload([s.name for s in control.index() if s.state == "READY"], control, stubs, deadline)
    process.stop()
    if not process.wait(_ALONE_S):
        process.kill()
        process.wait()


def _waves(plan: Plan) -> list[list[str]]:
    """Callers before those they call; code that may call what it does not declare goes first.

    Triton's python backend takes a second or more to unload a model, and those of a wave share it.
    """
    waves = []
    for wave in reversed(plan.waves()):
        free = [name for name in wave if _may_call(plan.models[name])]
        waves += [free, [name for name in wave if name not in free]]
    return [wave for wave in waves if wave]


def _may_call(model: Model) -> bool:
    """Say whether a model's code may call models that its configuration does not name.

    What a builder made was proven with those alone that it declares.
    """
    config = model.config
    if config is None or config.backend != "python":
        return False
    return edits.builder_of(model.folder.config_path) is None


def _unload(wave: list[str], control: Control, stubs: Stubs, deadline: float) -> None:
    for name in wave:
        with contextlib.suppress(Refused):  # it is not loaded
            control.unload(name)
    while time.monotonic() < deadline:
        stubs.look()
        busy = {s.name for s in control.index() if s.state in {"READY", "UNLOADING"}}
        # A model with a dead stub never finishes to unload.
        if not any(name in busy and not stubs.dead(name) for name in wave):
            return
        time.sleep(_POLL_S)

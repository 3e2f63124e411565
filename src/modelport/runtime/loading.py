"""Loading models into a server, side by side, each with a deadline."""

from __future__ import annotations

import http.client
import queue
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from modelport.runtime import bytecode, reasons
from modelport.runtime.control import Control, Refused
from modelport.runtime.events import Event, Listener
from modelport.runtime.grpc_control import GrpcControl
from modelport.runtime.logs import Log
from modelport.runtime.plan import Model, Plan
from modelport.runtime.process import ServerProcess
from modelport.runtime.reasons import Failure
from modelport.runtime.stubs import Stubs

# tritonserver answers HTTP with 8 threads; a load over HTTP keeps one until it is done,
# and one must stay free for questions in between.
PARALLEL_LOADS = 6
_POLL_S = 0.05
# tritonserver notices most deaths itself, after a second or two.
_DEAD_S = 4.0


@dataclass
class _Load:
    model: str
    begin: float


class Loader:
    """Loads the models of a plan.

    Args:
        control: for questions, and for the loads too where ``loads`` is not given.
        timeout_s: deadline of each model, from when its own load begins.
        on_event: hears ``loaded`` and ``failed``.
        loads: carries out the loads; over gRPC they hold up nobody whom the server serves.
        failures: of models that are known to be of no use, and of those that do not load.
    """

    def __init__(
        self,
        control: Control,
        process: ServerProcess,
        stubs: Stubs,
        log: Log,
        *,
        timeout_s: float,
        on_event: Listener,
        loads: GrpcControl | None = None,
        failures: Mapping[str, Failure] | None = None,
    ) -> None:
        self.control = control
        self.loads = loads or control
        self.process = process
        self.stubs = stubs
        self.log = log
        self.timeout_s = timeout_s
        self.on_event = on_event
        self.failures: dict[str, Failure] = dict(failures or {})
        self.versions: dict[str, str] = {}
        self._pending: dict[str, _Load] = {}
        self._answers: queue.Queue[tuple[str, str | None]] = queue.Queue()

    def run(self, plan: Plan) -> None:
        """Load all models; what did not load is in ``failures`` afterwards.

        A model follows as soon as its own parts are there, not when all parts of all are:
        the first ensemble answers while others still load.
        """
        plan.waves()  # raises where ensembles are made of one another, which would wait for ever
        waiting = dict(plan.models)
        while (waiting or self._pending) and self.process.status is None:
            for model in self._next(waiting.values()):
                del waiting[model.name]
                if self._loadable(model):
                    bytecode.write(model)
                    self._begin(model)
            if self._pending:
                self._collect()

    def _next(self, waiting: Iterable[Model]) -> list[Model]:
        """Choose what can begin now: models none of whose parts is still to come."""
        coming = {model.name for model in waiting} | self._pending.keys()
        ready = [model for model in waiting if not model.parts & coming]
        return ready[: max(0, PARALLEL_LOADS - len(self._pending))]

    def _loadable(self, model: Model) -> bool:
        """Say whether a load can come to an end; note the failure where it cannot."""
        failure = self.failures.get(model.name)
        if failure is None and (bad := sorted(model.parts & self.failures.keys())):
            failure = Failure(model.name, None, f"its part {', '.join(bad)} did not load")
        elif failure is None and (lacking := model.lacking_code()):
            # Triton would wait for ever.
            failure = Failure(
                model.name,
                str(lacking[0]),
                f"{model.folder.version_dir(lacking[0])}: there is no {model.code_file}",
                "the version folder is empty or was copied in part",
                "modelport doctor",
            )
        if failure is not None:
            self._fail(failure, took=None)
        return failure is None

    def _begin(self, model: Model) -> None:
        self._pending[model.name] = _Load(model.name, time.monotonic())
        # Daemon threads: one that waits for a hung load ends with the server.
        threading.Thread(target=self._call, args=(model,), daemon=True).start()

    def _call(self, model: Model) -> None:
        reason: str | None = None
        try:
            # The deadline is kept by _collect, which knows more; this is the net below it.
            self.loads.load(model.name, timeout_s=self.timeout_s + 30, config=model.override)
        except Refused as refusal:
            reason = str(refusal)
        except (OSError, http.client.HTTPException) as error:
            reason = f"no answer from the server: {error or type(error).__name__}"
        self._answers.put((model.name, reason))

    def _collect(self) -> None:
        try:
            model, reason = self._answers.get(timeout=_POLL_S)
        except queue.Empty:
            self.stubs.look()
            for load in list(self._pending.values()):
                self._check(load)
            return
        if model not in self._pending:  # its deadline was over before
            return
        load = self._pending.pop(model)
        took = time.monotonic() - load.begin
        if reason is None:
            self._succeed(model, took)
        elif self.process.status is None:
            words = self.log.poll_failure(model) or reason
            self._fail(reasons.explain(model, self._version(model), words), took)

    def _check(self, load: _Load) -> None:
        """Give a load up that will not come to an end."""
        took = time.monotonic() - load.begin
        if self._stub_died(load.model):
            reason, (cause, next_step) = "its python stub died while loading", reasons.DEAD
        elif took > self.timeout_s:
            reason = f"not loaded after {self.timeout_s:g} s"
            cause, next_step = reasons.HUNG
        else:
            return
        del self._pending[load.model]
        self._fail(Failure(load.model, self._version(load.model), reason, cause, next_step), took)

    def _stub_died(self, model: str) -> bool:
        if self.stubs.dead(model, for_s=_DEAD_S):
            return True
        # Died before its model could be read: whose it was is plain if one load is left.
        return len(self._pending) == 1 and self.stubs.nameless_dead(for_s=_DEAD_S)

    def _succeed(self, model: str, took: float) -> None:
        version = self._version(model, state="READY") or "?"
        self.versions[model] = version
        text = f"{model} version {version} loaded"
        self.on_event(Event("loaded", text, model, version, took))

    def _fail(self, failure: Failure, took: float | None) -> None:
        self.failures[failure.model] = failure
        text = f"{failure.model} did not load"
        self.on_event(Event("failed", text, failure.model, failure.version, took))

    def _version(self, model: str, state: str = "") -> str | None:
        try:
            index = self.control.index()
        except (Refused, OSError, http.client.HTTPException):
            return None
        found = [s.version for s in index if s.name == model and state in s.state and s.version]
        return ", ".join(found) or None

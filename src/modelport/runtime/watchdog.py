"""Sends every model its own sample while it serves, and heals what died.

A python stub that is killed or crashes stays dead while its model still counts
as ready, so only a real request, or a look at the processes, finds it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from modelport.client import Client
from modelport.errors import (
    ClientError,
    ConnectionLostError,
    IntegrityError,
    LoadError,
    ModelportError,
    OverloadedError,
    ServerUnreachableError,
)
from modelport.repository import plans
from modelport.repository.layout import ModelFolder
from modelport.repository.samples import FILE_NAME, Case, Samples
from modelport.runtime.events import Event, Kind, Listener
from modelport.runtime.plan import Model
from modelport.runtime.server import Server
from modelport.spec.parts import Tolerance
from modelport.verify.parity import compare

log = logging.getLogger(__name__)

INTERVAL_S = 10.0
_ANSWER_S = 10.0
# A stub may be busy for once; twice in a row is no accident.
_PATIENCE = 2
_LONGEST_PAUSE_S = 600.0


@dataclass(frozen=True)
class Sample:
    """What a version is asked, and what it answers."""

    version: int
    case: Case
    tolerance: Tolerance


@dataclass
class _Health:
    """What is remembered of one model."""

    failures: int = 0
    heals: int = 0
    heal_not_before: float = 0.0
    well_since: float = 0.0
    complaint: str = ""
    complained_at: float = 0.0


class Watchdog:
    """Watches one server from a thread of its own, until it is stopped or the server ends.

    Args:
        server: whom to watch.
        on_event: hears ``sick``, ``healed``, ``unhealed`` and ``wrong``.
        interval_s: pause between two rounds.
    """

    def __init__(
        self, server: Server, *, on_event: Listener, interval_s: float = INTERVAL_S
    ) -> None:
        self._server = server
        self._on_event = on_event
        self._interval_s = interval_s
        # Models may be added while it watches.
        self._health: defaultdict[str, _Health] = defaultdict(_Health)
        self._samples: dict[str, tuple[float, Sample | None]] = {}
        self._client: Client | None = None
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, name="modelport-watchdog", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def stop(self) -> None:
        """Watch no more; call it before the server is stopped."""
        self._end.set()
        if self._thread.is_alive():
            self._thread.join(_ANSWER_S)

    def look(self) -> None:
        """Make one round: every model, parts before the ensembles over them."""
        for wave in self._server.plan.waves():
            for name in wave:
                if self._end.is_set() or self._server.status is not None:
                    return
                self._examine(self._server.plan.models[name])

    def _run(self) -> None:
        try:
            while not self._end.wait(self._interval_s) and self._server.status is None:
                self._round()
        finally:
            if self._client is not None:
                self._client.close()

    def _round(self) -> None:
        try:
            self.look()
        except Exception:  # the boundary: a fault of the watchdog must not end the watch
            log.exception("the watchdog failed; it tries again")

    def _examine(self, model: Model) -> None:
        self._server.stubs.look()
        # Asked first: a request that reaches a dead stub would be lost, and linger.
        if self._server.stubs.dead(model.name):
            self._sick(model, "its python stub died", certain=True)
            return
        sample = self._sample(model)
        if sample is not None:
            self._ask(model, sample)

    def _ask(self, model: Model, sample: Sample) -> None:
        try:
            got = self._connected().infer(
                model.name, sample.case.inputs, version=sample.version, timeout_s=_ANSWER_S
            )
        except (OverloadedError, ServerUnreachableError, ConnectionLostError) as error:
            # Busy, or ending: nothing that a reload would heal.
            log.info("%s was not examined: %s", model.name, error.what)
        except ClientError as error:
            self._server.stubs.look()
            certain = self._server.stubs.dead(model.name) or "is not healthy" in error.what
            self._sick(model, error.what, certain=certain)
        else:
            comparison = compare(got, sample.case.outputs, sample.tolerance)
            if comparison.ok:
                self._well(model)
            else:
                text = f"{model.name} version {sample.version} answers its own sample wrongly"
                self._complain("wrong", model, f"{text}: {comparison.describe()}")

    def _sick(self, model: Model, reason: str, *, certain: bool) -> None:
        health = self._health[model.name]
        health.failures += 1
        health.well_since = 0.0
        self._complain("sick", model, f"{model.name} does not answer: {reason}")
        enough = certain or health.failures >= _PATIENCE
        if enough and time.monotonic() >= health.heal_not_before:
            self._heal(model, health)

    def _heal(self, model: Model, health: _Health) -> None:
        # Each further attempt waits longer, so that a model that cannot live floods nothing.
        pause_s = min(self._interval_s * 2**health.heals, _LONGEST_PAUSE_S)
        health.heals += 1
        start = time.monotonic()
        try:
            self._server.reload(model.name)
        except (IntegrityError, LoadError, OSError) as error:
            what = error.what if isinstance(error, ModelportError) else str(error)
            self._tell("unhealed", model, f"{what}; next attempt in {pause_s:g} s at the earliest")
        else:
            health.complaint = ""
            # It may have been loaded in another version than before.
            self._samples.pop(model.name, None)
            took = time.monotonic() - start
            self._tell("healed", model, f"{model.name} was loaded anew", took)
        health.failures = 0
        health.heal_not_before = time.monotonic() + pause_s

    def _well(self, model: Model) -> None:
        health, now = self._health[model.name], time.monotonic()
        if health.complaint:
            self._tell("healed", model, f"{model.name} answers rightly again")
        health.failures, health.complaint = 0, ""
        health.well_since = health.well_since or now
        if now - health.well_since > _LONGEST_PAUSE_S:
            health.heals = 0

    def _complain(self, kind: Kind, model: Model, text: str) -> None:
        """Tell it once, and again after a long while; not every round."""
        health, now = self._health[model.name], time.monotonic()
        if health.complaint == kind and now - health.complained_at < _LONGEST_PAUSE_S:
            return
        health.complaint, health.complained_at = kind, now
        self._tell(kind, model, text)

    def _tell(self, kind: Kind, model: Model, text: str, took: float | None = None) -> None:
        log.log(logging.INFO if kind == "healed" else logging.ERROR, "%s", text)
        self._on_event(Event(kind, text, model.name, duration_s=took))

    def _connected(self) -> Client:
        if self._client is None:
            self._client = Client(self._server.endpoints.grpc, timeout_s=_ANSWER_S)
        return self._client

    def _sample(self, model: Model) -> Sample | None:
        """Give the sample of the newest loaded version; read again when config.pbtxt changed."""
        config_path = model.folder.config_path
        changed = config_path.stat().st_mtime if config_path.exists() else 0.0
        known = self._samples.get(model.name)
        if known is None or known[0] != changed:
            sample = read_sample(model.folder, self._server.loaded())
            known = self._samples[model.name] = (changed, sample)
        return known[1]


def read_sample(folder: ModelFolder, loaded: Mapping[str, Sequence[int]]) -> Sample | None:
    """Give the first sample of the newest loaded version; None for a model that has none.

    Models that answer a stream, or belong to a sequence, have no lone request.

    Args:
        folder: the model.
        loaded: versions by model; of one that is not among them, those of config.pbtxt count.
    """
    try:
        config = folder.config()
        policy = config.model_transaction_policy
        if config.sequence_batching is not None or (policy is not None and policy.decoupled):
            return None
        versions = loaded.get(folder.name) or folder.served_versions()
        path = folder.version_dir(versions[-1]) / FILE_NAME if versions else Path()
        if not path.is_file():
            return None
        tolerance = plans.tolerance(folder, versions[-1], loaded)
        case = Samples.read(path).cases[0]
    except (ModelportError, IndexError) as error:
        log.warning("%s has no usable sample: %s", folder.name, error)
        return None
    return Sample(versions[-1], case, tolerance)

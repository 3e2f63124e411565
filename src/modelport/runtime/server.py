"""A running tritonserver on a model repository."""

from __future__ import annotations

import contextlib
import http.client
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

from modelport.errors import LoadError
from modelport.repository.plans import Place
from modelport.runtime import (
    accelerator,
    admission,
    drain,
    logs,
    plan,
    proc,
    servers,
    stand_ins,
    startup,
)
from modelport.runtime import toolchain as toolchains
from modelport.runtime.control import KEY_HEADER, Refused
from modelport.runtime.events import Event, Listener, ignore
from modelport.runtime.grpc_control import GrpcControl
from modelport.runtime.loading import Loader
from modelport.runtime.plan import Plan
from modelport.runtime.reasons import Failure, explain
from modelport.runtime.servers import Endpoints, RunningServer
from modelport.runtime.startup import DRAIN_S, Order, Started
from modelport.runtime.stubs import Stubs
from modelport.runtime.toolchain import Toolchain
from modelport.spec.config import ModelConfig

__all__ = ["Endpoints", "Event", "Server", "load_error"]

_UNLOAD_S = 3.0


class Server:
    """A tritonserver that this process started; it ends with this process at the latest.

    Use :meth:`start`; as a context manager it stops at the end of the block.

    Attributes:
        endpoints: where it answers.
        control_headers: the HTTP header that opens its control API; a secret.
        plan: the models that it was started with, and those that were added since.
        versions: the versions that serve, by model, as they were loaded first.
        log_path: its log.
        stubs: its python stubs.
    """

    def __init__(self, order: Order, started: Started, listener: Listener) -> None:
        self._order = order
        self._started = started
        self._listener = listener
        self._state_file: Path | None = None
        self._load_timeout_s = 60.0
        self._trusted: tuple[Path, ...] = ()
        self._look: stand_ins.Look = accelerator.looking(order.toolchain)
        self.plan = order.plan
        self.stubs = Stubs(started.process, order.plan)
        self.endpoints = started.endpoints
        self.control_headers = {KEY_HEADER: started.key}
        self.versions: dict[str, str] = {}
        self.log_path = order.log_path

    @classmethod
    def start(
        cls,
        repository: Path | Sequence[Path],
        *,
        models: Sequence[str] | None = None,
        host: str = "127.0.0.1",
        http_port: int = 0,
        grpc_port: int = 0,
        metrics_port: int = 0,
        load_timeout_s: float = 60.0,
        on_event: Callable[[Event], None] | None = None,
        log_path: Path | None = None,
        toolchain: Toolchain | None = None,
        listed: bool = True,
        response_cache: bool | None = None,
        shared_memory: bool = False,
        trusted: Sequence[Path] = (),
        here: Place | None = None,
    ) -> Server:
        """Start tritonserver and load models; returns when every model serves.

        Args:
            repository: one or more model repositories.
            models: what to load, parts of ensembles come by themselves; None for all,
                empty for none yet: see :meth:`add`.
            host: the address to listen on; whoever reaches it may send requests.
            http_port: a port, or 0 for a free one.
            grpc_port: a port, or 0 for a free one.
            metrics_port: a port, or 0 for a free one.
            load_timeout_s: for each model, from when its load begins.
            on_event: hears of every model that is loaded.
            log_path: where the server's output goes; None for a file in the cache.
            toolchain: which tritonserver; None for the one that is found or fetched.
            listed: let other commands find it, see :func:`modelport.runtime.servers.running`.
            response_cache: None makes one if a model of the start asks for it. It cannot be
                made later, and costs memory only as it fills; models that ask for it serve
                without it too.
            shared_memory: let every client of this machine have its system shared memory mapped.
                Who may send requests can then read what this user has in ``/dev/shm``.
            trusted: public keys; nothing is loaded that none of them signed, whatever the
                repository demands. Empty for what its ``[trust]`` says.
            here: the GPU and TensorRT that plans must fit; None for those of this machine.

        Raises:
            RepositoryError: the repository or a model is missing.
            IntegrityError: signatures are demanded, and a version that would serve is unsigned
                or altered; nothing was started.
            ToolchainError: there is no tritonserver.
            PortInUseError: somebody listens on a port that was asked for.
            ServerStartError: tritonserver ended or never answered.
            LoadError: models did not load, and the server is stopped again; or one is a plan that
                does not fit this machine and has no ONNX version, and nothing was started.
        """
        listener = on_event or ignore
        paths = [repository] if isinstance(repository, (str, Path)) else repository
        repositories = tuple(Path(path).resolve() for path in paths)
        wanted = {
            "--http-port": http_port,
            "--grpc-port": grpc_port,
            "--metrics-port": metrics_port,
        }
        planned = plan.make(repositories, models)
        admission.check((model.folder for model in planned.models.values()), trusted)
        toolchain = toolchain or toolchains.ensure(listener)
        look = accelerator.looking(toolchain, here)
        chosen = stand_ins.choose(planned, look, listener)
        admission.check_stand_ins(chosen.plan.stand_ins(), trusted)
        order = Order(
            repositories=repositories,
            plan=chosen.plan,
            host=host,
            wanted_ports=wanted,
            log_path=logs.usable(log_path) if log_path else logs.new_path(),
            toolchain=toolchain,
            response_cache=response_cache,
            shared_memory=shared_memory,
        )
        if chosen.refused:
            raise load_error(list(chosen.refused.values()), order.log_path)
        server = cls(order, startup.start(order), listener)
        server._trusted, server._look = tuple(trusted), look
        try:
            server._load_all(load_timeout_s)
            if listed:
                server._record()
        except BaseException:
            server.kill()
            raise
        return server

    @property
    def pid(self) -> int:
        """Process id of tritonserver."""
        return self._started.process.pid

    @property
    def status(self) -> int | None:
        """Exit status of tritonserver; None while it runs."""
        return self._started.process.status

    def add(self, models: Sequence[str], *, on_event: Listener | None = None) -> None:
        """Load further models, with the parts of ensembles; those that serve are not disturbed.

        The models must be complete in their config.pbtxt if those of the start were: see
        :attr:`modelport.runtime.plan.Model.complete`.

        Args:
            models: names in the repository.
            on_event: hears ``loaded`` and ``failed``; by default the listener of the start.

        Raises:
            RepositoryError: a model is missing, or its config.pbtxt does not parse.
            IntegrityError: signatures are demanded, and a version is unsigned or altered.
            ServerStartError: tritonserver ended meanwhile.
            LoadError: models did not load; those that did serve all the same.
        """
        wanted = plan.make(self._order.repositories, models)
        new = Plan({n: m for n, m in wanted.models.items() if n not in self.plan.models})
        admission.check((model.folder for model in new.models.values()), self._trusted)
        chosen = self._chosen(new, self._listener)
        new = chosen.plan
        self.stubs.know(new)
        with self._grpc_control() as control:
            loader = self._loader(on_event or self._listener, control, chosen.refused)
            loader.run(new)
        self.stubs.look()
        # Only now: whoever goes through the plan meanwhile finds nothing that is half loaded.
        loaded = {name: m for name, m in new.models.items() if name in loader.versions}
        self.plan = Plan({**self.plan.models, **loaded})
        self.versions |= loader.versions
        self._raise_failures(loader)

    def load(self, name: str, *, timeout_s: float | None = None) -> None:
        """Load a model, or load it anew after its files changed.

        Raises:
            IntegrityError: signatures are demanded, and a version is unsigned or altered.
            LoadError: it did not load.
        """
        timeout_s = timeout_s or self._load_timeout_s
        try:
            config = self._admitted(name)
            with self._grpc_control() as control:
                control.load(name, timeout_s=timeout_s, config=config)
        except Refused as refusal:
            words = self._started.log.poll_failure(name) or str(refusal)
            raise load_error([explain(name, None, words)], self.log_path) from refusal

    def loaded(self) -> dict[str, list[int]]:
        """Ask the server which versions of its models are ready, ascending.

        It may be another one than config.pbtxt says: see :mod:`modelport.runtime.stand_ins`.
        Empty where the server does not answer.
        """
        found: dict[str, list[int]] = {}
        with contextlib.suppress(Refused, OSError, http.client.HTTPException):
            for state in self._started.control.index():
                if state.state == "READY":
                    found.setdefault(state.name, []).append(int(state.version))
        return {name: sorted(versions) for name, versions in found.items()}

    def unload(self, name: str, *, timeout_s: float = 30.0) -> None:
        """Unload a model and wait until its last request is answered; raises LoadError."""
        try:
            with self._grpc_control() as control:
                control.unload(name, timeout_s=timeout_s)
            self._wait_unloaded(name, timeout_s)
        except Refused as refusal:
            failure = Failure(name, None, f"cannot be unloaded: {refusal}")
            raise load_error([failure], self.log_path) from refusal

    def reload(self, name: str) -> None:
        """Unload a model and load it anew, with the ensembles over it; raises LoadError.

        This heals a model whose stub died, which :meth:`load` alone does not.
        """
        users = self.plan.users(name)
        with self._grpc_control() as control:
            for model in [*reversed(users), name]:
                with contextlib.suppress(Refused):
                    control.unload(model, timeout_s=_UNLOAD_S)
        # A stub that died with a request in its hands never finishes to unload; the
        # load works all the same.
        with contextlib.suppress(Refused):
            self._wait_unloaded(name, _UNLOAD_S)
        self.stubs.look()
        self.stubs.forget_dead(name)
        for model in [name, *users]:
            self.load(model)
        self.stubs.look()

    def stop(self, *, drain_s: float = DRAIN_S) -> None:
        """Answer the requests in flight, then end; does nothing when it ended before."""
        if self.status is None:
            self._listener(Event("stopping", "waiting for requests in flight"))
            start = time.monotonic()
            started = self._started
            drain.stop(started.process, started.control, self.stubs, self.plan, drain_s=drain_s)
            took = time.monotonic() - start
            self._listener(Event("stopped", "tritonserver ended", duration_s=took))
        self._forget()

    def kill(self) -> None:
        """End it at once; requests in flight are lost."""
        self._started.process.kill()
        self._started.process.wait()
        self._forget()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until it ends; False when the time is over before."""
        return self._started.process.wait(timeout_s)

    def __enter__(self) -> Server:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _load_all(self, timeout_s: float) -> None:
        self._load_timeout_s = timeout_s
        loader = self._loader(self._listener)
        loader.run(self.plan)
        self.stubs.look()
        self._raise_failures(loader)
        self.versions = dict(sorted(loader.versions.items()))
        self._listener(Event("ready", f"{len(self.versions)} models serve"))

    def _chosen(self, new: Plan, listener: Listener = ignore) -> stand_ins.Chosen:
        """Choose between plans and ONNX versions of models, and admit what was chosen."""
        chosen = stand_ins.choose(new, self._look, listener, known=self.plan.models.values())
        admission.check_stand_ins(chosen.plan.stand_ins(), self._trusted)
        return chosen

    def _admitted(self, name: str) -> ModelConfig | None:
        """Say what a model is to be loaded with in place of its config.pbtxt, read anew.

        Raises:
            IntegrityError: signatures are demanded, and a version is unsigned or altered.
            LoadError: it is a plan that does not fit this machine.
        """
        # One that is nowhere is Triton's to refuse.
        if not any((path / name).is_dir() for path in self._order.repositories):
            return None
        model = plan.make(self._order.repositories, [name]).models[name]
        admission.check([model.folder], self._trusted)
        chosen = self._chosen(Plan({name: model}))
        if chosen.refused:
            raise load_error(list(chosen.refused.values()), self.log_path)
        return chosen.plan.models[name].override

    def _loader(
        self,
        listener: Listener,
        loads: GrpcControl | None = None,
        failures: Mapping[str, Failure] | None = None,
    ) -> Loader:
        started = self._started
        return Loader(
            started.control,
            started.process,
            self.stubs,
            started.log,
            timeout_s=self._load_timeout_s,
            on_event=listener,
            loads=loads,
            failures=failures,
        )

    def _raise_failures(self, loader: Loader) -> None:
        if self.status is not None:
            raise startup.ended(self.status, self._started.log, "while it loaded models")
        if loader.failures:
            raise load_error(list(loader.failures.values()), self.log_path)

    def _record(self) -> None:
        found = proc.process(self.pid)
        self._state_file = servers.record(
            RunningServer(
                pid=self.pid,
                start=found.start if found else 0,
                launcher=os.getpid(),
                repositories=tuple(map(str, self._order.repositories)),
                endpoints=self.endpoints,
                control_key=self._started.key,
                log=str(self.log_path),
            )
        )

    def _forget(self) -> None:
        if self._state_file is not None:
            self._state_file.unlink(missing_ok=True)

    def _grpc_control(self) -> GrpcControl:
        return GrpcControl(self.endpoints.grpc.removeprefix("grpc://"), self._started.key)

    def _wait_unloaded(self, name: str, timeout_s: float) -> None:
        deadline = time.monotonic() + timeout_s
        while any(
            s.name == name and s.state in {"READY", "UNLOADING"}
            for s in self._started.control.index()
        ):
            if time.monotonic() > deadline:
                raise Refused(f"requests are still in flight after {timeout_s:g} s")
            time.sleep(0.05)


def load_error(failures: list[Failure], log_path: Path) -> LoadError:
    """Gather what did not load into one error; causes before consequences."""
    first = failures[0]
    if len(failures) == 1:
        version = f" version {first.version}" if first.version else ""
        return LoadError(
            f"{first.model}{version} did not load: {first.reason}",
            cause=first.cause,
            next_step=first.next_step or f"look at the log: {log_path}",
            failures={first.model: first},
            log=log_path,
        )
    text = "\n".join(f"  {line}" for failure in failures for line in str(failure).splitlines())
    return LoadError(
        f"{len(failures)} models did not load\n{text}",
        next_step=f"mend the first one; the log: {log_path}",
        failures={failure.model: failure for failure in failures},
        log=log_path,
    )

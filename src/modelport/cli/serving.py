"""One served repository, from its examination to its drained end; what `serve` and `up` share."""

from __future__ import annotations

import ipaddress
import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from modelport.cli.output import Output
from modelport.errors import RepositoryError, UnhealthyRepositoryError

if TYPE_CHECKING:
    from modelport.runtime.events import Event
    from modelport.runtime.server import Server
    from modelport.runtime.watchdog import Watchdog

_KILLED = 130


@dataclass(frozen=True)
class Service:
    """What is served, and where; port 0 takes a free one.

    Attributes:
        trusted: public keys that demand signatures, beside what the repository demands.
    """

    repository: Path
    names: Sequence[str] | None = None
    host: str = "127.0.0.1"
    http_port: int = 8000
    grpc_port: int = 8001
    metrics_port: int = 8002
    load_timeout_s: float = 60.0
    log_file: Path | None = None
    doctor: bool = True
    watchdog: bool = True
    shared_memory: bool = False
    trusted: Sequence[Path] = ()


def serve(out: Output, service: Service, ready: Callable[[Server], bool]) -> None:
    """Examine the repository, start tritonserver, and keep it until a signal comes.

    Args:
        out: where progress goes.
        service: what to serve.
        ready: called once every model serves; says whether to go on serving.

    Raises:
        UnhealthyRepositoryError: `doctor` found errors; nothing was started.
        RuntimeFault: tritonserver did not start, or ended by itself.
    """
    from modelport.repository import publish
    from modelport.runtime.watchdog import Watchdog

    # Half a publication, left by a crash, would look like a broken version.
    publish.finish(service.repository)
    service = replace(service, names=_built(out, service))
    if service.doctor:
        examine(out, service.repository, service.names)
    warn_if_open(out, service.host)
    signals = Signals()
    server = start(out, service)
    signals.listen()
    watchdog = Watchdog(server, on_event=lambda event: show_event(out, event))
    try:
        if not ready(server):
            return
        if service.watchdog:
            watchdog.start()
        signals.wait(server)
    finally:
        end(out, server, watchdog, signals)


def _built(out: Output, service: Service) -> list[str]:
    """Choose what is served: the models named, or all that are built.

    Raises:
        RepositoryError: a model that was named, or every model, waits for its build.
    """
    from modelport.repository import edits
    from modelport.repository.layout import Repository

    repository = Repository(service.repository)
    folders = repository.models()
    if service.names is not None:
        folders = [repository.model(name) for name in service.names]
    waiting = [folder.name for folder in folders if edits.not_built(folder)]
    built = [folder.name for folder in folders if folder.name not in waiting]
    if waiting and (service.names is not None or not built):
        raise RepositoryError(
            f"{service.repository}: {', '.join(waiting)}: not built yet, so there is no version"
            " to serve",
            next_step="modelport build " + (" ".join(waiting) if service.names else "all"),
            path=service.repository,
            models=waiting,
        )
    if waiting:
        out.note(f"not built yet, so not served: {', '.join(waiting)}")
    return built


class Signals:
    """Ctrl-C and SIGTERM: an interrupt while the server starts, a wish afterwards.

    The handlers only count: they may run while a lock is held.
    """

    def __init__(self) -> None:
        self.count = 0
        signal.signal(signal.SIGTERM, self._interrupt)

    def listen(self) -> None:
        """Count signals from now on."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._note)

    def wait(self, server: Server) -> None:
        """Wait for a signal or for the server's end; an end of its own accord is an error."""
        while not self.count:
            watch(server, 0.2)

    def wait_for(self, ending: Callable[[], None], at_once: Callable[[], None]) -> bool:
        """Carry out an ending; a second signal meanwhile calls ``at_once`` and gives True."""
        # In a thread, so that this one hears the signal.
        thread = threading.Thread(target=ending)
        thread.start()
        hurried = False
        while thread.is_alive():
            thread.join(0.1)
            if self.count > 1 and not hurried:
                hurried = True
                at_once()
        return hurried

    def _note(self, *_: object) -> None:
        self.count += 1

    def _interrupt(self, *_: object) -> None:
        raise KeyboardInterrupt


def examine(out: Output, repository: Path, names: Sequence[str] | None) -> None:
    """Refuse a repository with errors; show its warnings.

    Raises:
        UnhealthyRepositoryError: `doctor` found errors.
    """
    from modelport.repository import doctor

    findings = doctor.check(repository, names=names)
    errors = [finding for finding in findings if finding.severity == "error"]
    for finding in findings:
        if finding.severity != "error":
            out.note(f"warning: {finding.brief}")
    if not errors:
        return
    listing = "\n".join(f"  {finding.brief}" for finding in errors)
    raise UnhealthyRepositoryError(
        f"{repository}: {len(errors)} errors, so nothing is served\n{listing}",
        next_step=f"modelport doctor --repository {repository} shows how to mend them",
        path=repository,
        findings=errors,
    )


def admit(repository: Path, names: Sequence[str]) -> None:
    """Refuse models that nobody signed, where the repository demands it.

    Raises:
        IntegrityError: a version that would serve is unsigned or altered.
    """
    from modelport.repository.layout import Repository
    from modelport.runtime import admission

    admission.check([Repository(repository).model(name) for name in names])


def warn_if_open(out: Output, host: str) -> None:
    """Warn where other machines reach the server."""
    try:
        closed = ipaddress.ip_address(host).is_loopback
    except ValueError:
        closed = host == "localhost"
    if not closed:
        out.note(
            f"warning: --host {host} lets every machine that reaches it send requests and read "
            "metadata and metrics, without TLS; the control API stays closed by a key"
        )


def start(out: Output, service: Service, *, growing: bool = False) -> Server:
    """Start tritonserver on a service's models; a growing one can take any model later."""
    from modelport.runtime.server import Server

    return Server.start(
        service.repository,
        models=service.names,
        host=service.host,
        http_port=service.http_port,
        grpc_port=service.grpc_port,
        metrics_port=service.metrics_port,
        load_timeout_s=service.load_timeout_s,
        log_path=service.log_file,
        on_event=lambda event: show_event(out, event),
        response_cache=True if growing else None,
        shared_memory=service.shared_memory,
        trusted=service.trusted,
    )


def show_event(out: Output, event: Event) -> None:
    """Show what the runtime tells."""
    if event.kind in {"loaded", "failed"}:
        outcome = f"version {event.version} {event.kind}" if event.version else event.kind
        out.step(event.model or "", outcome, event.duration_s)
    elif event.kind in {"sick", "wrong", "unhealed"}:
        out.note(f"warning: {event.text}")
    elif event.kind != "ready":
        out.note(event.text)


def watch(server: Server, timeout_s: float) -> None:
    """Wait a while; raises :class:`ServerStartError` if the server ends by itself."""
    from modelport.runtime import startup
    from modelport.runtime.logs import Log

    if server.wait(timeout_s):
        assert server.status is not None
        raise startup.ended(server.status, Log.whole(server.log_path), "while it served")


def end(out: Output, server: Server, watchdog: Watchdog | None, signals: Signals) -> None:
    """Drain; a further signal meanwhile ends it at once."""
    if watchdog is not None:
        watchdog.stop()

    def kill() -> None:
        out.note("ending at once")
        server.kill()

    if signals.wait_for(server.stop, kill):
        raise SystemExit(_KILLED)

"""``modelport serve``: a model repository on a real tritonserver, until Ctrl-C."""

from __future__ import annotations

import ipaddress
import signal
import threading
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from modelport.cli.output import Output, pass_output
from modelport.errors import UnhealthyRepositoryError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from modelport.repository.doctor import Finding
    from modelport.runtime.events import Event
    from modelport.runtime.server import Server

_KILLED = 130


@click.command("serve")
@click.option(
    "--repository",
    type=click.Path(path_type=Path),
    default=Path("model_repository"),
    show_default=True,
    help="Folder of model folders.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--http-port", default=8000, show_default=True, help="0 for a free one.")
@click.option("--grpc-port", default=8001, show_default=True, help="0 for a free one.")
@click.option("--metrics-port", default=8002, show_default=True, help="0 for a free one.")
@click.option("--models", metavar="A,B", help="Load only these, and the parts of ensembles.")
@click.option(
    "--load-timeout", default=60.0, show_default=True, help="Seconds that one model may take."
)
@click.option(
    "--log-file",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Of tritonserver; default: in the cache.",
)
@click.option("--no-watchdog", is_flag=True, help="Do not send models their own samples.")
@click.option("--skip-doctor", is_flag=True, help="Serve a repository with known errors.")
@click.option("--json", "as_json", is_flag=True, help="Print the endpoints as a line of JSON.")
@pass_output
def command(out: Output, /, **options: Any) -> None:
    """Serve a model repository until Ctrl-C or SIGTERM.

    Both let requests in flight end; a second one ends the server at once.
    """
    from modelport.runtime.watchdog import Watchdog

    names = [n for n in (options["models"] or "").split(",") if n] or None
    if not options["skip_doctor"]:
        _examine(out, options["repository"], names)
    _warn_if_open(out, options["host"])
    signals = _Signals()
    server = _start(out, options, names)
    signals.listen()
    watchdog = Watchdog(server, on_event=lambda event: _show_event(out, event))
    try:
        _announce(out, server, options)
        if not options["no_watchdog"]:
            watchdog.start()
        signals.wait(server)
    finally:
        _end(out, server, watchdog, signals)


class _Signals:
    """Ctrl-C and SIGTERM: an interrupt while the server starts, a wish afterwards.

    The handlers only count: they may run while a lock is held.
    """

    def __init__(self) -> None:
        self.count = 0
        signal.signal(signal.SIGTERM, self._interrupt)

    def listen(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._note)

    def wait(self, server: Server) -> None:
        """Wait for a signal or for the server's end; an end of its own accord is an error."""
        from modelport.runtime import startup
        from modelport.runtime.logs import Log

        while not self.count:
            if server.wait(0.2):
                assert server.status is not None
                raise startup.ended(server.status, Log.whole(server.log_path), "while it served")

    def _note(self, *_: object) -> None:
        self.count += 1

    def _interrupt(self, *_: object) -> None:
        raise KeyboardInterrupt


def _examine(out: Output, repository: Path, names: Sequence[str] | None) -> None:
    """Refuse a repository with errors; show its warnings."""
    from modelport.repository import doctor

    findings = doctor.check(repository, names=names)
    errors = [finding for finding in findings if finding.severity == "error"]
    for finding in findings:
        if finding.severity != "error":
            out.note(f"warning: {_describe(finding)}")
    if not errors:
        return
    listing = "\n".join(f"  {_describe(finding)}" for finding in errors)
    raise UnhealthyRepositoryError(
        f"{repository}: {len(errors)} errors, so nothing is served\n{listing}",
        next_step=f"modelport doctor --repository {repository} shows how to mend them",
        path=repository,
        findings=errors,
    )


def _describe(finding: Finding) -> str:
    field = f" {finding.field}:" if finding.field else ""
    return f"{finding.where}:{field} expected {finding.expected}, got {finding.got}"


def _warn_if_open(out: Output, host: str) -> None:
    try:
        closed = ipaddress.ip_address(host).is_loopback
    except ValueError:
        closed = host == "localhost"
    if not closed:
        out.note(
            f"warning: --host {host} lets every machine that reaches it send requests and read "
            "metadata and metrics, without TLS; the control API stays closed by a key"
        )


def _start(out: Output, options: dict[str, Any], names: Sequence[str] | None) -> Server:
    from modelport.runtime.server import Server

    return Server.start(
        options["repository"],
        models=names,
        host=options["host"],
        http_port=options["http_port"],
        grpc_port=options["grpc_port"],
        metrics_port=options["metrics_port"],
        load_timeout_s=options["load_timeout"],
        log_path=options["log_file"],
        on_event=lambda event: _show_event(out, event),
    )


def _show_event(out: Output, event: Event) -> None:
    if event.kind in {"loaded", "failed"}:
        outcome = f"version {event.version} {event.kind}" if event.version else event.kind
        out.step(event.model or "", outcome, event.duration_s)
    elif event.kind in {"sick", "wrong", "unhealed"}:
        out.note(f"warning: {event.text}")
    elif event.kind != "ready":
        out.note(event.text)


def _announce(out: Output, server: Server, options: dict[str, Any]) -> None:
    """Say where it answers, to people or to the program that started us."""
    if options["as_json"]:
        out.json(
            {
                **asdict(server.endpoints),
                "pid": server.pid,
                "repository": str(Path(options["repository"]).resolve()),
                "models": server.versions,
                "log": str(server.log_path),
            }
        )
        return
    rows = [[name, version] for name, version in server.versions.items()]
    out.table("", ["model", "version"], rows)
    out.table("", ["endpoint", "URL"], [[k, v] for k, v in asdict(server.endpoints).items()])
    out.text(f"log: {server.log_path}")
    out.text("Ctrl-C to stop.")


def _end(out: Output, server: Server, watchdog: Any, signals: _Signals) -> None:
    """Drain; a further signal meanwhile ends it at once."""
    watchdog.stop()
    # In a thread, so that this one hears the signal.
    stopping = threading.Thread(target=server.stop)
    stopping.start()
    while stopping.is_alive():
        stopping.join(0.1)
        if signals.count > 1:
            out.note("ending at once")
            server.kill()
            stopping.join()
            raise SystemExit(_KILLED)

"""``modelport serve``: a model repository on a real tritonserver, until Ctrl-C."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from modelport.cli import options, serving, transfers
from modelport.cli.output import Output, pass_output

if TYPE_CHECKING:
    from modelport.runtime.server import Server


@click.command("serve")
@options.REPOSITORY_OR_STORE
@options.HOST
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
@click.option(
    "--shared-memory",
    is_flag=True,
    help="Let clients on this machine pass large tensors through shared memory.",
)
@click.option("--no-watchdog", is_flag=True, help="Do not send models their own samples.")
@options.PUBLIC_KEYS
@click.option("--skip-doctor", is_flag=True, help="Serve a repository with known errors.")
@options.AS_JSON
@pass_output
def command(out: Output, /, **given: Any) -> None:
    """Serve a model repository until Ctrl-C or SIGTERM.

    Both let requests in flight end; a second one ends the server at once.
    From s3://… what serves there is first fetched into the cache, and verified.
    """
    given["repository"] = transfers.local(out, given["repository"])
    service = serving.Service(
        repository=given["repository"],
        names=[n for n in (given["models"] or "").split(",") if n] or None,
        host=given["host"],
        http_port=given["http_port"],
        grpc_port=given["grpc_port"],
        metrics_port=given["metrics_port"],
        load_timeout_s=given["load_timeout"],
        log_file=given["log_file"],
        doctor=not given["skip_doctor"],
        watchdog=not given["no_watchdog"],
        shared_memory=given["shared_memory"],
        trusted=given["trusted"],
    )

    def ready(server: Server) -> bool:
        _announce(out, server, given)
        return True

    serving.serve(out, service, ready)


def _announce(out: Output, server: Server, given: dict[str, Any]) -> None:
    """Say where it answers, to people or to the program that started us."""
    if given["as_json"]:
        out.json(
            {
                **asdict(server.endpoints),
                "pid": server.pid,
                "repository": str(Path(given["repository"]).resolve()),
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

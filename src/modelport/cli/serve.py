"""``modelport serve``: a model repository on a real tritonserver, until Ctrl-C."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from modelport.cli import serving
from modelport.cli.output import Output, pass_output

if TYPE_CHECKING:
    from modelport.runtime.server import Server


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
    service = serving.Service(
        repository=options["repository"],
        names=[n for n in (options["models"] or "").split(",") if n] or None,
        host=options["host"],
        http_port=options["http_port"],
        grpc_port=options["grpc_port"],
        metrics_port=options["metrics_port"],
        load_timeout_s=options["load_timeout"],
        log_file=options["log_file"],
        doctor=not options["skip_doctor"],
        watchdog=not options["no_watchdog"],
    )

    def ready(server: Server) -> bool:
        _announce(out, server, options)
        return True

    serving.serve(out, service, ready)


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

"""The ``modelport`` command: one file per subcommand, imported when it is called.

Only this package talks to people: commands raise errors of
:mod:`modelport.errors`, and :func:`main` is the single place that shows one
and ends the process with its exit code.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, NoReturn

import click

from modelport import __version__
from modelport.cli.output import Output
from modelport.errors import MissingExtraError, ModelportError

# name -> (module, help line, extra that brings what the module imports)
COMMANDS: dict[str, tuple[str, str, str]] = {
    "up": ("modelport.cli.up", "Build the zoo, serve it, and show real answers.", "build"),
    "build": ("modelport.cli.build", "Train, export, prove and publish models.", "build"),
    "import": ("modelport.cli.import_onnx", "Publish an ONNX file as a model.", "build"),
    "publish": ("modelport.cli.publish", "Prove and publish Triton model folders.", "build"),
    "plan": ("modelport.cli.plan", "Compile TensorRT plans for this machine's GPU.", "serve"),
    "models": ("modelport.cli.models", "List models, versions and what was proven.", "serve"),
    "pareto": ("modelport.cli.pareto", "Draw what a model's variants lose and cost.", "build"),
    "card": ("modelport.cli.card", "Show what is known of a model, and how well.", "serve"),
    "serve": ("modelport.cli.serve", "Serve a model repository with tritonserver.", "serve"),
    "infer": ("modelport.cli.infer", "Send one request to a running server.", ""),
    "codegen": ("modelport.cli.codegen", "Generate typed clients of a repository.", "serve"),
    "schema": ("modelport.cli.schema", "Show interfaces, and what a change breaks.", "serve"),
    "versions": ("modelport.cli.versions", "List a model's versions and which serve.", "serve"),
    "promote": ("modelport.cli.promote", "Have a version serve, if it may.", "serve"),
    "rollback": ("modelport.cli.rollback", "Have what served before serve again.", "serve"),
    "history": ("modelport.cli.history", "Show who had which version serve.", "serve"),
    "diff": ("modelport.cli.diff", "Show what distinguishes two versions.", "serve"),
    "gc": ("modelport.cli.gc", "Remove versions that nothing needs.", "serve"),
    "keys": ("modelport.cli.keys", "Make key pairs to sign versions with.", "sign"),
    "sign": ("modelport.cli.sign", "Sign versions, offline, with a private key.", "sign"),
    "verify": ("modelport.cli.verify", "Check versions: digests and signatures.", "serve"),
    "sbom": ("modelport.cli.sbom", "Write what a version is made of, as CycloneDX.", "serve"),
    "rebuild": ("modelport.cli.rebuild", "Build a version again and compare.", "build"),
    "doctor": ("modelport.cli.doctor", "Check a model repository without a server.", "serve"),
    "perf": ("modelport.cli.perf", "Put models under load and judge what they do.", "perf"),
    "push": ("modelport.cli.push", "Send proven versions to a folder or S3.", "serve"),
    "pull": ("modelport.cli.pull", "Fetch versions from a folder or S3, verified.", "serve"),
    "sync": ("modelport.cli.sync", "Keep a repository equal to a folder or S3.", "serve"),
    "tune": ("modelport.cli.tune", "Find the cheapest settings that meet an SLO.", "perf"),
    "capacity": ("modelport.cli.capacity", "Say how many servers a rate takes.", "perf"),
    "toolchain": (
        "modelport.cli.toolchain",
        "Show or fetch tritonserver and perf_analyzer.",
        "serve",
    ),
}


@contextmanager
def _naming_extras(name: str) -> Iterator[None]:
    """Turn the absence of a package into the extra that brings it to the command ``name``."""
    try:
        yield
    except ModuleNotFoundError as error:
        extra = COMMANDS[name][2] if name in COMMANDS else ""
        if not extra or (error.name or "").startswith("modelport"):
            raise
        raise MissingExtraError(
            f"`modelport {name}` needs the package {error.name!r}, which is not installed",
            cause=f"the base install is the client; this command needs the [{extra}] extra",
            next_step=f"pip install 'modelport[{extra}]'",
            package=error.name,
        ) from error


class LazyGroup(click.Group):
    """A group whose commands are imported when called, so that ``--help`` stays light."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        """Name the commands in the order of the table."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import one command, or say which extra it needs."""
        if cmd_name not in COMMANDS:
            return None
        with _naming_extras(cmd_name):
            command: click.Command = import_module(COMMANDS[cmd_name][0]).command
        return command

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command, which imports most of what it needs only then."""
        # ctx learns the name meanwhile; get_command has its own guard until then.
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError:
            with _naming_extras(ctx.invoked_subcommand or ""):
                raise

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002
        """List the commands without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, help_line) for name, (_, help_line, _) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="modelport")
@click.option("-v", "--verbose", is_flag=True, help="Show the log, and tracebacks of errors.")
@click.pass_context
def command(ctx: click.Context, verbose: bool) -> None:
    """Serve PyTorch models from a verified, versioned Triton model repository."""
    ctx.obj = Output(verbose=verbose)
    _log(verbose)


def _log(verbose: bool) -> None:
    """Keep the library's log off the terminal, whose words are the commands' own, unless asked."""
    handler = logging.StreamHandler() if verbose else logging.NullHandler()
    logger = logging.getLogger("modelport")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)


def _of_the_system(error: OSError) -> ModelportError:
    """Explain what the system refused where no command expects it, such as a full disk's folder."""
    from modelport.repository.publish import likely_cause

    place = f"{error.filename}: " if error.filename else ""
    explained = ModelportError(
        f"{place}{error.strerror or error}",
        cause=likely_cause(error),
        next_step="mend that and run the same command again; with modelport -v it shows where",
    )
    explained.__cause__ = error
    return explained


def main() -> NoReturn:
    """Run the command line; every error ends here, shown once, with its exit code."""
    out = Output(verbose=bool({"-v", "--verbose"} & set(sys.argv[1:])))
    try:
        command.main(standalone_mode=False, prog_name="modelport")
    except ModelportError as error:
        out.error(error)
        sys.exit(error.exit_code)
    except click.exceptions.Exit as done:
        sys.exit(done.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        out.note("interrupted")
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:
        out.error(_of_the_system(error))
        sys.exit(ModelportError.exit_code)
    sys.exit(0)

"""The options that tritonserver is started with, as far as somebody shows them to the doctor.

They are read from a command line or from any text that holds one: a compose
file, a Kubernetes manifest, a Dockerfile, a systemd unit, a script.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from modelport.errors import RepositoryError

# `tritonserver --help` of 2.51.0.
_NAMES = """
    allow-cpu-metrics allow-gpu-metrics allow-grpc allow-http allow-metrics allow-sagemaker
    allow-vertex-ai backend-config backend-directory buffer-manager-thread-count cache-config
    cache-directory cuda-memory-pool-byte-size cuda-virtual-address-size
    disable-auto-complete-config enable-peer-access exit-on-error exit-timeout-secs grpc-address
    grpc-header-forward-pattern grpc-http2-max-ping-strikes grpc-http2-max-pings-without-data
    grpc-http2-min-recv-ping-interval-without-data grpc-infer-allocation-pool-size
    grpc-infer-response-compression-level grpc-keepalive-permit-without-calls grpc-keepalive-time
    grpc-keepalive-timeout grpc-max-connection-age grpc-max-connection-age-grace grpc-port
    grpc-restricted-protocol grpc-root-cert grpc-server-cert grpc-server-key grpc-use-ssl
    grpc-use-ssl-mutual help host-policy http-address http-header-forward-pattern http-port
    http-restricted-api http-thread-count id load-model log-error log-file log-format log-info
    log-verbose log-warning metrics-address metrics-config metrics-interval-ms metrics-port
    min-supported-compute-capability model-config-name model-control-mode model-load-gpu-limit
    model-load-retry-count model-load-thread-count model-namespacing model-repository model-store
    pinned-memory-pool-byte-size rate-limit rate-limit-resource repoagent-directory
    repository-poll-secs response-cache-byte-size reuse-grpc-port reuse-http-port sagemaker-port
    sagemaker-safe-port-range sagemaker-thread-count strict-model-config strict-readiness
    trace-config trace-count trace-file trace-level trace-log-frequency trace-rate
    vertex-ai-default-model vertex-ai-port vertex-ai-thread-count
    """
NAMES = frozenset(_NAMES.split())
# Take no value.
_FLAGS = {"disable-auto-complete-config", "help"}
COMMAND_LINE = Path("--server-options")
_OPTION = re.compile(r"(?<![\w-])--([A-Za-z][\w-]*)(=?)")
_SEPARATOR = re.compile(r"""(?:[ \t"',\\]|\n[ \t]*-?(?=[ \t]))*""")
_VALUE = re.compile(r"""[^\s"']+""")
# The last program of that name: an image may be called so too.
_PROGRAM = re.compile(r"(?<![\w-])tritonserver(?![\w:.-]|/)")


@dataclass(frozen=True)
class Option:
    """One option; a flag has an empty value."""

    name: str
    value: str
    line: int


@dataclass(frozen=True)
class ServerOptions:
    """All options of one command line."""

    path: Path
    """The file that they were read from, or :data:`COMMAND_LINE`."""
    options: tuple[Option, ...]

    def last(self, name: str) -> Option | None:
        """Give the option that counts where it is repeated."""
        return next((option for option in reversed(self.options) if option.name == name), None)

    def value(self, name: str, default: str) -> str:
        """Give the value that counts, or the server's own default."""
        option = self.last(name)
        return option.value if option else default

    def is_on(self, name: str, *, default: bool) -> bool:
        """Give a boolean as tritonserver reads it."""
        option = self.last(name)
        return default if option is None else option.value.lower() in ("", "true", "1", "on")

    @property
    def control_mode(self) -> str:
        """How models are loaded: none, poll or explicit."""
        return self.value("model-control-mode", "none")


def read(given: str) -> ServerOptions:
    """Read options from a command line, or from the file that ``@FILE`` names.

    Raises:
        RepositoryError: the file cannot be read.
    """
    if not given.startswith("@"):
        return ServerOptions(COMMAND_LINE, parse(given))
    path = Path(given[1:])
    try:
        return ServerOptions(path, parse(path.read_text(encoding="utf-8")))
    except (OSError, ValueError) as error:
        raise RepositoryError(
            f"{path}: {getattr(error, 'strerror', None) or error}",
            next_step="name a text file that holds the command line of tritonserver",
            path=path,
        ) from error


def parse(text: str) -> tuple[Option, ...]:
    """Find the options in a text; those that stand before the program's name are not its own."""
    text = re.sub(r"(?m)(^|\s)#[^\n]*", r"\1", text)
    programs = list(_PROGRAM.finditer(text))
    start = programs[-1].end() if programs else 0
    return tuple(
        Option(match[1], _value(text, match), text.count("\n", 0, match.start()) + 1)
        for match in _OPTION.finditer(text, start)
    )


def _value(text: str, match: re.Match[str]) -> str:
    """Give what follows an option: after `=`, or as the next word of a line or a list."""
    if match[1] in _FLAGS:
        return ""
    if match[2]:
        quote = text[match.end() : match.end() + 1]
        if quote in ("'", '"') and (end := text.find(quote, match.end() + 1)) > 0:
            return text[match.end() + 1 : end]
        found = _VALUE.match(text, match.end())
        return found[0].rstrip("],") if found else ""
    separator = _SEPARATOR.match(text, match.end())
    found = _VALUE.match(text, separator.end() if separator else match.end())
    value = found[0].rstrip("],") if found else ""
    return "" if value.startswith(("-", "&", "|", ";")) else value

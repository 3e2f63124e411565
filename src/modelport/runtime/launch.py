"""The command line that tritonserver is started with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from modelport.runtime.control import KEY_HEADER, RESTRICTED
from modelport.runtime.toolchain import Toolchain

# What the response cache may hold; it is made only when a model asks for one.
_CACHE_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class Options:
    """Settings of one start.

    Attributes:
        complete_configs: auto-completion is off; it costs every model a second stub.
        drain_s: how long the server may wait for requests in flight at its end.
        shared_memory: clients may let the server map their system shared memory.
    """

    repositories: Sequence[Path]
    host: str
    http_port: int
    grpc_port: int
    metrics_port: int
    key: str
    shm_prefix: str
    complete_configs: bool
    response_cache: bool
    drain_s: int
    shared_memory: bool = False


def command(toolchain: Toolchain, options: Options) -> list[str]:
    """Give program and arguments; the key of the control API is among them."""
    closed = [api for api in RESTRICTED if api != "shared-memory" or not options.shared_memory]
    restricted = f"{','.join(closed)}:{KEY_HEADER}={options.key}"
    arguments = [
        str(toolchain.binary),
        *(f"--model-repository={path}" for path in options.repositories),
        f"--backend-directory={toolchain.backends}",
        f"--cache-directory={toolchain.caches}",
        "--model-control-mode=explicit",
        f"--http-address={options.host}",
        f"--http-port={options.http_port}",
        f"--grpc-address={options.host}",
        f"--grpc-port={options.grpc_port}",
        f"--metrics-address={options.host}",
        f"--metrics-port={options.metrics_port}",
        f"--http-restricted-api={restricted}",
        f"--grpc-restricted-protocol={restricted}",
        f"--backend-config=python,shm-region-prefix-name={options.shm_prefix}",
        f"--exit-timeout-secs={options.drain_s}",
        # Plans that run on later versions of TensorRT too bring code, as Python models do.
        "--backend-config=tensorrt,version-compatible=true",
    ]
    if options.complete_configs:
        arguments.append("--disable-auto-complete-config")
    if options.response_cache:
        arguments.append(f"--cache-config=local,size={_CACHE_BYTES}")
    return arguments

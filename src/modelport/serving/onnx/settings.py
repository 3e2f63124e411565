"""The parameters that NVIDIA's onnxruntime backend documents, parsed.

Names, values and defaults follow
https://github.com/triton-inference-server/onnxruntime_backend#model-config-options.
Two defaults differ on purpose: see `default_thread_count` and `_quiet`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from modelport.errors import ConfigError

_log = logging.getLogger(__name__)

DEFAULT_MAX_BATCH_SIZE = 4
_INTRA = "intra_op_thread_count"
_SHRINKAGE = "memory.enable_memory_arena_shrinkage"
_SESSION_PREFIX = "session."
_SPINNING = "session.intra_op.allow_spinning"
# Accelerators of NVIDIA's build that change speed, not answers.
_FASTER_ELSEWHERE = frozenset({"openvino"})


@dataclass(frozen=True)
class Settings:
    """How to open and run a session; a thread count of 0 leaves the choice to ONNX Runtime."""

    intra_op_threads: int = 0
    inter_op_threads: int = 0
    parallel: bool = False
    graph_level: int = 0
    memory_arena: bool | None = None
    memory_pattern: bool | None = None
    session_entries: Mapping[str, str] = field(default_factory=dict)
    run_entries: Mapping[str, str] = field(default_factory=dict)
    op_libraries: tuple[str, ...] = ()


def read(config: Mapping[str, Any], server_options: Mapping[str, str]) -> Settings:
    """Read the settings of a model.

    Args:
        config: Triton's model configuration as parsed from its JSON.
        server_options: the ``--backend-config=onnxruntime,…`` options of the server.

    Raises:
        ConfigError: a value does not parse, or an execution accelerator is unknown.
    """
    _check_accelerators(config)
    parameters = _parameters(config)
    optimization = config.get("optimization") or {}
    intra, inter = _threads(parameters, server_options)
    entries = {k: v for k, v in parameters.items() if k.startswith(_SESSION_PREFIX)}
    return Settings(
        intra_op_threads=_own_choice(config) if intra is None else intra,
        inter_op_threads=inter,
        parallel=_execution_mode(parameters),
        graph_level=int((optimization.get("graph") or {}).get("level", 0)),
        memory_arena=_flag(parameters, "enable_mem_arena"),
        memory_pattern=_flag(parameters, "enable_mem_pattern"),
        session_entries=entries if intra is not None else _quiet(entries),
        run_entries={key: parameters[key] for key in (_SHRINKAGE,) if key in parameters},
        op_libraries=tuple((config.get("model_operations") or {}).get("op_library_filename", ())),
    )


def default_max_batch_size(server_options: Mapping[str, str]) -> int:
    """Return ``default-max-batch-size`` of the server's options, at least 0.

    Raises:
        ConfigError: it is not a number.
    """
    return max(0, _integer(server_options, "default-max-batch-size", DEFAULT_MAX_BATCH_SIZE))


def default_thread_count(instances: int, cpus: int) -> int:
    """Return the threads that one of ``instances`` uses inside a node when none are configured.

    NVIDIA's backend then leaves the choice to ONNX Runtime: one thread per
    physical core *for each instance*. Its instances share a process; ours are
    processes, whose idle threads cannot see each other and spin against each
    other. So the CPUs that this process may use are divided among the
    instances. Answers do not depend on it, and ``intra_op_thread_count: 0``
    still asks for ONNX Runtime's own choice, as documented.
    """
    return max(1, cpus // max(1, instances))


def _threads(
    parameters: Mapping[str, str], server_options: Mapping[str, str]
) -> tuple[int | None, int]:
    """Return the intra-op threads (None: nobody said) and the inter-op threads."""
    source = parameters
    if _flag(server_options, "enable-global-threadpool"):
        # The documented rule: the server's counts, the model's are ignored. One
        # session per process makes a global pool the same as the session's own.
        source = {_INTRA: "0", **server_options}
    intra = max(0, _integer(source, _INTRA, 0)) if _INTRA in source else None
    return intra, max(0, _integer(source, "inter_op_thread_count", 0))


def _own_choice(config: Mapping[str, Any]) -> int:
    return default_thread_count(_instances(config), usable_cpus())


def _quiet(entries: Mapping[str, str]) -> dict[str, str]:
    """Let idle threads sleep instead of spin, unless the configuration says otherwise.

    ONNX Runtime's threads spin after each run to be quick for the next one.
    That takes the CPU from the server and from other models' processes. For a
    small CNN on 2 CPUs, one request at a time, spinning cost 1.5 to 2.3 times
    the CPU per reply for 60 to 200 µs less latency; one thread gave both. Applies
    only where no thread count is configured.
    """
    return {_SPINNING: "0", **entries}


def usable_cpus() -> int:
    """Return the CPUs that this process may run on (its affinity, not the machine's count)."""
    return len(os.sched_getaffinity(0))


def _instances(config: Mapping[str, Any]) -> int:
    return sum(int(group.get("count", 1)) for group in config.get("instance_group", ())) or 1


def _execution_mode(parameters: Mapping[str, str]) -> bool:
    mode = _integer(parameters, "execution_mode", 0)
    if mode not in (0, 1):
        raise ConfigError(
            f"parameter 'execution_mode': expected 0 (sequential) or 1 (parallel), got {mode}",
            next_step="correct the parameter in config.pbtxt",
            field="parameters.execution_mode",
        )
    return mode == 1


def _check_accelerators(config: Mapping[str, Any]) -> None:
    """Treat execution accelerators as a CPU build of NVIDIA's backend does."""
    accelerators = (config.get("optimization") or {}).get("execution_accelerators") or {}
    for accelerator in accelerators.get("cpu_execution_accelerator", ()):
        name = accelerator.get("name", "")
        if name not in _FASTER_ELSEWHERE:
            raise ConfigError(
                f"unknown Execution Accelerator '{name}' is requested",
                cause="the only CPU accelerator that the onnxruntime backend knows is 'openvino'",
                next_step="remove it from optimization.execution_accelerators in config.pbtxt",
                field="optimization.execution_accelerators",
            )
        _log.warning("execution accelerator '%s' is not in this server: plain CPU instead", name)
    for accelerator in accelerators.get("gpu_execution_accelerator", ()):
        _log.warning("GPU execution accelerator '%s' ignored on CPU", accelerator.get("name", ""))


def _parameters(config: Mapping[str, Any]) -> dict[str, str]:
    parameters = config.get("parameters") or {}
    return {key: str(value.get("string_value", "")) for key, value in parameters.items()}


def _integer(source: Mapping[str, str], key: str, default: int) -> int:
    if key not in source:
        return default
    try:
        return int(source[key])
    except ValueError:
        raise _unparsed(key, source[key], "integral number") from None


def _flag(source: Mapping[str, str], key: str) -> bool | None:
    if key not in source:
        return None
    value = source[key].lower()
    if value in ("true", "on", "1"):
        return True
    if value in ("false", "off", "0"):
        return False
    raise _unparsed(key, source[key], "boolean")


def _unparsed(key: str, value: str, kind: str) -> ConfigError:
    return ConfigError(
        f"parameter '{key}': failed to convert '{value}' to {kind}",
        next_step="correct the value in config.pbtxt or on tritonserver's command line",
        field=key,
    )

"""From an ONNX file to an engine."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, NoReturn

from modelport.build.tensorrt.graph import readable
from modelport.build.tensorrt.library import RTX, Library, library, logger
from modelport.build.tensorrt.profile import Shapes
from modelport.build.tensorrt.timing import cached_timings
from modelport.errors import ExportError
from modelport.spec.precision import Plan

# What of a build is under way, how many of its steps are done, and how many there are.
Listener = Callable[[str, int, int], None]
# More reasons than these help nobody.
_SHOWN = 5
# The libraries keep one logger for the process, and it says of whom it speaks to nobody.
_one_at_a_time = threading.Lock()


@dataclass(frozen=True, kw_only=True)
class EngineOptions:
    """What an engine is built with; part of what plans are told apart by.

    Args:
        workspace_mib: memory that the engine may take beside its weights.
        version_compatible: it also runs in later versions of TensorRT, a little slower.
        hardware_compatible: it also runs on other GPUs since Ampere, slower.
        optimization_level: 0 (built fastest) to 5 (runs fastest); ``None`` for the library's own.
        compute_capabilities: of the GPUs that TensorRT-RTX builds for, such as ``("8.6",)``;
            none for all since Ampere. Full TensorRT builds for the GPU that it finds.
    """

    workspace_mib: int = 1024
    version_compatible: bool = False
    hardware_compatible: bool = False
    optimization_level: int | None = None
    compute_capabilities: tuple[str, ...] = ()

    @classmethod
    def of(cls, plan: Plan) -> EngineOptions:
        """Take over what a builder declares."""
        return cls(
            workspace_mib=plan.workspace_mib,
            version_compatible=plan.version_compatible,
            hardware_compatible=plan.hardware_compatible,
        )

    def as_dict(self) -> dict[str, object]:
        """Give the options as JSON can hold them."""
        return asdict(self) | {"compute_capabilities": list(self.compute_capabilities)}


@dataclass(frozen=True)
class Engine:
    """An engine, and the library that made it."""

    data: bytes
    library: str
    version: str


def compile(  # noqa: A001 - what the trade calls it
    onnx: Path,
    shapes: Mapping[str, Shapes],
    options: EngineOptions,
    *,
    timing_cache: Path | None = None,
    progress: Listener | None = None,
    using: Library | None = None,
) -> Engine:
    """Compile an ONNX file; full TensorRT needs a GPU for it, TensorRT-RTX does not.

    The network is strongly typed: what is FP16, BF16 or INT8 stands in the graph.

    Args:
        onnx: the file; weights may lie beside it.
        shapes: of every input, as :func:`profile_of` gives them.
        options: what to build with.
        timing_cache: a file with the timings of earlier builds, made if it is not there; what
            it holds of another GPU or version is not used. TensorRT-RTX times nothing.
        progress: hears how far it is.
        using: the library; the one that :func:`library` finds by default.

    Raises:
        ExportError: the graph is not for TensorRT, or does not build: with operator, node and
            reason of each complaint.
        MissingExtraError: there is no TensorRT.
    """
    found = using or library()
    log, speaker = logger(found)
    with _one_at_a_time, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # one API for three libraries
        log.clear()
        builder = found.module.Builder(speaker)
        network = builder.create_network(_network_flags(found))
        _parse(found, network, speaker, onnx)
        config = builder.create_builder_config()
        _configure(found, config, options, onnx)
        config.add_optimization_profile(_profile(builder, network, shapes, onnx))
        monitor = _monitor(found, progress)
        config.progress_monitor = monitor
        with cached_timings(config, timing_cache):
            engine = builder.build_serialized_network(network, config)
            if monitor.stopped_by is not None:
                raise monitor.stopped_by
            if engine is None:
                reason = "\n".join(f"    {line}" for line in log.errors()[-_SHOWN:])
                _fail(onnx, found, f"does not compile\n{reason}", "a shape, a type or the memory")
        return Engine(bytes(engine), found.name, found.version)


def _network_flags(found: Library) -> int:
    """Give those flags that the library knows; TensorRT 11 has only strongly typed networks."""
    kind = "NetworkDefinitionCreationFlag"
    return found.flag(kind, "STRONGLY_TYPED") | found.flag(kind, "EXPLICIT_BATCH")


def _parse(found: Library, network: Any, speaker: Any, onnx: Path) -> None:
    parser = found.module.OnnxParser(network, speaker)
    changed = readable(onnx)
    if changed is None:
        done = parser.parse_from_file(str(onnx))
    else:
        done = parser.parse(changed, str(onnx))
    if done:
        return
    errors = [parser.get_error(index) for index in range(parser.num_errors)]
    complaints = list(dict.fromkeys(_complaint(error) for error in errors))
    more = f"\n    … and {len(complaints) - _SHOWN} more" if len(complaints) > _SHOWN else ""
    listed = "\n".join(f"    {complaint}" for complaint in complaints[:_SHOWN])
    _fail(
        onnx,
        found,
        f"does not take the graph\n{listed}{more}",
        "TensorRT lacks the operator, or lacks it for this type",
        complaints=complaints,
    )


def _complaint(error: Any) -> str:
    """Put operator, node and reason into a line."""
    lines = [line.strip() for line in str(error.desc()).splitlines() if line.strip()]
    # The first line repeats the node's name where there are more.
    reason = " ".join(lines[1:] or lines)
    node = f" {error.node_name()}" if error.node_name() else ""
    return f"{error.node_operator() or 'the graph'}{node}: {reason}"


def _configure(found: Library, config: Any, options: EngineOptions, onnx: Path) -> None:
    trt = found.module
    pool = trt.MemoryPoolType.WORKSPACE
    config.set_memory_pool_limit(pool, options.workspace_mib * 2**20)
    if options.optimization_level is not None:
        config.builder_optimization_level = options.optimization_level
    if options.version_compatible:
        if found.name == RTX:  # it has the flag, and not the lean runtime that the flag is about
            _lacks(onnx, found, "version_compatible", "build with full TensorRT")
        config.set_flag(trt.BuilderFlag.VERSION_COMPATIBLE)
    # Engines of TensorRT-RTX run on all GPUs since Ampere as they are.
    if options.hardware_compatible and found.name != RTX:
        config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS
    if options.compute_capabilities:
        _aim(found, config, options.compute_capabilities, onnx)


def _aim(found: Library, config: Any, capabilities: tuple[str, ...], onnx: Path) -> None:
    known = getattr(found.module, "ComputeCapability", None)
    if known is None:
        _lacks(onnx, found, "compute_capabilities", "build on the GPU that the engine is for")
    config.num_compute_capabilities = len(capabilities)
    for index, capability in enumerate(capabilities):
        member = getattr(known, f"SM{capability.replace('.', '')}", None)
        if member is None:
            names = [name[2:] for name in known.__members__ if name.startswith("SM")]
            spelled = ", ".join(f"{name[:-1]}.{name[-1]}" for name in names)
            _lacks(onnx, found, f"compute capability {capability}", f"choose of {spelled}")
        config.set_compute_capability(member, index)


def _profile(builder: Any, network: Any, shapes: Mapping[str, Shapes], onnx: Path) -> Any:
    inputs = [network.get_input(index) for index in range(network.num_inputs)]
    names = [tensor.name for tensor in inputs]
    if set(names) != set(shapes):
        raise ExportError(
            f"{onnx}: the graph's inputs are {', '.join(names)}; shapes are given for"
            f" {', '.join(shapes)}",
            cause="the model's declaration and its graph disagree",
            next_step="modelport doctor",
            path=onnx,
        )
    profile = builder.create_optimization_profile()
    for tensor in inputs:
        given = shapes[tensor.name]
        if tensor.is_shape_tensor or not all(_fits(tuple(tensor.shape), s) for s in given):
            what = "holds a shape, which is" if tensor.is_shape_tensor else "is"
            raise ExportError(
                f"{onnx}: input {tensor.name!r} {what} {list(tensor.shape)} in the graph (-1 for"
                f" what varies); shapes {', '.join(str(list(s)) for s in given)} are given for it",
                cause="the model's declaration and its graph disagree, or the network reads a"
                " shape from its input",
                next_step="mend the builder, or the shapes",
                path=onnx,
                tensor=tensor.name,
            )
        profile.set_shape(tensor.name, *given)
    return profile


def _fits(declared: tuple[int, ...], shape: tuple[int, ...]) -> bool:
    pairs = zip(declared, shape, strict=False)
    return len(declared) == len(shape) and all(d in (-1, s) for d, s in pairs)


def _monitor(found: Library, progress: Listener | None) -> Any:
    """Make what the builder tells of its progress, and which stops it on Ctrl-C."""

    class Monitor(found.module.IProgressMonitor):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            found.module.IProgressMonitor.__init__(self)
            self.stopped_by: BaseException | None = None
            self._steps: dict[str, int] = {}

        def phase_start(self, name: str, parent: str | None, steps: int) -> None:  # noqa: ARG002
            self._steps[name] = steps

        def step_complete(self, name: str, step: int) -> bool:
            # An exception must not travel through the builder's own frames.
            try:
                if progress is not None:
                    progress(name, step + 1, self._steps.get(name, step + 1))
            except BaseException as error:  # noqa: BLE001 - raised again when the builder is back
                self.stopped_by = error
            return self.stopped_by is None

        def phase_finish(self, name: str) -> None:
            self._steps.pop(name, None)

    return Monitor()


def _lacks(onnx: Path, found: Library, what: str, next_step: str) -> NoReturn:
    raise ExportError(
        f"{onnx}: {found.name} {found.version} has no {what}", next_step=next_step, path=onnx
    )


def _fail(onnx: Path, found: Library, what: str, cause: str, **objects: object) -> NoReturn:
    raise ExportError(
        f"{onnx}: {found.name} {found.version} {what}",
        cause=cause,
        next_step="mend the network at the nodes that are named, or serve the ONNX version",
        path=onnx,
        **objects,
    )

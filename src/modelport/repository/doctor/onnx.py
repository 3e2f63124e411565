"""Rules that hold config.pbtxt against the ONNX file.

Source: ``ValidateInputs``, ``ValidateOutputs`` and ``CompareDimsSupported`` of
Triton's onnxruntime backend.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from modelport.errors import IntegrityError, RepositoryError
from modelport.repository.doctor.finding import Problem
from modelport.repository.doctor.subject import Subject
from modelport.repository.onnx_graph import OnnxGraph, OnnxTensor
from modelport.spec.config import DataType, ModelInput, ModelOutput


@dataclass(frozen=True)
class _Pair:
    """A tensor of config.pbtxt beside the one of the graph."""

    field: str
    declared: ModelInput | ModelOutput
    tensor: OnnxTensor


def unreadable_onnx(subject: Subject) -> Iterator[Problem]:
    """The ONNX file cannot be read."""
    for path, error in _errors(subject):
        if isinstance(error, IntegrityError):
            yield Problem(
                path=path,
                field="",
                expected="a whole ONNX file",
                got=str(error.objects["reason"]),
                fix=error.next_step or "",
            )


def unservable_onnx(subject: Subject) -> Iterator[Problem]:
    """The graph has an input or output that no Triton tensor can hold."""
    for path, error in _errors(subject):
        if not isinstance(error, IntegrityError):
            yield Problem(
                path=path,
                field=str(error.objects["tensor"]),
                expected="a plain tensor of a type that Triton knows",
                got=str(error.objects["got"]),
                fix=error.next_step or "",
            )


def _errors(subject: Subject) -> Iterator[tuple[Path, RepositoryError]]:
    if subject.backend is None or subject.backend.name != "onnxruntime":
        return
    for _, path in subject.model_files():
        graph = subject.graph(path)
        if isinstance(graph, RepositoryError):
            yield path, graph


def unknown_tensor(subject: Subject) -> Iterator[Problem]:
    """config.pbtxt declares a tensor that the graph lacks."""
    for path, graph in subject.graphs():
        for role, tensors in (("input", graph.inputs), ("output", graph.outputs)):
            names = [tensor.name for tensor in tensors]
            for field, name in _declared_names(subject, role):
                if name not in names:
                    yield Problem(
                        field=field,
                        expected=f"one of {_quoted(names)}, the {role}s of {_short(path)}",
                        got=repr(name),
                        fix=_near(name, names, f"name an {role} that the file has"),
                    )


def undeclared_input(subject: Subject) -> Iterator[Problem]:
    """The graph needs an input that config.pbtxt leaves out."""
    declared = [name for _, name in _declared_names(subject, "input")]
    if not declared:
        return  # auto-completion fills in all of them
    for path, graph in subject.graphs():
        for tensor in graph.inputs:
            if not tensor.optional and tensor.name not in declared:
                yield Problem(
                    field="input",
                    expected=f"{tensor.name!r}, which {_short(path)} requires",
                    got=f"only {_quoted(declared)}",
                    fix=_near(tensor.name, declared, f"declare {_as_config(subject, tensor)}"),
                )


def other_type(subject: Subject) -> Iterator[Problem]:
    """A tensor has another element type in the graph."""
    for path, graph in subject.graphs():
        for pair in _pairs(subject, graph):
            if pair.declared.data_type not in ("TYPE_INVALID", pair.tensor.data_type):
                yield Problem(
                    field=f"{pair.field}.data_type",
                    expected=f"{pair.tensor.data_type}, as {_short(path)} has {pair.tensor.name!r}",
                    got=pair.declared.data_type,
                    fix=f"set data_type: {pair.tensor.data_type}, or export the network again",
                )


def other_shape(subject: Subject) -> Iterator[Problem]:
    """A tensor has another shape in the graph."""
    batched = subject.config.max_batch_size > 0
    for path, graph in subject.graphs():
        for pair in _pairs(subject, graph):
            wanted = pair.tensor.triton_dims()
            if wanted is None or getattr(pair.declared, "allow_ragged_batch", False):
                continue
            if not _shape_fits(_full_dims(pair.declared, batched), wanted, batched):
                yield _shape_problem(path, pair, wanted, batched)


def _shape_fits(declared: Sequence[int], wanted: Sequence[int], batched: bool) -> bool:
    if not wanted:
        return batched or all(dim == 1 for dim in declared)
    if batched and wanted[0] != -1:
        return False
    return len(declared) == len(wanted) and all(
        there in (-1, here) for here, there in zip(declared, wanted, strict=True)
    )


def _shape_problem(path: Path, pair: _Pair, wanted: Sequence[int], batched: bool) -> Problem:
    shape = f"{_shown(pair.tensor)} of {pair.tensor.name!r} in {_short(path)}"
    fixed_batch = batched and bool(wanted) and wanted[0] != -1
    full = list(_full_dims(pair.declared, batched))
    fix = f"set dims: {list(wanted[1:] if batched else wanted)}"
    if fixed_batch:
        fix = "export with a dynamic batch dimension, or set max_batch_size: 0"
    return Problem(
        field=f"{pair.field}.dims",
        expected=f"a variable batch first, not {shape}" if fixed_batch else shape,
        got=f"{full} with the batch dimension" if batched else str(full),
        fix=fix,
    )


def missing_external_file(subject: Subject) -> Iterator[Problem]:
    """Weights that lie outside the ONNX file are not there."""
    for path, graph in subject.graphs():
        for file in graph.external_files:
            if not (path.parent / file.location).is_file():
                yield Problem(
                    path=path.parent / file.location,
                    field="",
                    expected=f"{file.size_bytes} bytes of weights of {path.name}",
                    got="no such file",
                    fix="copy it beside the model, under the name that the model states",
                )


def external_file_outside(subject: Subject) -> Iterator[Problem]:
    """Weights lie where ONNX Runtime does not follow: outside the folder of the file."""
    for path, graph in subject.graphs():
        for file in graph.external_files:
            place = PurePosixPath(file.location)
            if place.is_absolute() or ".." in place.parts:
                yield Problem(
                    path=path,
                    field="external_data.location",
                    expected=f"a path below {path.parent}",
                    got=file.location,
                    fix="save the weights beside the model",
                )


def truncated_external_file(subject: Subject) -> Iterator[Problem]:
    """A file of weights is shorter than the graph says."""
    for path, graph in subject.graphs():
        for file in graph.external_files:
            beside = path.parent / file.location
            if beside.is_file() and beside.stat().st_size < file.size_bytes:
                yield Problem(
                    path=beside,
                    field="",
                    expected=f"at least {file.size_bytes} bytes",
                    got=f"{beside.stat().st_size} bytes",
                    fix="copy it again, together with the model",
                )


def _declared_names(subject: Subject, role: str) -> list[tuple[str, str]]:
    """Give field and name of every tensor that the backend would look up in the graph."""
    config = subject.config
    tensors: Sequence[ModelInput | ModelOutput] = config.input if role == "input" else config.output
    names = [(f"{role}[{index}].name", tensor.name) for index, tensor in enumerate(tensors)]
    batching = config.sequence_batching
    if batching is not None:
        for index, state in enumerate(batching.state):
            name = state.input_name if role == "input" else state.output_name
            names.append((f"sequence_batching.state[{index}].{role}_name", name))
        for index, control in enumerate(batching.control_input if role == "input" else ()):
            names.append((f"sequence_batching.control_input[{index}].name", control.name))
    for i, computed in enumerate(config.batch_input if role == "input" else ()):
        for j, name in enumerate(computed.target_name):
            names.append((f"batch_input[{i}].target_name[{j}]", name))
    return names


def _pairs(subject: Subject, graph: OnnxGraph) -> Iterator[_Pair]:
    for index, declared in enumerate(subject.config.input):
        if tensor := graph.input(declared.name):
            yield _Pair(f"input[{index}]", declared, tensor)
    for index, answer in enumerate(subject.config.output):
        if tensor := graph.output(answer.name):
            yield _Pair(f"output[{index}]", answer, tensor)


def _full_dims(declared: ModelInput | ModelOutput, batched: bool) -> tuple[int, ...]:
    dims = declared.dims if declared.reshape is None else declared.reshape.shape
    return (-1, *dims) if batched else tuple(dims)


def _shown(tensor: OnnxTensor) -> str:
    return "[" + ", ".join("?" if d is None else str(d) for d in tensor.dims or ()) + "]"


def _as_config(subject: Subject, tensor: OnnxTensor) -> str:
    dims = tensor.triton_dims() or ()
    shape = list(dims[1:] if subject.config.max_batch_size > 0 else dims)
    data_type: DataType = tensor.data_type
    return f'{{ name: "{tensor.name}" data_type: {data_type} dims: {shape} }}'


def _near(name: str, names: Sequence[str], otherwise: str) -> str:
    folded = {other.lower(): other for other in names}
    near = difflib.get_close_matches(name.lower(), folded, n=1, cutoff=0.7)
    return f"did you mean {folded[near[0]]!r}?" if near else otherwise


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names)) or "none"


def _short(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"

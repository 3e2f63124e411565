"""Publishing an ONNX file that others made: its config.pbtxt is written from the graph."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import numpy as np
from pydantic import ValidationError

from modelport.build.builder_file import build_models
from modelport.build.loader import Builder, invalid_field
from modelport.build.steps import Built, Listener
from modelport.errors import BuilderError, DataError
from modelport.repository import digests, onnx_graph
from modelport.repository.layout import Repository
from modelport.repository.onnx_graph import OnnxGraph, OnnxTensor
from modelport.spec import Datatype, ModelDynamicBatching, OnnxModel, Sample, Serving, Tensor

DEFAULT_BATCH = 64


def publish(
    file: Path,
    name: str,
    *,
    repository: Path,
    max_batch_size: int | None = None,
    samples: Path | None = None,
    listener: Listener = lambda _: None,
) -> Built:
    """Publish an ONNX file as a model, proven against ONNX Runtime in this process.

    Args:
        file: the ONNX file; external data beside it comes along.
        name: the model's name.
        repository: the model repository; made when missing.
        max_batch_size: ``None`` for 64 where every tensor's first dimension varies, else 0.
        samples: an ``.npz`` file with one array per input, items along the first
            dimension; drawn at random when missing.
        listener: hears of every step.

    Raises:
        RepositoryError: the file is damaged, or has tensors that Triton does not know.
        BuilderError: the batch size does not fit the graph.
        DataError: the samples do not fit the graph.
    """
    graph = onnx_graph.read(file)
    batch = _batch_size(file, graph, max_batch_size)
    try:
        model = OnnxModel(
            name=name,
            inputs=tuple(_tensor(file, tensor, batch) for tensor in graph.inputs),
            outputs=tuple(_tensor(file, tensor, batch) for tensor in graph.outputs),
            max_batch_size=batch,
            serving=Serving(dynamic_batching=ModelDynamicBatching() if batch else None),
            samples=(lambda: _items(samples, graph, batch)) if samples else None,
            file=Path(file.name),
            doc=f"Imported from {file.name}.",
        )
    except ValidationError as error:
        raise invalid_field(file, error) from error
    read = {str(samples): digests.of_file(samples)} if samples else {}
    builder = Builder(file, (model,), read)
    (built,) = build_models(builder, Repository(repository), listener, keep_edits=False)
    return built


def _batch_size(file: Path, graph: OnnxGraph, wanted: int | None) -> int:
    """Choose max_batch_size; only a graph whose every first dimension varies can batch."""
    fixed = [t.name for t in (*graph.inputs, *graph.outputs) if not _varies_first(t)]
    if wanted is None:
        return 0 if fixed else DEFAULT_BATCH
    if wanted and fixed:
        raise BuilderError(
            f"{file}: --max-batch-size {wanted}, but the first dimension of {fixed[0]!r} is fixed",
            cause="the model was exported without a dynamic batch dimension",
            next_step="export it with one, or leave --max-batch-size out",
            path=file,
            tensor=fixed[0],
        )
    return wanted


def _varies_first(tensor: OnnxTensor) -> bool:
    return bool(tensor.dims) and not isinstance((tensor.dims or (1,))[0], int)


def _tensor(file: Path, tensor: OnnxTensor, batch: int) -> Tensor:
    dims = tensor.triton_dims()
    if dims is None:
        raise BuilderError(
            f"{file}: the graph does not say the rank of {tensor.name!r}",
            next_step="run onnx.shape_inference on the file, or export it again",
            path=file,
            tensor=tensor.name,
        )
    spelled = tensor.data_type.removeprefix("TYPE_")
    datatype = cast(Datatype, "BYTES" if spelled == "STRING" else spelled)
    # A batching model's config leaves the batch dimension out.
    return Tensor(tensor.name, datatype, dims[1:] if batch else dims, optional=tensor.optional)


def _items(path: Path, graph: OnnxGraph, batch: int) -> list[Sample]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path}: not an .npz file that can be read: {error}",
            next_step="write it with numpy.savez(path, input_name=array, ...)",
            path=path,
        ) from error
    required = {tensor.name for tensor in graph.inputs if not tensor.optional}
    if set(arrays) - {tensor.name for tensor in graph.inputs} or required - set(arrays):
        raise DataError(
            f"{path}: holds {', '.join(arrays) or 'nothing'}; the model takes"
            f" {', '.join(tensor.name for tensor in graph.inputs)}",
            next_step="name each array as the input that it is for",
            path=path,
        )
    if not batch:
        return [Sample(arrays)]
    lengths = {name: len(array) if array.ndim else 0 for name, array in arrays.items()}
    count = min(lengths.values())
    if not count or count != max(lengths.values()):
        raise DataError(
            f"{path}: holds {', '.join(f'{n} items of {name}' for name, n in lengths.items())};"
            " expected the same number of each, one or more",
            next_step="stack the items along the first dimension",
            path=path,
        )
    return [Sample({name: array[i] for name, array in arrays.items()}) for i in range(count)]

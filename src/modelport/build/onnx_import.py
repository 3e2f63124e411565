"""Publishing an ONNX file that others made: its config.pbtxt is written from the graph."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import cast

from pydantic import ValidationError

from modelport.build import samples_file
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
        samples: a file of inputs, see :mod:`modelport.build.samples_file`; drawn at
            random when missing.
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
            file=Path(file.name),
            doc=f"Imported from {file.name}.",
        )
    except ValidationError as error:
        raise invalid_field(file, error) from error
    read = {}
    if samples:
        items = _items(samples, model)
        model = dataclasses.replace(model, samples=lambda: items)
        read = {str(samples): digests.of_file(samples)}
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


def _items(path: Path, model: OnnxModel) -> list[Sample]:
    given = samples_file.read(path, model)
    if given[0].outputs:
        raise DataError(
            f"{path}: holds expected answers ({', '.join(given[0].outputs)}) beside the inputs",
            cause="an imported file is proven against ONNX Runtime in this process",
            next_step="leave them out, or put the file into a model folder: modelport publish",
            path=path,
        )
    return [Sample(item.inputs) for item in given]

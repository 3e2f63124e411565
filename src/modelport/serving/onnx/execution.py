"""Triton's requests in, Triton's responses out."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Protocol

import numpy as np

from modelport.errors import InvalidInputError, ModelportError
from modelport.serving.onnx import bfloat16
from modelport.serving.onnx.batching import BatchRunner, Job, Outcome
from modelport.serving.onnx.graph import Graph
from modelport.serving.onnx.session import Run
from modelport.serving.onnx.tensors import BF16, STRING, Array, decode_strings, encode_strings
from modelport.serving.onnx.validation import config_dims

_log = logging.getLogger(__name__)

# Asking whether a request was cancelled is a round trip to the server (about
# 0.1 ms for each request). It is asked only where a run takes so much longer
# that the question costs nothing and skipping the run saves something.
_ASK_CANCELLED_ABOVE_S = 0.02


class Tensor(Protocol):
    """The part of ``pb_utils.Tensor`` that is used here."""

    def name(self) -> str: ...  # noqa: D102
    def as_numpy(self) -> Array: ...  # noqa: D102


class Request(Protocol):
    """The part of ``pb_utils.InferenceRequest`` that is used here."""

    def inputs(self) -> Sequence[Tensor]: ...  # noqa: D102
    def requested_output_names(self) -> Sequence[str]: ...  # noqa: D102
    def is_cancelled(self) -> bool: ...  # noqa: D102


class Executor:
    """Answers the requests of one model instance.

    Args:
        pb_utils: Triton's ``triton_python_backend_utils``, complete as it is
            from `initialize` on.
        config: the model configuration, validated against ``graph``.
        graph: the inputs and outputs of the session.
        run: runs the session once.
    """

    def __init__(self, pb_utils: Any, config: Mapping[str, Any], graph: Graph, run: Run) -> None:
        self._pb_utils = pb_utils
        self._model = config["name"]
        self._runner = BatchRunner(run, batched=int(config["max_batch_size"]) > 0)
        self._readers = _readers(graph)
        self._writers = _writers(pb_utils, config, graph)
        # Where there is one output, every request wants it: a question less.
        self._only = list(self._writers) if len(self._writers) == 1 else None
        self._run_s = 0.0

    def execute(self, requests: Sequence[Request]) -> list[Any]:
        """Return one response per request, in order; whatever fails is that request's error."""
        jobs = [self._read(request) for request in requests]
        valid = [job for job in jobs if isinstance(job, Job)]
        started = time.perf_counter()
        outcomes = iter(self._runner(valid))
        self._run_s = time.perf_counter() - started
        return [self._answer(next(outcomes) if isinstance(job, Job) else job) for job in jobs]

    def _read(self, request: Request) -> Job | Exception:
        try:
            if self._run_s > _ASK_CANCELLED_ABOVE_S and request.is_cancelled():
                return _Cancelled()
            tensors = request.inputs()
            if self._readers:
                feeds = {tensor.name(): self._array(tensor) for tensor in tensors}
            else:
                feeds = {tensor.name(): tensor.as_numpy() for tensor in tensors}
            # A set; ONNX Runtime before 1.24 takes only a list.
            return Job(feeds, self._only or list(request.requested_output_names()))
        except Exception as error:  # noqa: BLE001 - the boundary that isolates a request
            return error

    def _array(self, tensor: Tensor) -> Array:
        reader = self._readers.get(tensor.name())
        return reader(tensor) if reader else tensor.as_numpy()

    def _answer(self, outcome: Outcome) -> Any:
        if not isinstance(outcome, Exception):
            try:
                tensors = [self._writers[name](array) for name, array in outcome.items()]
                return self._pb_utils.InferenceResponse(tensors)
            except Exception as error:  # noqa: BLE001 - the boundary that isolates a request
                outcome = error
        return self._failure(outcome)

    def _failure(self, error: Exception) -> Any:
        codes = self._pb_utils.TritonError
        if isinstance(error, _Cancelled):
            code, text = codes.CANCELLED, "request cancelled before it was executed"
        elif isinstance(error, ModelportError):
            bad_input = isinstance(error, InvalidInputError)
            code, text = codes.INVALID_ARG if bad_input else codes.INTERNAL, str(error)
        else:
            # onnxruntime blames the caller's tensors with a class of this name.
            bad_input = type(error).__name__ == "InvalidArgument"
            code, text = codes.INVALID_ARG if bad_input else codes.INTERNAL, f"{error}"
        return self._pb_utils.InferenceResponse(error=codes(f"model '{self._model}': {text}", code))


class _Cancelled(Exception):
    """The client no longer waits."""


def _readers(graph: Graph) -> dict[str, Callable[[Tensor], Array]]:
    """Return how to read those inputs that are not simply ``as_numpy()``."""
    readers: dict[str, Callable[[Tensor], Array]] = {}
    for info in (*graph.inputs.values(), *graph.defaulted.values()):
        read = {STRING: _read_strings, BF16: bfloat16.from_dlpack}.get(info.data_type)
        if not info.shape:
            readers[info.name] = partial(_read_scalar, read)
        elif read is not None:
            readers[info.name] = read
    return readers


def _read_strings(tensor: Tensor) -> Array:
    return decode_strings(tensor.name(), tensor.as_numpy())


def _read_scalar(read: Callable[[Tensor], Array] | None, tensor: Tensor) -> Array:
    """Read a tensor of one element, [1] in the configuration, as the scalar of the graph."""
    return (read(tensor) if read else tensor.as_numpy()).reshape(())


def _writers(
    pb_utils: Any, config: Mapping[str, Any], graph: Graph
) -> dict[str, Callable[[Array], Any]]:
    """Return how each configured output becomes a ``pb_utils.Tensor``."""
    writers: dict[str, Callable[[Array], Any]] = {}
    for tensor in config["output"]:
        info = graph.outputs[tensor["name"]]
        write = partial(pb_utils.Tensor, info.name)
        if info.data_type == STRING:
            write = partial(_write_strings, write)
        elif info.data_type == BF16:
            write = partial(_write_bf16, pb_utils, info.name)
        if not info.shape:
            write = partial(_write_scalar, write, config_dims(tensor))
        writers[info.name] = write
    return writers


def _write_strings(write: Callable[[Array], Any], array: Array) -> Any:
    return write(encode_strings(array))


def _write_bf16(pb_utils: Any, name: str, array: Array) -> Any:
    return pb_utils.Tensor.from_dlpack(name, bfloat16.to_dlpack(array))


def _write_scalar(write: Callable[[Array], Any], dims: tuple[int, ...], array: Array) -> Any:
    return write(np.asarray(array).reshape(dims))

"""Models of a fake server: what they take, what they answer, and what Triton would refuse."""

from __future__ import annotations

import inspect
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from modelport.client import tensors
from modelport.client.dtypes import DTYPES, Array
from modelport.client.metadata import ModelMetadata, TensorMetadata
from modelport.client.testing.content import Sent, from_bytes
from modelport.client.testing.requests import Refusal, Request
from modelport.errors import InvalidInputError

Outputs = Mapping[str, Any]
Answer = Callable[..., Any]
Interface = Mapping[str, tuple[str, Sequence[int]]]


class FakeModel:
    """One model: its interface, the function that answers, and counts of what happened."""

    def __init__(
        self,
        name: str,
        inputs: Interface,
        outputs: Interface,
        answer: Answer,
        *,
        max_batch_size: int,
        optional: Sequence[str],
        versions: Sequence[str],
        decoupled: bool | None,
        sequence: bool,
    ) -> None:
        streams = any(map(inspect.isgeneratorfunction, (answer, type(answer).__call__)))
        self.answer = answer
        self.metadata = ModelMetadata(
            name,
            tuple(map(str, versions)),
            "python",
            tuple(_tensor(n, t, max_batch_size, n in optional) for n, t in inputs.items()),
            tuple(_tensor(n, t, max_batch_size, optional=False) for n, t in outputs.items()),
            max_batch_size,
            streams if decoupled is None else decoupled,
        )
        self.sequence = sequence
        self.loaded = True
        self.counts = {"success": 0, "fail": 0, "rows": 0}
        self.spent_ns = 0
        self.last_ms = 0
        self._lock = threading.Lock()
        self._sequences: set[int | str] = set()
        self._takes_request = _parameters(answer) > 1

    # --- requests ----------------------------------------------------------------

    def accept(self, request: Request, sent: Sequence[Sent]) -> None:
        """Check a request as Triton does, and read its inputs into it.

        Raises:
            Refusal: in the words of Triton 2.51.
        """
        self._check_names(request, sent)
        prefix = f"[request id: {request.id or '<id_unknown>'}] "
        self._check_batches(sent, prefix)
        request.inputs = {tensor.name: self._array(tensor, prefix) for tensor in sent}
        self._check_sequence(request)

    def run(self, request: Request) -> Iterator[dict[str, Array]]:
        """Give the responses to a request that was accepted.

        Raises:
            Refusal: the answering function refused, failed, or gave other outputs than declared.
        """
        begun, rows = time.perf_counter_ns(), self._rows(request)
        try:
            for outputs in self._answers(request):
                yield self._checked(request, outputs)
        except BaseException as error:
            self._count("fail", 0, begun)
            if isinstance(error, GeneratorExit):
                raise
            if not isinstance(error, Refusal):
                raise _fault(self.metadata.name, error) from error
            error.by_model = True
            raise
        self._count("success", rows, begun)

    def _answers(self, request: Request) -> Iterator[Any]:
        if self._takes_request:
            request.watch()
            given = self.answer(request.inputs, request)
        else:
            given = self.answer(request.inputs)
        if inspect.isgenerator(given):
            yield from given
        else:
            yield given

    def _checked(self, request: Request, outputs: Any) -> dict[str, Array]:
        """Convert what the answering function gave, as a client converts inputs."""
        if not isinstance(outputs, Mapping):
            raise TypeError(f"the answer is {type(outputs).__name__}; outputs by name are needed")
        wanted = request.outputs or [n for n in self.metadata.output_by_name if n in outputs]
        try:
            return {
                name: tensors.convert(
                    outputs[name], self.metadata.output_by_name[name], self.metadata
                )
                for name in wanted
            }
        except KeyError as error:
            raise Refusal(f"the answer has no output {error}", "INTERNAL") from error
        except InvalidInputError as error:
            what = error.what.replace("input", "output", 1)
            raise Refusal(f"the answer does not fit: {what}", "INTERNAL") from error

    def _count(self, outcome: str, rows: int, begun_ns: int) -> None:
        with self._lock:
            self.counts[outcome] += 1
            self.counts["rows"] += rows
            self.spent_ns += time.perf_counter_ns() - begun_ns
            self.last_ms = int(time.time() * 1e3)

    def _rows(self, request: Request) -> int:
        arrays = list(request.inputs.values())
        return len(arrays[0]) if self.metadata.batching and arrays else 1

    # --- checks, in the order and in the words of Triton 2.51 ---------------------

    def _check_names(self, request: Request, sent: Sequence[Sent]) -> None:
        known, name = self.metadata.input_by_name, self.metadata.name
        prefix = f"[request id: {request.id or '<id_unknown>'}] "
        names = [tensor.name for tensor in sent]
        for tensor in names:
            if names.count(tensor) > 1:
                raise Refusal(f"{prefix}input '{tensor}' already exists in request")
        for output in request.outputs:
            if output not in self.metadata.output_by_name:
                raise Refusal(f"unexpected inference output '{output}' for model '{name}'")
        # Triton counts only: without one input and with an optional one, the model is run.
        required = [n for n, tensor in known.items() if not tensor.optional]
        missing = [n for n in required if n not in names]
        if not (len(required) <= len(names) <= len(known)) and not set(names) - known.keys():
            raise Refusal(_miscounted(prefix, name, len(required), len(known), names, missing))
        for tensor in names:
            if tensor not in known:
                raise Refusal(f"unexpected inference input '{tensor}' for model '{name}'")

    def _check_batches(self, sent: Sequence[Sent], prefix: str) -> None:
        name, most = self.metadata.name, self.metadata.max_batch_size
        for tensor in sent:
            expected = self.metadata.input_by_name[tensor.name]
            if tensor.datatype != expected.datatype:
                got = tensor.datatype if tensor.datatype in DTYPES else "<invalid>"
                raise Refusal(
                    f"{prefix}inference input '{tensor.name}' data-type is '{got}', but model"
                    f" '{name}' expects '{expected.datatype}'"
                )
            if not _fits(tensor.shape, expected.shape):
                shape = ",".join(map(str, tensor.shape))
                wanted = ",".join(map(str, expected.shape))
                raise Refusal(
                    f"{prefix}unexpected shape for input '{tensor.name}' for model '{name}'."
                    f" Expected [{wanted}], got [{shape}].{_BATCH_NOTE if most else ''}"
                )
        if not most or not sent:
            return
        rows = sent[-1].shape[0]
        for tensor in sent:
            if tensor.shape[0] != rows:
                raise Refusal(
                    f"{prefix}input '{tensor.name}' batch size does not match other inputs for"
                    f" '{name}'"
                )
        if rows > most:
            raise Refusal(f"{prefix}inference request batch-size must be <= {most} for '{name}'")

    def _array(self, sent: Sent, prefix: str) -> Array:
        expected = DTYPES[sent.datatype].itemsize
        for number, size in enumerate(sent.shape):
            expected *= size or int(number == 0 and self.metadata.batching)
        if sent.values is None:
            return from_bytes(sent, self.metadata.name, expected, prefix)
        if not sent.values.size and expected:
            return from_bytes(sent, self.metadata.name, expected, prefix)
        return sent.values

    def _check_sequence(self, request: Request) -> None:
        if not self.sequence:
            return
        name, step = self.metadata.name, request.sequence
        if step is None:
            raise Refusal(
                f"inference request to model '{name}' must specify a non-zero or non-empty"
                " correlation ID"
            )
        with self._lock:
            if not step.start and step.id not in self._sequences:
                raise Refusal(
                    f"inference request for sequence {step.id} to model '{name}' must specify the"
                    " START flag on the first request of the sequence"
                )
            (self._sequences.discard if step.end else self._sequences.add)(step.id)


def _parameters(answer: Answer) -> int:
    """Count what must be given to a function; some of Python's own (``dict``) do not tell."""
    try:
        parameters = inspect.signature(answer).parameters.values()
    except ValueError:
        return 1
    return sum(map(_must_be_given, parameters))


def _must_be_given(parameter: inspect.Parameter) -> bool:
    positional = (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD)
    return parameter.kind in positional and parameter.default is parameter.empty


def _fault(model: str, error: BaseException) -> Refusal:
    what = f"Failed to process the request(s) for model '{model}_0_0', message: "
    refusal = Refusal(f"{what}{type(error).__name__}: {error}", "INTERNAL")
    refusal.by_model = True
    return refusal


_BATCH_NOTE = (
    " NOTE: Setting a non-zero max_batch_size in the model config requires a batch dimension to be"
    " prepended to each input shape. If you want to specify the full shape including the batch dim"
    " in your input dims config, try setting max_batch_size to zero. See the model configuration"
    " docs for more info on max_batch_size."
)


def _miscounted(
    prefix: str, model: str, least: int, most: int, names: Sequence[str], missing: Sequence[str]
) -> str:
    count = f"number of inputs between {least} and {most}" if least < most else f"{most} inputs"
    got = ",".join(f"'{name}'" for name in names)
    lacking = ",".join(f"'{name}'" for name in missing)
    return (
        f"{prefix}expected {count} but got {len(names)} inputs for model '{model}'. Got input(s)"
        f" [{got}], but missing required input(s) [{lacking}]. Please provide all required"
        " input(s)."
    )


def _tensor(
    name: str, declared: tuple[str, Sequence[int]], max_batch_size: int, optional: bool
) -> TensorMetadata:
    datatype, shape = declared
    if datatype not in DTYPES:
        raise ValueError(f"{name!r}: {datatype!r} is none of {', '.join(DTYPES)}")
    if max_batch_size and (not shape or shape[0] != -1):
        raise ValueError(
            f"{name!r}: with max_batch_size the first dimension is the batch, -1, not {list(shape)}"
        )
    return TensorMetadata(name, datatype, tuple(shape), optional)


def _fits(shape: Sequence[int], expected: Sequence[int]) -> bool:
    return len(shape) == len(expected) and all(
        want in (-1, size) for size, want in zip(shape, expected, strict=True)
    )

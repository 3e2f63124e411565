"""A fake server's gRPC side."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import grpc
import numpy as np
from google.protobuf import json_format
from tritonclient.grpc import model_config_pb2, service_pb2

from modelport.client.dtypes import DTYPES, Array
from modelport.client.exchange import SequenceStep
from modelport.client.testing import content, documents
from modelport.client.testing.content import Sent
from modelport.client.testing.core import Core
from modelport.client.testing.failures import Garbage, Hang, Lost
from modelport.client.testing.requests import Refusal, Request
from modelport.errors import PortInUseError

_SERVICE = "inference.GRPCInferenceService"
_GARBAGE = b"\xff\xff\xff no protobuf"
_OPTIONS = (
    ("grpc.so_reuseport", 0),  # two servers on one port must not share it
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
)
_RESERVED = ("sequence_id", "sequence_start", "sequence_end")
_REBIND_S = 5.0


class GrpcSide:
    """Listens for gRPC and translates; :class:`Core` answers.

    Args:
        core: what answers.
        port: where to listen, 0 for a free port.

    Raises:
        PortInUseError: another process listens there.
    """

    def __init__(self, core: Core, port: int) -> None:
        self._pool = ThreadPoolExecutor(64, thread_name_prefix="fake-grpc")
        self._server = grpc.server(self._pool, options=_OPTIONS)
        self._server.add_generic_rpc_handlers((_handlers(_Methods(core)),))
        self.port = self._bind(port)
        self._server.start()

    def _bind(self, port: int) -> int:
        until_s = time.monotonic() + _REBIND_S
        while not (bound := self._tried(port)):  # one that was just left is free a moment later
            if time.monotonic() > until_s:
                what = f"port {port} is in use, so that no fake server can listen there"
                raise PortInUseError(what, port=port)
            time.sleep(0.05)
        return bound

    def _tried(self, port: int) -> int:
        try:
            return int(self._server.add_insecure_port(f"127.0.0.1:{port}"))
        except RuntimeError:
            return 0

    def stop(self) -> None:
        """Break every connection and listen no more."""
        self._server.stop(None).wait()
        self._pool.shutdown(wait=False)


def _handlers(methods: _Methods) -> Any:
    service = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"]
    table: dict[str, Any] = {}
    for method in service.methods:
        function = getattr(methods, method.name, None)
        if function is None:  # grpc answers UNIMPLEMENTED, as servers without an extension do
            continue
        reader = getattr(service_pb2, method.input_type.name).FromString
        if method.server_streaming:
            kind = grpc.stream_stream_rpc_method_handler
        else:
            kind = grpc.unary_unary_rpc_method_handler
            function = _refusing(function)
        table[method.name] = kind(function, reader, _serialized)
    return grpc.method_handlers_generic_handler(_SERVICE, table)


def _serialized(message: Any) -> bytes:
    return message if isinstance(message, bytes) else bytes(message.SerializeToString())


def _refusing(function: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    def called(message: Any, context: Any) -> Any:
        try:
            return function(message, context)
        except Refusal as error:
            context.abort(grpc.StatusCode[error.code], error.message)
        except (Lost, Hang):  # as grpc itself says it of a connection that breaks
            context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
        except Garbage:
            return _GARBAGE

    return called


class _Methods:
    """The methods of GRPCInferenceService, by their names there."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def ServerLive(self, message: Any, context: Any) -> Any:  # noqa: N802
        del message
        self._admit(context)
        return service_pb2.ServerLiveResponse(live=True)

    def ServerReady(self, message: Any, context: Any) -> Any:  # noqa: N802
        del message
        self._admit(context)
        return service_pb2.ServerReadyResponse(ready=self._core.ready)

    def ServerMetadata(self, message: Any, context: Any) -> Any:  # noqa: N802
        del message
        self._admit(context)
        return service_pb2.ServerMetadataResponse(**documents.SERVER)

    def ModelReady(self, message: Any, context: Any) -> Any:  # noqa: N802
        self._admit(context)
        ready = self._core.is_ready(message.name, message.version)
        return service_pb2.ModelReadyResponse(ready=ready)

    def ModelMetadata(self, message: Any, context: Any) -> Any:  # noqa: N802
        self._admit(context)
        document = documents.metadata(self._core.find(message.name, message.version))
        return json_format.ParseDict(document, service_pb2.ModelMetadataResponse())

    def ModelConfig(self, message: Any, context: Any) -> Any:  # noqa: N802
        self._admit(context)
        document = documents.config(self._core.find(message.name, message.version))
        config = json_format.ParseDict(
            document, model_config_pb2.ModelConfig(), ignore_unknown_fields=True
        )
        return service_pb2.ModelConfigResponse(config=config)

    def ModelStatistics(self, message: Any, context: Any) -> Any:  # noqa: N802
        self._admit(context)
        rows = self._core.statistics(message.name, message.version)
        return json_format.ParseDict({"model_stats": rows}, service_pb2.ModelStatisticsResponse())

    def RepositoryIndex(self, message: Any, context: Any) -> Any:  # noqa: N802
        self._admit(context, control=True)
        rows = self._core.index(ready=message.ready)
        return json_format.ParseDict({"models": rows}, service_pb2.RepositoryIndexResponse())

    def RepositoryModelLoad(self, message: Any, context: Any) -> Any:  # noqa: N802
        self._admit(context, control=True)
        self._core.load(message.model_name)
        return service_pb2.RepositoryModelLoadResponse()

    def RepositoryModelUnload(self, message: Any, context: Any) -> Any:  # noqa: N802
        self._admit(context, control=True)
        self._core.unload(message.model_name)
        return service_pb2.RepositoryModelUnloadResponse()

    def SystemSharedMemoryStatus(self, message: Any, context: Any) -> Any:  # noqa: N802
        self._admit(context, control=True)
        rows = self._core.memory.status(message.name)
        regions = {str(row["name"]): row for row in rows}
        answer = service_pb2.SystemSharedMemoryStatusResponse()
        return json_format.ParseDict({"regions": regions}, answer)

    def SystemSharedMemoryRegister(self, message: Any, context: Any) -> Any:  # noqa: N802
        self._admit(context, control=True)
        self._core.memory.register(message.name, message.key, message.offset, message.byte_size)
        return service_pb2.SystemSharedMemoryRegisterResponse()

    def SystemSharedMemoryUnregister(self, message: Any, context: Any) -> Any:  # noqa: N802
        self._admit(context, control=True)
        self._core.memory.unregister(message.name)
        return service_pb2.SystemSharedMemoryUnregisterResponse()

    def ModelInfer(self, message: Any, context: Any) -> Any:  # noqa: N802
        headers = self._admit(context)
        model = self._core.find(message.model_name, message.model_version)
        if model.metadata.decoupled:
            what = "ModelInfer RPC doesn't support models with decoupled transaction policy"
            raise Refusal(what, "UNIMPLEMENTED")
        request = _request(message, headers)
        context.add_callback(partial(self._core.left, request))
        version, outputs = self._core.infer_once(request, _sent(self._core, message))
        return self._response(message, version, outputs)

    def ModelStreamInfer(self, messages: Iterator[Any], context: Any) -> Iterator[Any]:  # noqa: N802
        """Answer each request with its responses; a refusal is a message, not a status."""
        try:
            headers = self._admit(context)
        except Refusal as error:
            context.abort(grpc.StatusCode[error.code], error.message)
        for message in messages:
            yield from self._streamed(message, headers, context)

    def _streamed(self, message: Any, headers: Mapping[str, str], context: Any) -> Iterator[Any]:
        try:
            yield from self._responses(message, headers, context)
        except Refusal as error:
            last = service_pb2.ModelInferResponse()
            if error.by_model:
                last = _final(message)
            yield service_pb2.ModelStreamInferResponse(
                error_message=error.message, infer_response=last
            )
        except (Lost, Hang):
            context.abort(grpc.StatusCode.UNAVAILABLE, "Socket closed")
        except Garbage:
            yield _GARBAGE

    def _responses(self, message: Any, headers: Mapping[str, str], context: Any) -> Iterator[Any]:
        model = self._core.find(message.model_name, message.model_version)
        request = _request(message, headers)
        context.add_callback(partial(self._core.left, request))
        final = not model.metadata.decoupled
        for version, outputs in self._core.infer(request, _sent(self._core, message)):
            response = self._response(message, version, outputs)
            response.parameters["triton_final_response"].bool_param = final
            yield service_pb2.ModelStreamInferResponse(infer_response=response)
        if message.parameters["triton_enable_empty_final_response"].bool_param and not final:
            yield service_pb2.ModelStreamInferResponse(infer_response=_final(message))

    def _admit(self, context: Any, *, control: bool = False) -> dict[str, str]:
        headers: dict[str, str] = dict(context.invocation_metadata())
        self._core.admit(headers)
        if control:
            self._core.admit_control(headers, grpc=True)
        return headers

    def _response(self, message: Any, version: str, outputs: Mapping[str, Array]) -> Any:
        response = service_pb2.ModelInferResponse(
            model_name=message.model_name, model_version=version, id=message.id
        )
        wanted = {output.name: output.parameters for output in message.outputs}
        model = self._core.find(message.model_name, message.model_version)
        for name, array in outputs.items():
            datatype = model.metadata.output_by_name[name].datatype
            response.outputs.add(name=name, datatype=datatype, shape=array.shape)
            raw = content.to_bytes(datatype, array)
            region = _region(wanted.get(name, {}))
            if region:
                place, offset, size = region
                self._core.memory.write(place, offset, size, raw, name)
                raw = b""
            response.raw_output_contents.append(raw)
        return response


def _final(message: Any) -> Any:
    """Make the response without outputs that ends a stream."""
    response = service_pb2.ModelInferResponse(model_name=message.model_name, id=message.id)
    response.parameters["triton_final_response"].bool_param = True
    return response


# --- requests ----------------------------------------------------------------


def _request(message: Any, headers: Mapping[str, str]) -> Request:
    parameters = {name: _value(value) for name, value in message.parameters.items()}
    _check_priority(message.parameters)
    id_ = parameters.get("sequence_id", 0)
    step = None
    if id_:
        start, end = parameters.get("sequence_start"), parameters.get("sequence_end")
        step = SequenceStep(id_, bool(start), bool(end))
    return Request(
        model=message.model_name,
        version=message.model_version,
        id=message.id,
        outputs=[output.name for output in message.outputs],
        sequence=step,
        parameters={name: v for name, v in parameters.items() if name not in _RESERVED},
        headers=headers,
        transport="grpc",
    )


def _check_priority(parameters: Any) -> None:
    if "priority" not in parameters:
        return
    kind = parameters["priority"].WhichOneof("parameter_choice")
    if kind not in ("int64_param", "uint64_param"):
        raise Refusal(
            "invalid value type for 'priority' parameter, expected int64_param or uint64_param."
        )
    if _value(parameters["priority"]) < 0:
        raise Refusal("invalid value for 'priority', expected value >= 0.")


def _value(parameter: Any) -> Any:
    return getattr(parameter, parameter.WhichOneof("parameter_choice") or "string_param")


def _region(parameters: Any) -> tuple[str, int, int] | None:
    if "shared_memory_region" not in parameters:
        return None
    offset = (
        _value(parameters["shared_memory_offset"]) if "shared_memory_offset" in parameters else 0
    )
    size = _value(parameters["shared_memory_byte_size"])
    return _value(parameters["shared_memory_region"]), int(offset), int(size)


def _sent(core: Core, message: Any) -> list[Sent]:
    """Read the inputs: raw contents for all that are not in shared memory, or typed ones."""
    raw = iter(message.raw_input_contents)
    sent = []
    for tensor in message.inputs:
        one = Sent(tensor.name, tensor.datatype, tuple(tensor.shape))
        region = _region(tensor.parameters)
        if region:
            one.raw = core.memory.read(*region)
        elif message.raw_input_contents:
            one.raw = next(raw, b"")
        elif tensor.HasField("contents"):
            one.raw = _typed(tensor)
        else:
            raise Refusal(
                f"unable to find data for input tensor '{tensor.name}' for model"
                f" '{message.model_name}' in request."
            )
        sent.append(one)
    return sent


_FIELDS = {
    "BOOL": "bool_contents",
    "BYTES": "bytes_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "INT64": "int64_contents",
    "UINT64": "uint64_contents",
    **dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents"),
    **dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents"),
}


def _typed(tensor: Any) -> bytes:
    field = _FIELDS.get(tensor.datatype)
    values = list(getattr(tensor.contents, field)) if field else []
    dtype = DTYPES.get(tensor.datatype, np.dtype(np.uint8))
    array = np.empty(len(values), dtype)
    array[:] = values
    return content.to_bytes(tensor.datatype, array)

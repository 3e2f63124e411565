"""The V2 protocol over gRPC, with Triton's extensions."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping, MutableSequence, Sequence
from typing import Any, NamedTuple

from google.protobuf.message import DecodeError, Message
from tritonclient.grpc import service_pb2

from modelport.client import faults
from modelport.client.call import Call
from modelport.client.exchange import Answer, Exchange, IndexEntry, Inference, Reply, StreamExchange
from modelport.client.wire.messages import RequestWriter, ResponseReader, to_reply
from modelport.errors import ClientError

# What reading a message that is none may raise.
_UNREADABLE = (DecodeError, ValueError, KeyError, IndexError, TypeError, OverflowError)


class GrpcRequest(NamedTuple):
    """The method's name and the message, written out."""

    method: str
    message: bytes


class GrpcWire:
    """V2 over gRPC."""

    def __init__(self) -> None:
        self._writer = RequestWriter()
        self._reader = ResponseReader()

    def infer(self, call: Call, inference: Inference) -> Exchange[Reply]:
        """Run the call's model once."""
        message = self._writer.write(call, inference)
        request = GrpcRequest("ModelInfer", message)
        if not inference.output_regions:
            return Exchange(request, self._read_reply)

        def read_placed(call: Call, answer: bytes) -> Reply:
            try:
                return self._reader.read_placed(answer, inference.output_regions)
            except _UNREADABLE as error:
                raise faults.protocol(call, f"the answer cannot be read ({error!r})") from error

        return Exchange(request, read_placed)

    def stream(self, call: Call, inference: Inference) -> StreamExchange:
        """Run the call's model once and read its responses as they come."""
        message = self._writer.write(call, inference)
        return StreamExchange(GrpcRequest("ModelStreamInfer", message), _Responses)

    def _read_reply(self, call: Call, message: bytes) -> Reply:
        try:
            return self._reader.read(message)
        except _UNREADABLE as error:
            raise faults.protocol(call, f"the answer cannot be read ({error!r})") from error

    def metadata(self, call: Call) -> Exchange[dict[str, Any]]:
        """Read the V2 model metadata document."""
        request = service_pb2.ModelMetadataRequest(name=call.model, version=call.version)
        return _exchange("ModelMetadata", request, to_document)

    def config(self, call: Call) -> Exchange[dict[str, Any]]:
        """Read Triton's model configuration."""
        request = service_pb2.ModelConfigRequest(name=call.model, version=call.version)
        return _exchange("ModelConfig", request, lambda answer: to_document(answer.config))

    def server(self, call: Call) -> Exchange[dict[str, Any]]:
        """Read the V2 server metadata document."""
        del call
        return _exchange("ServerMetadata", service_pb2.ServerMetadataRequest(), to_document)

    def ready(self, call: Call) -> Exchange[bool]:
        """Ask whether the call's model, or without one the server, is ready."""
        if call.model:
            request = service_pb2.ModelReadyRequest(name=call.model, version=call.version)
            return _exchange("ModelReady", request, lambda answer: bool(answer.ready))
        server = service_pb2.ServerReadyRequest()
        return _exchange("ServerReady", server, lambda answer: bool(answer.ready))

    def index(self, call: Call) -> Exchange[list[IndexEntry]]:
        """Read the repository index."""
        del call
        return _exchange("RepositoryIndex", service_pb2.RepositoryIndexRequest(), _to_entries)

    def statistics(self, call: Call) -> Exchange[list[dict[str, Any]]]:
        """Read the statistics of the call's model, or of all."""
        request = service_pb2.ModelStatisticsRequest(name=call.model, version=call.version)
        return _exchange(
            "ModelStatistics", request, lambda answer: [to_document(m) for m in answer.model_stats]
        )

    def load(self, call: Call, config: str = "") -> Exchange[None]:
        """Load the call's model."""
        request = service_pb2.RepositoryModelLoadRequest(model_name=call.model)
        if config:
            request.parameters["config"].string_param = config
        return _exchange("RepositoryModelLoad", request, _nothing)

    def unload(self, call: Call, *, dependents: bool = False) -> Exchange[None]:
        """Unload the call's model."""
        request = service_pb2.RepositoryModelUnloadRequest(model_name=call.model)
        if dependents:
            request.parameters["unload_dependents"].bool_param = True
        return _exchange("RepositoryModelUnload", request, _nothing)

    def register(self, call: Call, name: str, key: str, size_bytes: int) -> Exchange[None]:
        """Let the server map a region of system shared memory."""
        del call
        request = service_pb2.SystemSharedMemoryRegisterRequest(
            name=name, key=key, offset=0, byte_size=size_bytes
        )
        return _exchange("SystemSharedMemoryRegister", request, _nothing)

    def unregister(self, call: Call, name: str) -> Exchange[None]:
        """Let the server forget a region."""
        del call
        request = service_pb2.SystemSharedMemoryUnregisterRequest(name=name)
        return _exchange("SystemSharedMemoryUnregister", request, _nothing)

    def regions(self, call: Call) -> Exchange[list[str]]:
        """List the names of the regions that the server has registered."""
        del call
        request = service_pb2.SystemSharedMemoryStatusRequest()
        return _exchange("SystemSharedMemoryStatus", request, lambda answer: sorted(answer.regions))


def _exchange(method: str, request: Any, convert: Callable[[Any], Answer]) -> Exchange[Answer]:
    name = request.DESCRIPTOR.name.removesuffix("Request")
    response = getattr(service_pb2, f"{name}Response")

    def read(call: Call, message: bytes) -> Answer:
        try:
            return convert(response.FromString(message))
        except _UNREADABLE as error:
            raise faults.protocol(call, f"the answer cannot be read ({error!r})") from error

    return Exchange(GrpcRequest(method, request.SerializeToString()), read)


class _Responses:
    """Reads a stream: each message is a response, or tells of an error."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._refusal: ClientError | None = None

    def feed(self, part: bytes) -> Sequence[Reply]:
        """Give the reply of this message, if it has one."""
        try:
            message = service_pb2.ModelStreamInferResponse.FromString(part)
            if message.error_message and self._refusal is None:
                self._refusal = faults.from_stream(self._call, message.error_message)
            response = message.infer_response
            if self._refusal or not response.outputs:
                return ()
            return (to_reply(response, response.raw_output_contents),)
        except _UNREADABLE as error:
            raise faults.protocol(self._call, f"a response cannot be read ({error!r})") from error

    def finish(self) -> None:
        """Raise the error that the stream told of."""
        if self._refusal:
            raise self._refusal


def _nothing(answer: Message) -> None:
    del answer


def _to_entries(answer: Any) -> list[IndexEntry]:
    return [IndexEntry(m.name, m.version, m.state, m.reason) for m in answer.models]


def to_document(message: Message) -> dict[str, Any]:
    """Give a message as the JSON document that Triton's HTTP endpoint makes of it.

    protobuf's own conversion writes 64-bit integers as strings and names its options
    differently from version to version.
    """
    return {
        field.name: _plain(getattr(message, field.name), field)
        for field in message.DESCRIPTOR.fields
        if not field.has_presence or message.HasField(field.name)
    }


def _plain(value: Any, field: Any) -> Any:
    if isinstance(value, MutableMapping):
        of_value = field.message_type.fields_by_name["value"]
        return {str(key): _plain(value[key], of_value) for key in value}
    if isinstance(value, MutableSequence):
        return [_plain(item, field) for item in value]
    if isinstance(value, Message):
        return to_document(value)
    if field.enum_type:
        return field.enum_type.values_by_number[value].name
    return value

"""The V2 protocol over gRPC, by tritonclient."""

from __future__ import annotations

import struct
import threading
from collections.abc import (
    Callable,
    Iterator,
    Mapping,
    MutableMapping,
    MutableSequence,
    Sequence,
)
from typing import Any, TypeVar

import grpc
from google.protobuf.message import Message
from tritonclient.grpc import (
    InferenceServerClient,
    InferInput,
    InferRequestedOutput,
    InferResult,
    service_pb2,
    service_pb2_grpc,
)
from tritonclient.utils import InferenceServerException, serialize_byte_tensor

from modelport.client import faults
from modelport.client.exchange import IndexEntry, Reply, SequenceStep
from modelport.client.faults import Call
from modelport.client.tensors import Array, Tensor
from modelport.client.url import Endpoint
from modelport.errors import ClientError

_Answer = TypeVar("_Answer")

_NO_SEQUENCE = SequenceStep(0, start=False, end=False)

_CHANNEL_OPTIONS = (
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # By default a server that was down once is not tried again for a second, then
    # for two, … up to two minutes.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
)


class GrpcTransport:
    """V2 over gRPC; tritonclient's channel may be shared by threads."""

    def __init__(self, endpoint: Endpoint, headers: Mapping[str, str]) -> None:
        self._endpoint = str(endpoint)
        self._authority, self._secure = endpoint.authority, endpoint.secure
        self._options = [
            *_CHANNEL_OPTIONS,
            ("grpc.enable_http_proxy", int(not endpoint.loopback)),
        ]
        self._client = InferenceServerClient(
            self._authority, ssl=self._secure, channel_args=self._options
        )
        self._channel: grpc.Channel | None = None  # of the streams
        self._opening = threading.Lock()
        self._headers = {name.lower(): value for name, value in headers.items()} or None
        self._closed = False

    def infer(
        self,
        call: Call,
        tensors: Sequence[Tensor],
        outputs: Sequence[str],
        step: SequenceStep | None = None,
    ) -> Reply:
        """Run the model once."""
        id_, start, end = step or _NO_SEQUENCE
        inputs = [_to_input(tensor) for tensor in tensors]
        wanted = [InferRequestedOutput(name) for name in outputs] or None
        result = self._ask(
            call,
            self._client.infer,
            call.model,
            inputs,
            model_version=call.version,
            outputs=wanted,
            request_id=call.request_id,
            sequence_id=id_,
            sequence_start=start,
            sequence_end=end,
            timeout=int(call.remaining_s() * 1e6),
        )
        return _to_reply(call, result)

    def stream(
        self, call: Call, tensors: Sequence[Tensor], outputs: Sequence[str]
    ) -> Iterator[Reply]:
        """Send one request and give its responses as they come.

        Leaving the iterator early cancels the request on the server.
        """
        responses = self._streams()(
            iter([_to_request(call, tensors, outputs)]),
            # Without Triton's `triton_grpc_error`, which would give refusals a status code: streams
            # that are refused side by side then end tritonserver (Signal 11; tried: 2.51.0).
            metadata=tuple((self._headers or {}).items()),
            timeout=call.remaining_s(),
        )
        refusal = ""
        try:
            for response in responses:
                # Read on to the end: a stream that is cancelled while it ends does the same.
                refusal = refusal or response.error_message
                if response.infer_response.outputs and not refusal:
                    yield _to_reply(call, InferResult(response.infer_response))
        except grpc.RpcError as error:
            raise _refusal(call, _as_triton(error)) from error
        finally:
            if responses.is_active():
                responses.cancel()
        if refusal:
            raise faults.from_stream(call, refusal)

    def _streams(self) -> Any:
        """Give the stub's streaming method.

        tritonclient's own knows one stream per client, in a thread of its own.
        """
        if self._closed:
            raise faults.closed(Call(self._endpoint, 0.0, 0.0))
        with self._opening:
            if self._channel is None:
                self._channel = self._open()
        return service_pb2_grpc.GRPCInferenceServiceStub(self._channel).ModelStreamInfer

    def _open(self) -> grpc.Channel:
        if self._secure:
            credentials = grpc.ssl_channel_credentials()
            return grpc.secure_channel(self._authority, credentials, options=self._options)
        return grpc.insecure_channel(self._authority, options=self._options)

    def metadata(self, call: Call) -> dict[str, Any]:
        """Give the V2 model metadata document."""
        answer = self._ask(call, self._client.get_model_metadata, call.model, call.version)
        return to_document(answer)

    def config(self, call: Call) -> dict[str, Any]:
        """Give Triton's model configuration."""
        answer = self._ask(call, self._client.get_model_config, call.model, call.version)
        return to_document(answer.config)

    def ready(self, call: Call) -> bool:
        """Whether the model or the server is ready."""
        if call.model:
            return bool(self._ask(call, self._client.is_model_ready, call.model, call.version))
        return bool(self._ask(call, self._client.is_server_ready))

    def index(self, call: Call) -> list[IndexEntry]:
        """Give the repository index."""
        answer = self._ask(call, self._client.get_model_repository_index)
        return [IndexEntry(m.name, m.version, m.state, m.reason) for m in answer.models]

    def close(self) -> None:
        """Close the channel."""
        self._closed = True
        self._client.close()
        if self._channel is not None:
            self._channel.close()

    def _ask(
        self, call: Call, method: Callable[..., _Answer], *arguments: object, **options: object
    ) -> _Answer:
        if self._closed:
            raise faults.closed(call)
        try:
            return method(
                *arguments, **options, headers=self._headers, client_timeout=call.remaining_s()
            )
        except InferenceServerException as error:
            raise _refusal(call, error) from error
        except ValueError as error:  # grpc's answer when another thread closed the channel
            if self._closed:
                raise faults.closed(call) from error
            raise


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


def _to_input(tensor: Tensor) -> InferInput:
    encoded = InferInput(tensor.name, tensor.array.shape, tensor.datatype)
    return encoded.set_data_from_numpy(tensor.array)


def _to_request(call: Call, tensors: Sequence[Tensor], outputs: Sequence[str]) -> Message:
    """Make the message of one streamed request, its tensors in raw bytes."""
    kind = service_pb2.ModelInferRequest
    request: Message = kind(
        model_name=call.model,
        model_version=call.version,
        id=call.request_id,
        inputs=[
            kind.InferInputTensor(name=t.name, datatype=t.datatype, shape=t.array.shape)
            for t in tensors
        ],
        outputs=[kind.InferRequestedOutputTensor(name=name) for name in outputs],
        raw_input_contents=[_raw(tensor) for tensor in tensors],
        parameters={
            "timeout": service_pb2.InferParameter(int64_param=int(call.remaining_s() * 1e6))
        },
    )
    return request


def _raw(tensor: Tensor) -> bytes:
    if tensor.datatype != "BYTES":
        return tensor.array.tobytes()
    encoded = serialize_byte_tensor(tensor.array)
    return bytes(encoded.item()) if encoded.size else b""


def _as_triton(error: grpc.RpcError) -> InferenceServerException:
    return InferenceServerException(error.details(), status=str(error.code()))


def _to_reply(call: Call, result: InferResult) -> Reply:
    response = result.get_response()
    try:
        outputs = {output.name: _to_array(result, output.name) for output in response.outputs}
    except (ValueError, TypeError, struct.error) as error:
        raise faults.protocol(call, f"the answer cannot be read ({error!r})") from error
    return Reply(outputs, response.model_version)


def _to_array(result: InferResult, name: str) -> Array:
    array: Array = result.as_numpy(name)
    array.flags.writeable = False
    return array


# --- errors ------------------------------------------------------------------

# grpcio gives causes in words only (tried: 1.85). Order matters: a peer that is not a
# gRPC server makes a connection that "failed", too.
_RESOLVE = ("resolving", "DNS resolution", "name resolution", "hostname lookup", "getaddrinfo")
_REFUSED = ("Connection refused",)
_UNREACHABLE = ("No route to host", "Network is unreachable", "handshake", "SSL", "certificate")
_FOREIGN = ("failed to connect to all addresses", "http2 header", "content-type", "settings frame")
_LOST = (
    "Socket closed",
    "onnection reset",
    "Broken pipe",
    "GOAWAY",
    "RST_STREAM",
    "recvmsg",
    "Stream removed",
    "transport is closing",
    "keepalive",
)


def _refusal(call: Call, error: InferenceServerException) -> ClientError:
    code = str(error.status() or "").removeprefix("StatusCode.")
    message = str(error.message() or "")
    fault = _from_channel(call, message) if code in ("UNAVAILABLE", "UNKNOWN", "INTERNAL") else None
    fault = fault or faults.from_server(call, code, message)
    fault.objects["status"] = code
    return fault


def _from_channel(call: Call, message: str) -> ClientError | None:
    """Tell what happened to the connection; ``None`` when the words are the server's."""
    if _has(message, _RESOLVE):
        return faults.unresolved(call, message)
    if _has(message, _REFUSED):
        return faults.refused(call)
    if _has(message, _UNREACHABLE):
        return faults.unreachable(call, message)
    if _has(message, _FOREIGN):
        return faults.protocol(call, message)
    if _has(message, _LOST):
        return faults.lost(call, message)
    return None


def _has(message: str, texts: Sequence[str]) -> bool:
    return any(text in message for text in texts)

"""Messages of inferences: protobuf reads what is written by hand, and the other way round."""

from __future__ import annotations

import time
from contextlib import suppress

import numpy as np
import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import InferInput, InferRequestedOutput, InferResult, service_pb2
from tritonclient.grpc._utils import _get_inference_request

from modelport.client.call import Call
from modelport.client.exchange import Inference, Region, SequenceStep
from modelport.client.tensors import DTYPES, Tensor
from modelport.client.wire.grpc import GrpcWire
from modelport.client.wire.messages import RequestWriter, ResponseReader, varint
from modelport.errors import ClientError, ProtocolError

names = st.text(max_size=300)
shapes = st.lists(st.integers(0, 3), max_size=3)
values = st.integers(0, 3).map(lambda n: np.full((n, 70), n, np.float32))


def call(**fields: str) -> Call:
    return Call("grpc://h:1", 60.0, time.monotonic() + 60, **fields)  # type: ignore[arg-type]


def parse(message: bytes) -> service_pb2.ModelInferRequest:
    request = service_pb2.ModelInferRequest.FromString(message)
    assert 0 < request.parameters.pop("timeout").int64_param <= 60_000_000
    return request


@given(names, names, names, st.lists(st.tuples(names, values), max_size=3), st.lists(names))
def test_requests_are_those_of_tritonclient(
    model: str, version: str, id_: str, inputs: list, outputs: list[str]
) -> None:
    tensors = [Tensor(name, "FP32", array) for name, array in inputs]
    theirs = [InferInput(t.name, t.array.shape, "FP32") for t in tensors]
    for made, tensor in zip(theirs, tensors, strict=True):
        made.set_data_from_numpy(tensor.array)
    wanted = [InferRequestedOutput(name) for name in outputs]
    expected = _get_inference_request(
        model, theirs, version, id_, wanted, 7, True, False, 2, None, {"a": "b", "c": 1.5}
    )
    inference = Inference(
        tensors, outputs, SequenceStep(7, start=True, end=False), 2, {"a": "b", "c": 1.5}
    )
    writer, what = RequestWriter(), call(model=model, version=version, request_id=id_)
    assert parse(writer.write(what, inference)) == expected
    plain = Inference(tensors, outputs)
    first = parse(writer.write(what, plain))
    assert first == parse(writer.write(what, plain))  # the second comes from what was kept
    assert list(first.raw_input_contents) == list(expected.raw_input_contents)


def test_another_shape_is_another_head() -> None:
    writer = RequestWriter()
    for size in (*range(300), *range(300)):
        tensor = Tensor("x", "UINT8", np.zeros((1, size), np.uint8))
        request = parse(writer.write(call(model="m"), Inference([tensor])))
        assert list(request.inputs[0].shape) == [1, size]
        assert len(request.raw_input_contents[0]) == size


def test_regions_take_the_place_of_contents() -> None:
    tensor = Tensor("x", "UINT8", np.zeros(8, np.uint8))
    inference = Inference(
        [tensor, tensor._replace(name="y")],
        input_regions={"x": Region("r", 16, 8)},
        output_regions={"z": Region("r", 0, 4)},
    )
    request = parse(RequestWriter().write(call(model="m"), inference))
    where = {
        name: p.int64_param or p.string_param for name, p in request.inputs[0].parameters.items()
    }
    assert where == {
        "shared_memory_region": "r",
        "shared_memory_offset": 16,
        "shared_memory_byte_size": 8,
    }
    assert len(request.raw_input_contents) == 1
    assert [output.name for output in request.outputs] == ["z"]


@given(st.integers(0, 2**64 - 1))
def test_numbers(number: int) -> None:
    written = bytes([1 << 3]) + varint(number)
    assert service_pb2.InferParameter(uint64_param=number).SerializeToString()[1:] == written[1:]


# --- responses -------------------------------------------------------------------


def response(*arrays: np.ndarray, **fields: str) -> service_pb2.ModelInferResponse:
    made = service_pb2.ModelInferResponse(model_name="m", model_version="3", **fields)
    for number, array in enumerate(arrays):
        made.outputs.add(name=f"o{number}", datatype="FP32", shape=array.shape)
        made.raw_output_contents.append(array.tobytes())
    return made


@given(st.lists(st.integers(0, 20_000), max_size=3), st.text(max_size=3))
def test_responses_are_read_as_tritonclient_reads_them(sizes: list[int], id_: str) -> None:
    message = response(*(np.arange(n, dtype=np.float32) for n in sizes), id=id_)
    message.parameters["p"].int64_param = len(id_)
    expected, reader = InferResult(message), ResponseReader()
    for _ in range(2):
        reply = reader.read(message.SerializeToString())
        assert reply.version == "3"
        assert list(reply.outputs) == [f"o{n}" for n in range(len(sizes))]
        for name, array in reply.outputs.items():
            assert np.array_equal(array, expected.as_numpy(name))
            assert not array.flags.writeable
            assert array.flags.aligned


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["3", "4"]),
            st.sampled_from(["", "x", "y"]),
            st.sampled_from(["FP32", "INT32"]),
            st.lists(st.sampled_from([(6,), (2, 3), (3, 2), (0,)]), min_size=1, max_size=2),
        ),
        max_size=12,
    )
)
def test_responses_of_one_length_are_told_apart(answers: list) -> None:
    """What is kept of one response is used for those alone that differ in contents only."""
    reader = ResponseReader()
    for number, (version, id_, datatype, kinds) in enumerate(answers):
        arrays = [np.full(shape, number, DTYPES[datatype]) for shape in kinds]
        message = response(*arrays, id=id_)
        message.model_version = version
        for output in message.outputs:
            output.datatype = datatype
        reply = reader.read(message.SerializeToString())
        assert reply.version == version
        for array, read in zip(arrays, reply.outputs.values(), strict=True):
            assert (read.dtype, read.shape) == (array.dtype, array.shape)
            assert np.array_equal(read, array)


@pytest.mark.parametrize(
    ("datatype", "field", "given_values"),
    [
        ("BOOL", "bool_contents", [True, False]),
        ("INT8", "int_contents", [-1, 2]),
        ("UINT16", "uint_contents", [1, 2]),
        ("INT64", "int64_contents", [-1, 2**60]),
        ("UINT64", "uint64_contents", [1, 2**63]),
        ("FP32", "fp32_contents", [0.5, 2]),
        ("FP64", "fp64_contents", [0.1, 2]),
        ("BYTES", "bytes_contents", [b"a", b"\xff"]),
    ],
)
def test_elements_one_by_one(datatype: str, field: str, given_values: list) -> None:
    """As servers other than Triton answer."""
    made = service_pb2.ModelInferResponse()
    output = made.outputs.add(name="o", datatype=datatype, shape=[1, 2])
    getattr(output.contents, field).extend(given_values)
    array = ResponseReader().read(made.SerializeToString()).outputs["o"]
    assert (array.dtype, array.tolist()) == (DTYPES[datatype], [given_values])


@given(st.binary(max_size=300), st.data())
def test_what_is_no_response_is_an_error_of_the_protocol(
    rubbish: bytes, data: st.DataObject
) -> None:
    whole = response(np.arange(3, dtype=np.float32), np.zeros(0, np.float32)).SerializeToString()
    place = data.draw(st.integers(0, len(whole)))
    wire = GrpcWire()
    read = wire.infer(call(model="m"), Inference(())).read
    for message in (rubbish, whole[:place], whole[:place] + rubbish):
        with suppress(ProtocolError):
            read(call(model="m"), message)
        reader = wire.stream(call(model="m"), Inference(())).reader(call())
        with suppress(ClientError):
            reader.feed(message)
            reader.finish()


def test_contents_that_are_missing() -> None:
    message = response(np.zeros(1, np.float32), np.zeros(1, np.float32))
    del message.raw_output_contents[1]
    with pytest.raises(ValueError, match="shorter"):
        ResponseReader().read(message.SerializeToString())
    with pytest.raises(DecodeError):
        ResponseReader().read(b"\x0a\x02\xff\xff")


@pytest.mark.parametrize(
    "unknown",
    [
        bytes([7 << 3, 1]),  # a number
        bytes([7 << 3 | 2, 1, 65]),
        bytes([7 << 3 | 5, 0, 0, 0, 0]),
        bytes([0x82, 0x01, 1, 65]),  # of a field beyond the fifteenth
    ],
)
def test_fields_that_later_servers_may_add(unknown: bytes) -> None:
    message = response(np.arange(3, dtype=np.float32)).SerializeToString()
    for whole in (message + unknown, unknown + message):
        reply = ResponseReader().read(whole)
        assert reply.outputs["o0"].tolist() == [0, 1, 2]
        assert reply.version == "3"
        placed = ResponseReader().read_placed(whole, {"o0"}).placed
        assert placed["o0"].shape == (3,)


def test_numbers_that_do_not_fit_are_an_error_of_the_protocol() -> None:
    made = service_pb2.ModelInferResponse()
    output = made.outputs.add(name="o", datatype="UINT8", shape=[1])
    output.contents.uint_contents.append(300)
    with pytest.raises(ProtocolError):
        GrpcWire().infer(call(), Inference(())).read(call(), made.SerializeToString())

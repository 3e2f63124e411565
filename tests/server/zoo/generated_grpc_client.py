"""Asks a model with the open-inference-grpc package: ADDRESS MODEL, inputs as V2 JSON on stdin.

Prints the outputs as JSON, their bytes in base64.
"""

from __future__ import annotations

import base64
import json
import sys
from typing import Any

import grpc
from open_inference.grpc import protocol, service

FIELDS = {"BYTES": "bytes_contents", "FP32": "fp32_contents", "FP64": "fp64_contents"}
FIELDS |= dict.fromkeys(("UINT8", "UINT16", "UINT32"), "uint_contents")
FIELDS |= dict.fromkeys(("INT8", "INT16", "INT32"), "int_contents")
FIELDS |= {"INT64": "int64_contents", "UINT64": "uint64_contents", "BOOL": "bool_contents"}


def tensor(name: str, datatype: str, shape: list[int], data: list[Any]) -> Any:
    values = [text.encode() for text in data] if datatype == "BYTES" else data
    contents = protocol.InferTensorContents(**{FIELDS[datatype]: values})
    kind = protocol.ModelInferRequest.InferInputTensor
    return kind(name=name, datatype=datatype, shape=shape, contents=contents)


def main(address: str, model: str) -> None:
    inputs = [tensor(**described) for described in json.load(sys.stdin)]
    with grpc.insecure_channel(address) as channel:
        request = protocol.ModelInferRequest(model_name=model, inputs=inputs)
        reply = service.GRPCInferenceServiceStub(channel).ModelInfer(request, timeout=30)
    outputs = [
        {
            "name": output.name,
            "datatype": output.datatype,
            "shape": list(output.shape),
            "data": base64.b64encode(content).decode(),
        }
        for output, content in zip(reply.outputs, reply.raw_output_contents, strict=True)
    ]
    print(json.dumps(outputs))


main(*sys.argv[1:])

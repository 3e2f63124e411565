"""The invoice model on KServe's model server; the ports are its own options."""

import sys
from pathlib import Path

import uvicorn
from grpc.aio._server import Server
from kserve import InferInput, InferOutput, InferRequest, InferResponse, Model, ModelServer
from kserve.errors import InvalidInput

sys.path.insert(0, str(Path(__file__).parents[1]))

import invoice


class Invoice(Model):
    """Decodes, answers, encodes."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.ready = True

    async def get_input_types(self) -> list[dict]:
        """Describe the inputs, for the metadata."""
        return [
            {"name": "prices", "datatype": "FP32", "shape": [-1, 3]},
            {"name": "customer", "datatype": "BYTES", "shape": [-1, 1]},
        ]

    async def get_output_types(self) -> list[dict]:
        """Describe the outputs."""
        return [
            {"name": "total", "datatype": "FP32", "shape": [-1, 1]},
            {"name": "greeting", "datatype": "BYTES", "shape": [-1, 1]},
        ]

    def predict(self, payload: InferRequest, *_: object, **__: object) -> InferResponse:
        """Answer one request."""
        inputs: dict[str, InferInput] = {one.name: one for one in payload.inputs}
        try:
            found = invoice.answer(inputs["prices"].as_numpy(), inputs["customer"].as_numpy())
        except invoice.RefusedError as error:
            raise InvalidInput(str(error)) from error
        outputs = []
        for name, datatype, array in zip(
            ("total", "greeting"), ("FP32", "BYTES"), found, strict=True
        ):
            output = InferOutput(name, list(array.shape), datatype)
            output.set_data_from_numpy(array, binary_data=False)
            outputs.append(output)
        wanted = {one.name for one in payload.request_outputs or ()}
        outputs = [one for one in outputs if not wanted or one.name in wanted]
        return InferResponse(payload.id or "none", self.name, outputs)


def listen_on_loopback_only() -> None:
    """Do what KServe has no option for: it listens on every address of the machine."""
    config, add_port = uvicorn.Config.__init__, Server.add_insecure_port

    def init(self: uvicorn.Config, *args: object, **options: object) -> None:
        config(self, *args, **{**options, "host": "127.0.0.1"})

    def add(self: Server, address: str) -> int:
        return add_port(self, address.replace("[::]", "127.0.0.1"))

    uvicorn.Config.__init__ = init
    Server.add_insecure_port = add


if __name__ == "__main__":
    listen_on_loopback_only()
    ModelServer(workers=1).start([Invoice("invoice")])

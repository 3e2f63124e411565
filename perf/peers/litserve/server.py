"""LitServe and ONNX Runtime: bytes in, bytes out, requests batched."""

import os
from typing import Annotated

import litserve
import numpy as np
import onnxruntime
from fastapi import Body, Response

BATCH = int(os.environ["MAX_BATCH_SIZE"])


class Model(litserve.LitAPI):
    def setup(self, device):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(os.environ["THREADS"])
        self.session = onnxruntime.InferenceSession(os.environ["MODEL"], options)
        self.names = [one.name for one in self.session.get_inputs()]
        self.shape = (len(self.names), 1, *map(int, os.environ["SHAPE"].split(",")))

    def decode_request(
        self, request: Annotated[bytes, Body(media_type="application/octet-stream")]
    ):
        return np.frombuffer(request, os.environ["DTYPE"]).reshape(self.shape)

    def batch(self, inputs):
        return np.concatenate(inputs, 1)

    def predict(self, arrays):
        return self.session.run(None, dict(zip(self.names, arrays, strict=True)))[0]

    def unbatch(self, answer):
        return list(answer)

    def encode_response(self, output) -> Response:
        return Response(output.tobytes(), media_type="application/octet-stream")


if __name__ == "__main__":
    api = Model(max_batch_size=BATCH, batch_timeout=float(os.environ["BATCH_TIMEOUT_S"]))
    server = litserve.LitServer(
        api,
        accelerator="cpu",
        workers_per_device=int(os.environ["WORKERS"]),
        fast_queue=os.environ["FAST_QUEUE"] == "1",
    )
    server.run(
        host="127.0.0.1",
        port=int(os.environ["PORT"]),
        num_api_servers=int(os.environ["WORKERS"]),
        generate_client_file=False,
        log_level="warning",
        access_log=False,
    )

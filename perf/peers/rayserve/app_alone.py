"""Ray Serve and ONNX Runtime: bytes in, bytes out."""

import os

import numpy as np
import onnxruntime
from ray import serve
from starlette.requests import Request
from starlette.responses import Response


@serve.deployment(
    num_replicas=int(os.environ["WORKERS"]),
    max_ongoing_requests=64,
    ray_actor_options={"num_cpus": 0.5},
)
class Model:
    def __init__(self):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(os.environ["THREADS"])
        self.session = onnxruntime.InferenceSession(os.environ["MODEL"], options)
        self.names = [one.name for one in self.session.get_inputs()]
        self.shape = (len(self.names), 1, *map(int, os.environ["SHAPE"].split(",")))

    async def __call__(self, request: Request) -> Response:
        arrays = np.frombuffer(await request.body(), os.environ["DTYPE"]).reshape(self.shape)
        [answer, *_] = self.session.run(None, dict(zip(self.names, arrays, strict=True)))
        return Response(answer.tobytes(), media_type="application/octet-stream")


app = Model.bind()

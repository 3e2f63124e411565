"""Ray Serve and ONNX Runtime: bytes in, bytes out, requests batched."""

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

    @serve.batch(
        max_batch_size=int(os.environ["MAX_BATCH_SIZE"]),
        batch_wait_timeout_s=float(os.environ["BATCH_TIMEOUT_S"]),
    )
    async def predict(self, inputs: list[np.ndarray]) -> list[np.ndarray]:
        arrays = np.concatenate(inputs, 1)
        return list(self.session.run(None, dict(zip(self.names, arrays, strict=True)))[0])

    async def __call__(self, request: Request) -> Response:
        arrays = np.frombuffer(await request.body(), os.environ["DTYPE"]).reshape(self.shape)
        answer = await self.predict(arrays)
        return Response(answer.tobytes(), media_type="application/octet-stream")


app = Model.bind()

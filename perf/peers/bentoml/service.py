"""BentoML and ONNX Runtime."""

import os

import bentoml
import numpy as np
import onnxruntime

QUIET = {"access": {"enabled": False}}


@bentoml.service(workers=int(os.environ["WORKERS"]), traffic={"timeout": 60}, logging=QUIET)
class Model:
    def __init__(self):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(os.environ["THREADS"])
        self.session = onnxruntime.InferenceSession(os.environ["MODEL"], options)
        self.names = [one.name for one in self.session.get_inputs()]
        self.shape = (len(self.names), 1, *map(int, os.environ["SHAPE"].split(",")))

    @bentoml.api(route="/predict")
    async def predict(self, body: bytes, /) -> bytes:
        arrays = np.frombuffer(body, os.environ["DTYPE"]).reshape(self.shape)
        [answer, *_] = self.session.run(None, dict(zip(self.names, arrays, strict=True)))
        return answer.tobytes()

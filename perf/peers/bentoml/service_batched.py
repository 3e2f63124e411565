"""BentoML and ONNX Runtime: arrays as JSON in and out, requests batched."""

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

    @bentoml.api(
        route="/predict",
        batchable=True,
        max_batch_size=int(os.environ["MAX_BATCH_SIZE"]),
        max_latency_ms=60_000,
    )
    async def predict(self, inputs: np.ndarray) -> np.ndarray:
        inputs = inputs.astype(os.environ["DTYPE"])
        arrays = (inputs[:, index] for index in range(len(self.names)))
        return self.session.run(None, dict(zip(self.names, arrays, strict=True)))[0]

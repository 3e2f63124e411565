"""MLServer and ONNX Runtime."""

import os

import numpy as np
import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class Model(MLModel):
    async def load(self) -> bool:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = int(os.environ["THREADS"])
        self.session = onnxruntime.InferenceSession(os.environ["MODEL"], options)
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        feeds = {
            one.name: np.asarray(NumpyCodec.decode_input(one), os.environ["DTYPE"])
            for one in payload.inputs
        }
        names = [one.name for one in self.session.get_outputs()]
        answers = self.session.run(names, feeds)
        outputs = [NumpyCodec.encode_output(*one) for one in zip(names, answers, strict=True)]
        return InferenceResponse(model_name=self.name, outputs=outputs)

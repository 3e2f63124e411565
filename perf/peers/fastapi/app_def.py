"""FastAPI and ONNX Runtime: bytes in, bytes out, answered in a thread."""

import os
from typing import Annotated

import numpy as np
import onnxruntime
from fastapi import Body, FastAPI, Response

options = onnxruntime.SessionOptions()
options.intra_op_num_threads = int(os.environ["THREADS"])
session = onnxruntime.InferenceSession(os.environ["MODEL"], options)
names = [one.name for one in session.get_inputs()]
shape = (len(names), 1, *map(int, os.environ["SHAPE"].split(",")))
app = FastAPI()


@app.post("/predict")
def predict(body: Annotated[bytes, Body(media_type="application/octet-stream")]) -> Response:
    arrays = np.frombuffer(body, os.environ["DTYPE"]).reshape(shape)
    [answer, *_] = session.run(None, dict(zip(names, arrays, strict=True)))
    return Response(answer.tobytes(), media_type="application/octet-stream")

"""Fails in the way that its input asks for."""

import os

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        return [_answer(request) for request in requests]


def _answer(request):
    how = pb_utils.get_input_tensor_by_name(request, "how").as_numpy()[0]
    if how == b"die":
        os._exit(1)
    if how == b"fault":
        raise RuntimeError("the model tripped")
    if how == b"invalid":
        error = pb_utils.TritonError("not an image", pb_utils.TritonError.INVALID_ARG)
        return pb_utils.InferenceResponse(error=error)
    return pb_utils.InferenceResponse([pb_utils.Tensor("ok", np.array([True]))])

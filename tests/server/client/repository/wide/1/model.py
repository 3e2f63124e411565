"""Doubles large rows; may take its time, or answer with more than its configuration says."""

import time

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        return [_answer(request) for request in requests]


def _answer(request):
    x = pb_utils.get_input_tensor_by_name(request, "x").as_numpy()
    seconds = pb_utils.get_input_tensor_by_name(request, "seconds")
    more = pb_utils.get_input_tensor_by_name(request, "more")
    if seconds is not None:
        time.sleep(float(seconds.as_numpy().max()))
    y = x * 2
    if more is not None:
        y = np.tile(y, (1, 1 + int(more.as_numpy().max())))
    total = x.sum(axis=1, keepdims=True)
    tensors = [pb_utils.Tensor("total", total), pb_utils.Tensor("y", y)]
    return pb_utils.InferenceResponse(tensors)

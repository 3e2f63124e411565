"""Sleeps as many seconds as its input says."""

import time

import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        return [_answer(request) for request in requests]


def _answer(request):
    seconds = pb_utils.get_input_tensor_by_name(request, "seconds").as_numpy()
    time.sleep(float(seconds.max()))
    return pb_utils.InferenceResponse([pb_utils.Tensor("slept", seconds)])

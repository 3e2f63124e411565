"""Counts, one response per number, until it is done or nobody listens; refuses to count down.

What is meant to be left early comes slowly: a stream that is cancelled while responses leave one
upon the other ends tritonserver now and then (Signal 11; tried: 2.51.0).
"""

import time

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        for request in requests:
            _count(request)


def _count(request):
    sender = request.get_response_sender()
    count = int(pb_utils.get_input_tensor_by_name(request, "count").as_numpy()[0])
    if count < 0:
        error = pb_utils.TritonError("not a count", pb_utils.TritonError.INVALID_ARG)
        sender.send(
            pb_utils.InferenceResponse(error=error),
            flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL,
        )
        return
    for number in range(count):
        if request.is_cancelled():
            break
        tensor = pb_utils.Tensor("number", np.array([number], dtype=np.int32))
        sender.send(pb_utils.InferenceResponse([tensor]))
        if count > 1_000_000:
            time.sleep(0.01)
    sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)

"""Counts, one response per number, until it is done or nobody listens; refuses to count down."""

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
    sender.send(flags=pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)

"""Upper-cases bytes, whatever they are."""

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        return [_answer(request) for request in requests]


def _answer(request):
    text = pb_utils.get_input_tensor_by_name(request, "text").as_numpy()
    loud = np.array([item.upper() for item in text.ravel()], dtype=object)
    return pb_utils.InferenceResponse([pb_utils.Tensor("loud", loud.reshape(text.shape))])

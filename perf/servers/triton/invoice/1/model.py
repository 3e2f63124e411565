"""The invoice model on tritonserver; perf/other_servers.py copies invoice.py beside it."""

import sys
from pathlib import Path

import triton_python_backend_utils as pb_utils

sys.path.insert(0, str(Path(__file__).parent))

import invoice


class TritonPythonModel:
    """Decodes, answers, encodes."""

    def execute(self, requests):
        """Answer each request by itself."""
        return [_answer(request) for request in requests]


def _answer(request):
    prices, customers = (
        pb_utils.get_input_tensor_by_name(request, name).as_numpy()
        for name in ("prices", "customer")
    )
    try:
        total, greeting = invoice.answer(prices, customers)
    except invoice.RefusedError as error:
        kind = pb_utils.TritonError.INVALID_ARG
        return pb_utils.InferenceResponse(error=pb_utils.TritonError(str(error), kind))
    outputs = [pb_utils.Tensor("total", total), pb_utils.Tensor("greeting", greeting)]
    return pb_utils.InferenceResponse(outputs)

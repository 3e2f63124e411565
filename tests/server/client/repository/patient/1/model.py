"""Waits for the caller's cancellation, and notes whether it came."""

import time
from pathlib import Path

import numpy as np
import triton_python_backend_utils as pb_utils


class TritonPythonModel:
    def execute(self, requests):
        return [_answer(request) for request in requests]


def _answer(request):
    seconds = pb_utils.get_input_tensor_by_name(request, "seconds").as_numpy()[0]
    note = pb_utils.get_input_tensor_by_name(request, "note").as_numpy()[0].decode()
    Path(note).write_text("begun")
    end = time.monotonic() + float(seconds)
    while time.monotonic() < end and not request.is_cancelled():
        time.sleep(0.005)
    cancelled = request.is_cancelled()
    Path(note).write_text("cancelled" if cancelled else "done")
    return pb_utils.InferenceResponse([pb_utils.Tensor("cancelled", np.array([cancelled]))])

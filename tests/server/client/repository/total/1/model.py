"""Adds up what a sequence sent so far."""

import numpy as np
import triton_python_backend_utils as pb_utils

START, END = 1, 2


class TritonPythonModel:
    def initialize(self, args):
        self.totals = {}

    def execute(self, requests):
        return [self._answer(request) for request in requests]

    def _answer(self, request):
        sequence, flags = request.correlation_id(), request.flags()
        before = 0 if flags & START else self.totals[sequence]
        total = before + pb_utils.get_input_tensor_by_name(request, "x").as_numpy()
        self.totals[sequence] = total
        if flags & END:
            del self.totals[sequence]
        live = np.array([[len(self.totals)]], np.int32)
        return pb_utils.InferenceResponse(
            [pb_utils.Tensor("total", total.astype(np.int32)), pb_utils.Tensor("live", live)]
        )

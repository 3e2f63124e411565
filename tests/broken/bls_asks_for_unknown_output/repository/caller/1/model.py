import triton_python_backend_utils as pb_utils

CALLED = "adder"


class TritonPythonModel:
    def execute(self, requests):
        responses = []
        for request in requests:
            x = pb_utils.get_input_tensor_by_name(request, "x")
            call = pb_utils.InferenceRequest(
                model_name=CALLED, requested_output_names=["z"], inputs=[x]
            )
            responses.append(call.exec())
        return responses

"""Serving ONNX models inside Triton: the logic of the python-based `onnxruntime` backend.

It makes a ``config.pbtxt`` that was written for NVIDIA's C++ backend
(https://github.com/triton-inference-server/onnxruntime_backend) serve unchanged
where that backend is not installed. Who does what::

    environment   refuses a Python environment that would give wrong answers
    server        what tritonserver was started with (``--backend-config=onnxruntime,…``)
    settings      the model configuration's parameters, parsed
    session       finding model.onnx, opening and running an onnxruntime session
    tensors       datatypes of Triton, ONNX and numpy; strings
    bfloat16      BF16, which numpy lacks
    graph         the inputs and outputs that an ONNX graph has
    validation    the configuration against the graph
    completion    the fields that a configuration leaves out
    batching      merging requests into one run, and failing alone
    execution     Triton's requests in, Triton's responses out

Nothing here imports Triton or, at import time, onnxruntime: all of it can be
tested outside the server.
"""

"""Serving TensorRT plans inside Triton: the logic of the python-based `tensorrt` backend.

It serves where NVIDIA's C++ backend is not installed, the same plans with the same
``config.pbtxt``. Who does what::

    environment   imports TensorRT, or says what is missing
    memory        memory and a stream of the GPU, by the CUDA driver
    engine        finding model.plan, opening an engine and running it
    validation    the configuration against the engine

Requests, batches and responses are those of :mod:`modelport.serving.onnx`. Nothing here imports
Triton or, at import time, TensorRT.
"""

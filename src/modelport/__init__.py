"""Modelport: PyTorch models as a verified, versioned Triton model repository.

The way of a model, and the module that owns each step::

    modelport.spec        what a builder declares, and Triton's model configuration, typed
    modelport.build       data, train, evaluate, export, parity, stage, publish
    modelport.families    what builders of one family share: readers, networks, simple methods
    modelport.verify      parity with the torch reference, in process and through the server
    modelport.repository  config.pbtxt, version folders, manifests, publishing, `doctor`
    modelport.runtime     finding, starting, watching and stopping tritonserver
    modelport.perf        load tests: profiles, results, reports, comparison, tuning
    modelport.rollout     which versions serve: promote, roll back, the log of both
    modelport.serving     what runs inside the server: shared preprocessing, the ONNX backend
    modelport.client      calls over HTTP and gRPC (numpy and tritonclient only)
    modelport.codegen     typed clients and documents, generated from a repository
    modelport.cli         the ``modelport`` command
    modelport.errors      every exception, with its exit code

The shortest program, against a server started with ``modelport serve``::

    from modelport.client import Client

    with Client("grpc://127.0.0.1:8001") as client:
        print(client.infer("digits", {"image": open("photo.png", "rb").read()})["label"])
"""

__version__ = "0.1.0"

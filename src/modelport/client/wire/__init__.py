"""The two protocols without I/O: what is sent for each operation, and how its answer is read.

::

    content    tensors as the bytes that both protocols carry
    http       V2 over HTTP: paths, JSON and binary tensors
    answers    what is answered over HTTP: results, refusals, documents
    http1      requests and responses of HTTP/1.1
    generate   Triton's streams of JSON events over HTTP
    grpc       V2 over gRPC: methods and messages
    messages   inferences as protobuf messages, without copying large tensors
    status     what gRPC's statuses and words mean
"""

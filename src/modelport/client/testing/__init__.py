"""A server for tests of your own code: real sockets and the real protocol, without Triton.

::

    from modelport.client import Client
    from modelport.client.testing import FakeServer

    with FakeServer() as server:
        server.add(
            "sentiment",
            inputs={"text": ("BYTES", [-1, 1])},
            outputs={"label": ("BYTES", [-1, 1])},
            answer=lambda inputs: {"label": [["positive"]] * len(inputs["text"])},
            max_batch_size=8,
        )
        with Client(server.grpc_url) as client:  # or server.http_url
            assert client.infer("sentiment", {"text": "lovely"})["label"].item() == b"positive"
        assert server.requests[0].inputs["text"].tolist() == [[b"lovely"]]

Requests are checked as Triton 2.51 checks them, and refused in its words. :meth:`FakeServer.fail`,
:meth:`FakeServer.delay` and :meth:`FakeServer.stop` bring about what a client must survive::

    server.fail("sentiment", with_="overloaded", times=2)

The parts::

    server     FakeServer: ports, start and stop, what tests ask and arrange
    core       what it knows and answers, whatever the protocol
    over_http, over_grpc  the two protocols
    models     the models, and how their requests are checked
    documents  metadata, configuration, statistics
    requests   what arrived
    failures   what can be made to go wrong
    content    tensors as bytes and as JSON
    memory     system shared memory
"""

from modelport.client.testing.failures import FAILURES
from modelport.client.testing.requests import Refusal, Request
from modelport.client.testing.server import FakeServer

__all__ = ["FAILURES", "FakeServer", "Refusal", "Request"]

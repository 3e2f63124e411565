"""What carries a request to a server and its answer back: I/O, and nothing else.

::

    http, aio_http    HTTP/1.1, blocking and asyncio
    grpc, aio_grpc    gRPC, blocking and asyncio
    connection        HTTP connections that threads may share
    aio_connection    an HTTP connection in an event loop
    channel           the settings of gRPC channels
    tls               the settings of encrypted HTTP connections
    headers           what is sent with each request
"""

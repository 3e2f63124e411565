"""Starts serve.py on loopback only, which KServe has no option for."""

import uvicorn
from grpc.aio._server import Server
from serve import main


def listen_on_loopback_only() -> None:
    """Change the addresses that KServe gives to uvicorn and gRPC.

    Raises:
        RuntimeError: (where it adds its port) it gives gRPC another address than was known.
    """
    config, add_port = uvicorn.Config.__init__, Server.add_insecure_port

    def init(self: uvicorn.Config, *args: object, **options: object) -> None:
        config(self, *args, **{**options, "host": "127.0.0.1"})
        if self.host != "127.0.0.1":
            raise RuntimeError(f"uvicorn listens on {self.host}")

    def add(self: Server, address: str) -> int:
        host, _, port = address.rpartition(":")
        if host != "[::]":
            raise RuntimeError(f"KServe has gRPC listen on {address}, which is not [::]:PORT")
        return add_port(self, f"127.0.0.1:{port}")

    uvicorn.Config.__init__ = init
    Server.add_insecure_port = add


if __name__ == "__main__":
    listen_on_loopback_only()
    main()

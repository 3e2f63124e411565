"""What the base install alone does with a served zoo: call, stream, outlast a restart.

    PYTHON_OF_THE_BASE_INSTALL .ci/base_install.py MODELPORT REPOSITORY

MODELPORT is the command that serves, of another environment.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from modelport.client import Client, Retry

MODELS = "sentiment,summarizer_stream"
REVIEW = "The fabric is soft and it fits perfectly."


def free_port() -> int:
    """Give a port where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def serve(modelport: str, repository: str, ports: list[str]) -> subprocess.Popen[str]:
    """Start the server; it serves when its line of JSON is there."""
    command = [modelport, "serve", "--json", "--repository", repository, "--models", MODELS]
    process = subprocess.Popen([*command, *ports], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    json.loads(process.stdout.readline())
    return process


def stop(process: subprocess.Popen[str]) -> None:
    """End the server and wait for it."""
    process.terminate()
    process.wait()


def main(modelport: str, repository: str) -> None:
    """Do it all; an assertion fails where an answer is wrong."""
    numbers = [free_port() for _ in range(3)]
    names = ("--http-port", "--grpc-port", "--metrics-port")
    ports = [text for pair in zip(names, map(str, numbers), strict=True) for text in pair]
    server = serve(modelport, repository, ports)
    patient = Retry(attempts=1000, max_backoff_s=0.5)
    for url in (f"http://127.0.0.1:{numbers[0]}", f"grpc://127.0.0.1:{numbers[1]}"):
        with Client(url, retry=patient, timeout_s=60) as client:
            sentiment = client.model("sentiment")
            assert sentiment("I love this dress").text("label") == "positive"
            title = [
                piece.text("title") for piece in client.model("summarizer_stream").stream(REVIEW)
            ]
            assert len(title) > 1, title
            stop(server)
            with ThreadPoolExecutor(1) as pool:
                restarted = pool.submit(serve, modelport, repository, ports)
                assert sentiment("I love this dress").text("label") == "positive"
                server = restarted.result()
            print(f"{url}: {''.join(title)!r}; answered again after a restart")
    stop(server)
    heavy = {"torch", "onnx", "onnxruntime", "pydantic"} & sys.modules.keys()
    assert not heavy, heavy


if __name__ == "__main__":
    main(*sys.argv[1:])

"""The glue of a decoupled Python backend: many responses to a request, many requests at once.

Each request is answered in a thread of its own, so that 64 streams progress
side by side and a slow one holds up nobody. A client that goes away is noticed
before the next response is made.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

from modelport.serving.python_model import (
    Arrays,
    BadItemError,
    internal_error,
    named_inputs,
)

# An idle thread costs little; a stream that waits for one costs its client's patience.
MOST_STREAMS = 128

Generate = Callable[[Arrays], Generator[Arrays, None, None]]


class Streams:
    """The streams of one model instance.

    Args:
        function: named arrays in; a generator of named arrays out, one per response.
            It is closed when the client has gone away. :class:`BadItemError` becomes
            INVALID_ARGUMENT with its text; any other exception INTERNAL with its type.
        parameters: called with each request's parameters, as JSON; it may raise.
        most: streams that progress side by side; more wait their turn.
    """

    def __init__(
        self,
        function: Generate,
        *,
        parameters: Callable[[str], None] | None = None,
        most: int = MOST_STREAMS,
    ) -> None:
        self._function = function
        self._parameters = parameters
        self._threads = ThreadPoolExecutor(most, thread_name_prefix="stream")
        self._ending = threading.Event()

    def answer_each(self, requests: Sequence[Any]) -> None:
        """Begin to answer; returns at once. What ``execute`` gives Triton is ``None``."""
        for request in requests:
            self._threads.submit(self._answer, request, request.get_response_sender())

    def finalize(self) -> None:
        """End the streams that still run, with an error each, and wait for their threads."""
        self._ending.set()
        self._threads.shutdown(wait=True)

    def _answer(self, request: Any, sender: Any) -> None:
        """Send the responses of one request, then the final flag whatever happened."""
        # Triton's module exists only inside a stub, and is complete only after initialize.
        import triton_python_backend_utils as pb_utils

        error = None
        try:
            self._send_each(request, sender, pb_utils)
        except BadItemError as bad:
            error = pb_utils.TritonError(str(bad), pb_utils.TritonError.INVALID_ARG)
        except Exception as failed:  # noqa: BLE001 - the boundary to Triton: a stream must end
            error = pb_utils.TritonError(internal_error(failed), pb_utils.TritonError.INTERNAL)
        final = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL
        if error is None:
            sender.send(flags=final)
        else:
            sender.send(pb_utils.InferenceResponse(error=error), flags=final)

    def _send_each(self, request: Any, sender: Any, pb_utils: Any) -> None:
        inputs = named_inputs(request, self._parameters)
        wanted = request.requested_output_names()
        with closing(self._function(inputs)) as answers:
            for outputs in answers:
                if sender.is_cancelled():
                    return
                if self._ending.is_set():
                    raise _UnloadedError
                tensors = [pb_utils.Tensor(name, outputs[name]) for name in wanted]
                sender.send(pb_utils.InferenceResponse(output_tensors=tensors))


class _UnloadedError(Exception):
    """The model is being taken out of the server."""
